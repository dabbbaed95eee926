"""Each kind of smoke check: how it is shown, what is unwise about it, what passes and what does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.checks import KINDS, HealthCheck, HttpCheck, RunCheck, TcpCheck
from pipeline.config.checks.base import CheckModel, Verdict
from pipeline.config.checks.get import json_at
from pipeline.config.checks.health import problem
from pipeline.config.checks.visitor import with_headers
from pipeline.config.models import Service
from pipeline.domain.engine_types import Answer, CommandResult
from pipeline.errors import TryAgain


@dataclass
class Asked:
    """An Asker that has its answers at hand."""

    answer: Answer = field(default_factory=lambda: Answer(200, {}, b"", 0.012))
    ended: CommandResult | None = None
    closed: frozenset[int] = frozenset()
    asked: list[Any] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str, headers: Mapping[str, str], within: float) -> Answer:
        self.asked.append((path, within))
        self.headers = dict(headers)
        return self.answer

    def connect(self, port: int, within: float) -> float:
        self.asked.append((port, within))
        if port in self.closed:
            raise TryAgain("connection refused")
        return 0.003

    def command(self, words: tuple[str, ...], within: float) -> CommandResult | None:
        self.asked.append((words, within))
        return self.ended

    def without_secrets(self, text: str) -> str:
        return text.replace("hunter2", "•••")


CHECKS: tuple[CheckModel, ...] = (HttpCheck(get="/a"), TcpCheck(tcp=81), RunCheck(run=("./a", "b c")))


def test_every_kind_is_in_the_table_by_its_required_key() -> None:
    assert list(KINDS) == ["get", "tcp", "run"]
    for key, kind in KINDS.items():
        assert [name for name, spec in kind.model_fields.items() if spec.is_required()] == [key]
        assert kind.EXAMPLE.startswith("{" + key + ": ")


def test_each_kind_shows_itself_on_one_line() -> None:
    assert [check.show() for check in CHECKS] == ["GET /a", "TCP 81", "run ./a 'b c'"]
    assert RunCheck(run=("a\nb",)).show() == "run 'a\\nb'"


def test_a_check_may_come_with_another_host_scheme_and_headers() -> None:
    asked, check = Asked(), HttpCheck(get="/a", host="www.example.com", scheme="https", send={"X-Key": "a"})
    assert check.perform(asked).ok
    assert asked.headers == {"Host": "www.example.com", "X-Forwarded-Proto": "https", "X-Key": "a"}
    assert check.show() == "GET https://www.example.com/a"
    assert HttpCheck(get="/a").perform(asked).ok
    assert asked.headers == {}


def test_headers_that_the_check_sends_replace_those_of_the_same_name() -> None:
    assert with_headers({"Host": "a", "Accept": "*/*"}, {"accept": "text/html"}) == {
        "Host": "a",
        "accept": "text/html",
    }


@pytest.mark.parametrize(
    ("status", "location", "wrong"),
    [
        (204, "", ""),
        (301, "/login", ""),
        (302, "http://shop.example.com/login", ""),
        (302, "http://shop.example.com:8080/login", ""),
        (302, "//SHOP.example.com/login", ""),
        (304, "", ""),
        (302, "https://login.example.com/", "another host (https://login.example.com/)"),
        (301, "https://shop.example.com/", "leads to https:// (https://shop.example.com/)"),
        (400, "", "status 400, expected 2xx or 3xx"),
        (503, "", "status 503, expected 2xx or 3xx"),
    ],
)
def test_an_answer_is_healthy_that_stays_on_its_host(status: int, location: str, wrong: str) -> None:
    found = problem(status, location, "shop.example.com", "http")
    assert bool(found) == bool(wrong)
    assert wrong in found


@pytest.mark.parametrize(
    ("send", "said"),
    [
        ({"host": "x"}, "write `host`"),
        ({"X-Forwarded-Proto": "https"}, "write `scheme`"),
        ({"Content-Length": "3"}, "Pushlive decides it"),
        ({"X-Pushlive-Slot": "e1-blue"}, "Pushlive decides it"),
        ({"X-Key": "a\r\nX-Evil: b"}, "on one line"),
        ({"X-Key": "a" * 1500, "X-More": "b" * 1500}, "on one line"),
        ({"X-Key": "a" * 900, "X-More": "b" * 900, "X-Most": "c" * 900}, "longer than 2000 characters"),
    ],
)
def test_headers_that_would_break_the_request_are_refused(send: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        HealthCheck(send=send)


def test_a_health_check_that_is_a_path_alone_is_stored_as_the_path() -> None:
    """As by earlier versions, whose fingerprints have it so."""
    service = Service.model_validate({"health": "/healthz"})
    assert service.health == HealthCheck(path="/healthz")
    assert service.model_dump(mode="json")["health"] == "/healthz"
    assert str(service.health) == "/healthz"
    more = Service.model_validate(
        {"health": {"host": "a.example", "scheme": "https", "send": {"X-Key": "a"}}}
    )
    assert Service.model_validate_json(more.model_dump_json()) == more
    assert str(more.health) == "/ with the host a.example over https with X-Key"


def test_the_time_allowed_for_a_check_includes_its_repetitions() -> None:
    assert [check.allowance for check in CHECKS] == [8.0, 5.0, 60.0]
    assert [check.repeat_for for check in CHECKS] == [3.0, 3.0, None]


def test_questionable_checks_have_warnings() -> None:
    assert list(HttpCheck(get="/", retry=61.0).unwise(80, alone=False)) == [
        "is repeated for 61s; a failure is reported that late"
    ]
    assert [len(list(TcpCheck(tcp=80).unwise(*case))) for case in ((80, True), (80, False), (81, True))] == [
        1,
        0,
        0,
    ]
    assert list(RunCheck(run=("a",)).unwise(80, alone=True)) == []


@pytest.mark.parametrize(
    ("check", "answer", "verdict"),
    [
        ({}, {}, Verdict(True, "200 in 12 ms")),
        (
            {"status": 204},
            {"body": b"no hunter2"},
            Verdict(False, "status 200, expected 204; body begins 'no •••'"),
        ),
        ({"status": 204}, {}, Verdict(False, "status 200, expected 204")),
        ({"within": 0.01}, {}, Verdict(False, "took 0.01s, allowed 0.01s")),
        ({"headers": {"X-A": "b"}}, {"headers": {"x-a": "b"}}, Verdict(True, "200 in 12 ms")),
        ({"headers": {"X-A": "b"}}, {}, Verdict(False, "header X-A is None, expected 'b'")),
        ({"contains": "yes"}, {"body": b"oh yes"}, Verdict(True, "200 in 12 ms")),
        (
            {"contains": "yes"},
            {"body": b"no"},
            Verdict(False, "the body does not contain 'yes'; body begins 'no'"),
        ),
        ({"json_path": {"a.0": 1}}, {"body": b'{"a": [1]}'}, Verdict(True, "200 in 12 ms")),
        ({"json_path": {"a": 1}}, {"body": b'{"a": true}'}, Verdict(False, "JSON a is True, expected 1")),
        ({"json_path": {"b": 1}}, {"body": b"{}"}, Verdict(False, "JSON has no 'b'")),
        ({"json_path": {"b": 1}}, {"body": b"["}, Verdict(False, "the body is not JSON; body begins '['")),
        ({"json_path": {"b": 1}}, {"body": b"[" * 100_000}, None),
    ],
)
def test_get_judges_status_time_headers_body_and_json(
    check: dict[str, Any], answer: dict[str, Any], verdict: Verdict | None
) -> None:
    asked = Asked(Answer(**{"status": 200, "headers": {}, "body": b"", "seconds": 0.012, **answer}))
    found = HttpCheck(get="/x", **check).perform(asked)
    assert found == verdict if verdict else not found.ok
    assert asked.asked == [("/x", check.get("within", 5.0))]


def test_fault_47_an_excerpt_of_a_body_is_one_harmless_line() -> None:
    found = HttpCheck(get="/", status=204).perform(Asked(Answer(200, {}, b"a\x1b[2J\nb" + b"c" * 300, 0.0)))
    assert found.answer == f"status 200, expected 204; body begins 'a b{'c' * 193}'"


def test_get_says_where_a_redirect_leads_without_secrets() -> None:
    asked = Asked(Answer(302, {"location": "http://x/\x1b[1m"}, b"", 0.0))
    assert HttpCheck(get="/").perform(asked).answer == "status 302 (to http://x/), expected 200"


def test_tcp_connects_and_leaves_a_refusal_to_be_repeated() -> None:
    asked = Asked(closed=frozenset({81}))
    assert TcpCheck(tcp=80).perform(asked) == Verdict(True, "connected in 3 ms")
    with pytest.raises(TryAgain):
        TcpCheck(tcp=81).perform(asked)
    assert asked.asked == [(80, 2.0), (81, 2.0)]


@pytest.mark.parametrize(
    ("ended", "verdict"),
    [
        (CommandResult(0, "", 1.0), Verdict(True, "exit 0")),
        (CommandResult(0, "one\ntwo\x1b[2J\n", 1.0), Verdict(True, "exit 0: two")),
        (CommandResult(3, "boom\n", 1.0), Verdict(False, "exit 3: boom")),
        (None, Verdict(False, "did not end within 1:00 and was stopped")),
    ],
)
def test_run_passes_with_exit_status_0(ended: CommandResult | None, verdict: Verdict) -> None:
    assert RunCheck(run=("a", "b")).perform(Asked(ended=ended)) == verdict


def test_json_at_follows_keys_and_indices() -> None:
    assert json_at({"a": [{"b": 7}]}, "a.0.b") == 7
    for path in ("a.b", "a.1", "a.0.b.c", "-1"):
        with pytest.raises(LookupError):
            json_at({"a": [{"b": 7}]}, path)


@pytest.mark.parametrize("index", ["²", "9" * 5000, "-1", ""])
def test_what_is_not_an_index_of_a_list_is_not_found(index: str) -> None:
    with pytest.raises(LookupError):
        json_at({"a": [1]}, f"a.{index}")
