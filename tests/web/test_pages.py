"""The pages: who sees them, what a button is bound to, and that nothing from outside becomes markup."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient
from markupsafe import escape

from pipeline.domain.events import Event
from pipeline.domain.run import Outcome, State
from pipeline.errors import ConfigError, StoreUnavailable
from tests.support.fake_service import FAILURE, FakeService, environment, steps
from webhooks.pages import view
from webhooks.security import ongoing

EVIL = "<script>alert(1)</script>\x1b[31m\x1b]0;title\x07 \u202e\x9b2J'\"&"
INERT = "&lt;script&gt;alert(1)&lt;/script&gt;"


def log_in(client: FlaskClient, role: str = "developer") -> FlaskClient:
    assert client.post("/login", data={"token": f"{role}-token"}).status_code == 302
    return client


@pytest.fixture
def inside(client: FlaskClient) -> FlaskClient:
    return log_in(client)


def csrf(client: FlaskClient) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', client.get("/").text)
    assert found
    return found[1]


def hidden(text: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', text))


def waiting(service: FakeService):
    run = replace(service.deploy("hello", "ada"), state=State.WAITING, gate="live", release=18)
    service.made[run.id] = run
    service.acts.clear()
    return run


@pytest.mark.parametrize(
    "path",
    ["/", "/runs", "/runs/hello", "/runs/hello/42", "/runs/hello/42/log", "/runs/hello/42/events",
     "/environments/hello/live/revert", "/runs/hello/42/promote", "/evidence/hello/42"],
)  # fmt: skip
def test_fault_48_nothing_is_shown_before_the_login(client, service, path):
    service.deploy("hello", "ada")
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/login")
    assert "hello" not in answer.text.replace("%2F", "/").replace(path, "")


def test_a_login_sets_a_cookie_that_does_not_contain_the_token(client, service):
    assert client.post("/login", data={"token": "wrong"}).status_code == 401
    answer = client.post("/login", data={"token": "viewer-token", "back": "/runs"})
    assert answer.headers["Location"] == "/runs"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "viewer-token" not in cookie
    assert client.get("/").status_code == 200
    assert service.traces == {"page: wrong token": 1}


@pytest.mark.parametrize("back", ["//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil"])
def test_fault_48_a_login_redirects_only_to_paths_of_the_service(client, back):
    answer = client.post("/login", data={"token": "viewer-token", "back": back})
    assert answer.headers["Location"] == "/"


def test_a_revoked_token_ends_its_sessions(inside, service):
    service.revoke_token("developer")
    assert inside.get("/").status_code == 302


def test_a_forged_cookie_is_ignored(client):
    client.set_cookie("pushlive", "eyJuYW1lIjoibWFpbnRhaW5lciIsIm1hcmsiOiIxLjAifQ.aaaaaa.bbbbbbbbbbbbbbbbb")
    assert client.get("/").status_code == 302


def test_fault_48_a_copy_of_the_cookie_is_worth_nothing_after_a_logout(inside, make_app):
    copy = make_app().test_client()
    copy.set_cookie("pushlive", inside.get_cookie("pushlive").value)
    assert copy.get("/").status_code == 200
    inside.post("/logout", data={"csrf": csrf(inside)})
    assert copy.get("/").status_code == 302


def test_a_logout_that_is_not_stored_has_not_happened(inside, service, monkeypatch):
    form = {"csrf": csrf(inside)}

    def down(*_: object) -> None:
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(service, "end_session", down)
    assert inside.post("/logout", data=form).status_code == 503
    assert inside.get("/").status_code == 200


def test_fault_48_a_session_has_one_end_that_no_use_moves(inside, monkeypatch):
    began = time.time()
    for hours in (4, 8, 11.9):
        monkeypatch.setattr(time, "time", lambda hours=hours: began + hours * 3600)
        answer = inside.get("/")
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    monkeypatch.setattr(time, "time", lambda: began + 12.1 * 3600)
    assert inside.get("/").status_code == 302


def test_a_session_of_an_earlier_version_asks_for_a_login(inside):
    with inside.session_transaction() as session:
        del session["id"], session["until"]
    assert inside.get("/").status_code == 302


@pytest.mark.parametrize("end", ["logout", "revoke", "expire"])
def test_fault_48_an_open_stream_ends_with_its_session(inside, service, monkeypatch, end):
    monkeypatch.setattr(ongoing, "CHECK_SECONDS", 0.0)
    service.deploy("hello", "ada")
    with inside.get("/runs/hello/42/events", buffered=False) as answer:
        chunks = answer.iter_encoded()
        next(chunks)
        assert b"data" in next(chunks)
        if end == "logout":
            inside.post("/logout", data={"csrf": csrf(inside)})
        elif end == "revoke":
            service.revoke_token("developer")
        else:
            service.expire("developer-token")
        assert b"has ended" in b"".join(chunks)


def test_a_logout_ends_the_session(inside):
    inside.post("/logout", data={"csrf": csrf(inside)})
    assert inside.get("/").status_code == 302


def test_a_release_that_has_a_part_of_the_visitors_is_shown(inside, service):
    service.environments[2] = environment("live", shift={"text": "25 % to r18 for 3m of 5m"})
    assert "25 % to r18 for 3m of 5m" in inside.get("/").text


def test_why_answers_are_not_compared_by_time_is_shown(inside, service):
    figures = {
        "source": "prometheus",
        "problem": "",
        "text": "",
        "latency": "not compared by time: <b> no series",
    }
    service.environments[2] = environment("live", figures=figures)
    assert "not compared by time: &lt;b&gt; no series" in inside.get("/").text


def test_a_run_shows_what_each_part_of_the_visitors_was_answered(inside, service):
    run = service.deploy("hello", "ada")
    lines = ["5 % of new visitors: errors 0 % of 15 <b>", "25 % of new visitors: no requests yet"]
    text = "25 % to r18 for 3m of 5m, then all: no requests yet"
    service.shown[run.id] = {
        "stage": "live",
        "shift": {"environment": "live", "text": text, "figures": lines},
    }
    page = inside.get("/runs/hello/42").text
    assert "5 % of new visitors: errors 0 % of 15 &lt;b&gt;" in page
    assert text in page
    assert lines[1] not in page, "it is what the text says"
    service.made[run.id] = replace(
        run, steps=(replace(steps()[-1], stage="live", step="shift", data={"steps": lines}),)
    )
    service.shown = {}
    assert lines[1] in inside.get("/runs/hello/42").text


def test_status_shows_every_environment(inside, service):
    service.environments[2] = environment("live", hold={"reason": "slow", "by": "ada", "since": 1.0})
    page = inside.get("/").text
    for said in (
        "r17",
        "Say hello louder",
        "6 minutes ago",
        "revert ready: r16, warm",
        "hello-qa.localhost:7080",
    ):
        assert said in page
    assert page.count('<span class="slot blue"') == 3
    assert "Resume…" in page


class Attributes(HTMLParser):
    """Those of all elements that have markup in them."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.broken += [f"{tag} {name}={value}" for name, value in attrs if "<" in f"{name}{value}"]


def test_no_attribute_contains_an_element(inside, service):
    data = {"path": "/data", "counted": time.time() - 100, "text": "volume data 4 KiB"}
    past = {"outcome": "failed", "exit_code": 3, "ended": time.time() - 60}
    cron = {"process": "mail", "cron": "0 * * * *", "running": False, "runs": [past]}
    away = {"name": "shop-db", "problem": "it was stopped by <ann>"}
    more = {
        "accessories": [away],
        "unfinished": [
            {"text": "live/data does not have all data of <old>", "command": "pushlive volume mv a b"}
        ],
        "volumes": [data],
        "cron": [cron],
        "hold": {"reason": "slow", "by": "ada", "since": 1.0},
    }
    service.environments[2] = environment("live", **more)
    page = inside.get("/").text
    assert "volume data 4 KiB" in page
    assert "accessory shop-db: it was stopped by &lt;ann&gt;" in page
    assert "does not have all data of &lt;old&gt;. <code>pushlive volume mv a b</code>" in page
    assert "counted 1 minute ago" in page or "counted 100 seconds ago" in page
    read = Attributes()
    read.feed(page)
    assert read.broken == []


def test_a_freeze_is_shown_with_its_reason_and_offers_no_promotion(inside, service):
    freeze = {
        "text": "live is frozen until Mon 08:00 UTC: <exams> (by ada)",
        "command": "pushlive thaw hello live",
    }
    service.environments[2] = environment("live", freeze=freeze)
    run = waiting(service)
    service.shown[run.id] = {"freeze": freeze}
    assert "live is frozen until Mon 08:00 UTC: &lt;exams&gt; (by ada)" in inside.get("/").text
    page = inside.get(f"/runs/hello/{run.number}").text
    assert "live is frozen until Mon 08:00 UTC: &lt;exams&gt; (by ada)" in page
    assert f"/runs/hello/{run.number}/promote" not in page


FROZEN = {
    "text": "live is frozen until a thaw: <exams> (by ada)", "command": "pushlive thaw hello live",
    "by": "ada", "since": 1.0, "until": 0.0, "reason": "<exams>",
}  # fmt: skip


def test_a_maintainer_freezes_an_environment_and_says_why(client, service):
    inside = log_in(client, "maintainer")
    path = "/environments/hello/live/freeze"
    assert path in inside.get("/").text
    page = inside.get(path).text
    assert "No push and no deploy enters live" in page
    assert inside.post(path, data=hidden(page) | {"reason": " exams "}).status_code == 303
    assert service.acts == [("freeze", "hello", "maintainer", "live", "exams", "", "", "UTC")]


def test_a_thaw_is_bound_to_the_freeze_that_was_shown(client, service):
    inside = log_in(client, "maintainer")
    service.environments[2] = environment("live", freeze=FROZEN)
    path = "/environments/hello/live/thaw"
    assert path in inside.get("/").text
    page = inside.get(path).text
    assert "live is frozen until a thaw: &lt;exams&gt; (by ada)" in page
    service.environments[2] = environment("live", freeze=FROZEN | {"since": 2.0})
    assert inside.post(path, data=hidden(page) | {"reason": "a fix"}).status_code == 409
    assert service.acts == []
    service.environments[2] = environment("live", freeze=FROZEN)
    assert inside.post(path, data=hidden(page) | {"reason": "a fix"}).status_code == 303
    assert service.acts == [("thaw", "hello", "maintainer", "live", "a fix")]
    assert inside.get("/environments/hello/live/freeze").status_code == 409


def test_a_maintainer_releases_from_quarantine(client, service):
    inside = log_in(client, "maintainer")
    bad = {"release": 17, "reason": "<slow>", "since": 1.0}
    service.environments[2] = environment("live", quarantine=[bad])
    path = "/environments/hello/live/quarantine/17"
    assert path in inside.get("/").text
    page = inside.get(path).text
    assert "r17 is in quarantine in hello/live: &lt;slow&gt;" in page
    assert inside.post(path, data=hidden(page) | {"reason": " "}).status_code == 409
    assert service.acts == []
    assert inside.post(path, data=hidden(page) | {"reason": "the cause is gone"}).status_code == 303
    assert service.acts == [("unquarantine", "hello", "maintainer", 17, "live", "the cause is gone")]
    for other in ("18", "x", "<b>"):
        assert inside.get(f"/environments/hello/live/quarantine/{other}").status_code == 409


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("", ("", "")),
        ("2h", ("", "2h")),
        ("08:00", ("08:00", "")),
        ("2026-12-01 08:00 ", ("2026-12-01 08:00", "")),
    ],
)
def test_a_freeze_of_everything_has_a_reason_and_an_end(client, service, typed, sent):
    inside = log_in(client, "maintainer")
    assert 'href="/freeze"' in inside.get("/").text
    assert 'href="/thaw"' not in inside.get("/").text
    page = inside.get("/freeze").text
    assert "No push and no deploy enters any environment of any pipeline" in page
    form = hidden(page) | {"until": typed, "zone": "Europe/Dublin"}
    assert inside.post("/freeze", data=form).status_code == 409, "no reason"
    assert inside.post("/freeze", data=form | {"reason": "exams"}).status_code == 303
    assert service.acts == [("freeze", "hello", "maintainer", "", "exams", *sent, "Europe/Dublin")]


def test_a_time_that_is_none_says_what_can_be_written_on_the_page(client, service, monkeypatch):
    def wrong(*_: object, **__: object) -> None:
        raise ConfigError("'soon' is not a time.", advice="Write --until 08:00.")

    monkeypatch.setattr(service, "freeze", wrong)
    inside = log_in(client, "maintainer")
    form = hidden(inside.get("/freeze").text) | {"until": "soon", "reason": "exams"}
    answer = inside.post("/freeze", data=form)
    assert answer.status_code == 400
    assert "Go back. Write 2026-12-01 08:00, 08:00 (the next one), or how long" in answer.text
    assert "--until" not in answer.text


def test_a_thaw_of_everything_is_bound_to_the_freezes_that_were_shown(client, service):
    inside = log_in(client, "maintainer")
    assert inside.get("/thaw").status_code == 409
    service.environments[1:] = [environment("qa", freeze=FROZEN), environment("live", freeze=FROZEN)]
    assert 'href="/thaw"' in inside.get("/").text
    page = inside.get("/thaw").text
    assert "hello/qa: live is frozen until a thaw: &lt;exams&gt; (by ada)." in page
    assert "hello/live: " in page
    service.environments[1] = environment("qa")
    form = hidden(page) | {"reason": "a fix"}
    assert inside.post("/thaw", data=form).status_code == 409
    assert service.acts == []
    service.environments[1] = environment("qa", freeze=FROZEN)
    assert inside.post("/thaw", data=form).status_code == 303
    assert service.acts == [("thaw", "hello", "maintainer", "", "a fix")]


def test_a_pipeline_is_frozen_and_thawed_as_a_whole(client, service):
    inside = log_in(client, "maintainer")
    assert "/pipelines/hello/freeze" in inside.get("/runs/hello").text
    page = inside.get("/pipelines/hello/freeze").text
    assert "enters any environment of hello" in page
    assert inside.post("/pipelines/hello/freeze", data=hidden(page) | {"reason": "x"}).status_code == 303
    assert service.acts == [("freeze", "hello", "maintainer", "", "x", "", "", "UTC")]
    assert inside.get("/pipelines/nope/freeze").status_code == 404
    assert inside.get("/pipelines/hello/thaw").status_code == 409
    assert "/pipelines/hello/thaw" not in inside.get("/runs/hello").text
    service.environments[2] = environment("live", freeze=FROZEN)
    assert "/pipelines/hello/thaw" in inside.get("/runs/hello").text
    assert "/pipelines/hello/thaw" not in log_in(client, "developer").get("/runs/hello").text


def test_a_hold_and_the_bake_that_set_it_are_one_sentence(inside, service):
    why = "r1 failed 45 s after its switch"
    hold = {"reason": f"{why}. It is not taken back", "by": "bake", "since": 1.0}
    service.environments[2] = environment("live", bake={"state": "failed", "text": why}, hold=hold)
    assert inside.get("/").text.count(why) == 1
    service.environments[2] = environment("live", bake={"state": "failed", "text": why})
    assert inside.get("/").text.count(why) == 1


@pytest.mark.parametrize(
    ("given", "not_by", "button"), [((), "", True), (("Developer",), "", False), ((), "developer", False)]
)
def test_who_cannot_approve_has_no_button_that_would_be_refused(inside, service, given, not_by, button):
    run = waiting(service)
    people = [{"by": name, "at": 1.0} for name in given]
    service.shown[run.id] = {"approval": {"needed": 2, "given": people, "not_by": not_by, "text": "1 of 2"}}
    assert ("Approve r18 for live" in inside.get(f"/runs/hello/{run.number}").text) == button


def test_a_person_withdraws_the_own_approval_and_no_other(inside, service):
    run = waiting(service)
    mine = {"environment": "live", "by": "Developer", "at": 1.0, "release": run.release}
    path = f"/runs/hello/{run.number}/withdraw"
    for given in ([], [mine | {"by": "ben"}], [mine | {"release": 17}], [mine | {"environment": "qa"}]):
        service.shown[run.id] = {"approvals": given}
        assert path not in inside.get(f"/runs/hello/{run.number}").text
        assert inside.get(path).status_code == 409
    service.shown[run.id] = {"approvals": [mine]}
    assert path in inside.get(f"/runs/hello/{run.number}").text
    page = inside.get(path).text
    assert "Your approval of r18 for live no longer counts." in page
    assert inside.post(path, data=hidden(page) | {"release": "17"}).status_code == 409
    assert inside.post(path, data=hidden(page) | {"reason": "a bug"}).status_code == 303
    assert service.acts == [("withdraw", "hello", "developer", 42, "live", 18, "a bug")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hello/live is frozen now", "hello/live is"),
        ("hello#4 has ended", "hello#4 has"),
        ("a thing", "A thing"),
    ],
)
def test_a_heading_does_not_capitalise_a_name(text, shown):
    assert view.heading(text).startswith(shown)


@pytest.mark.parametrize("act", ["freeze", "quarantine/17"])
def test_a_developer_sees_that_it_needs_a_maintainer(inside, service, act):
    bad = {"release": 17, "reason": "slow", "since": 1.0}
    service.environments[2] = environment("live", quarantine=[bad])
    path = f"/environments/hello/live/{act}"
    assert path not in inside.get("/").text
    assert "this needs maintainer" in inside.get(path).text
    answer = inside.post(path, data={"csrf": csrf(inside), "reason": "x", "frozen": "", "release": "17"})
    assert answer.status_code == 403
    assert service.acts == []


def test_what_is_open_by_a_thaw_is_shown_beside_the_next_freeze(inside, service):
    thaw = {"text": "live is open by a thaw until Mon 08:00 UTC: <fix> (by ada)"}
    following = {"text": "live freezes Fri 16:00 to Mon 08:00 UTC"}
    service.environments[2] = environment("live", thaw=thaw, next_freeze=following)
    page = inside.get("/").text
    assert "live is open by a thaw until Mon 08:00 UTC: &lt;fix&gt; (by ada)" in page
    assert "live freezes Fri 16:00 to Mon 08:00 UTC" in page


def test_what_made_a_run_slower_is_shown_on_its_page(inside, service):
    run = waiting(service)
    unusual = {
        "seconds": 190.0,
        "usual": 90.0,
        "runs": 20,
        "steps": [],
        "text": "push → live 3:10: `COPY <a>` missed",
    }
    service.shown[run.id] = {"unusual": unusual}
    page = inside.get(f"/runs/hello/{run.number}").text
    assert '<p class="alert warn">push → live 3:10: <code>COPY &lt;a&gt;</code> missed.</p>' in page
    service.shown[run.id] = {"unusual": unusual | {"seconds": 20.0}}
    assert '<p class="note">push → live 3:10' in inside.get(f"/runs/hello/{run.number}").text


def test_a_budget_that_will_be_exceeded_is_shown(inside, service, monkeypatch):
    before = service.status()
    before["pipelines"][0]["forecasts"] = [{"text": "live/start grows by 2.00s a week <b>"}]
    unusual = {"seconds": 190.0, "usual": 90.0, "text": "push → live 3:10, 1:40 slower"}
    run = {
        "pipeline": "hello",
        "number": 7,
        "id": "hello#7",
        "state": "ended",
        "outcome": "live",
        "unusual": unusual,
    }
    before["pipelines"][0]["run"] = run
    monkeypatch.setattr(service, "status", lambda *_: before)
    page = inside.get("/").text
    assert "live/start grows by 2.00s a week &lt;b&gt;." in page
    assert "hello#7: push → live 3:10, 1:40 slower</p>" in page


def test_who_has_approved_a_run_is_shown_where_the_next_one_does(inside, service):
    run = waiting(service)
    text = "promotion to live is manual: 1 of 2 approvals (Ben)"
    service.shown[run.id] = {"approval": {"needed": 2, "given": [], "not_by": "", "text": text}}
    assert f"{text}." in inside.get(f"/runs/hello/{run.number}").text
    page = inside.get(f"/runs/hello/{run.number}/promote").text
    assert "Promotion to live is manual: 1 of 2 approvals (Ben)." in page
    assert f"Approve r{run.release} for live" in page


def test_who_let_a_run_in_is_shown_on_its_page(inside, service):
    run = waiting(service)
    given = [
        {"environment": "live", "by": name, "at": 1.0, "release": run.release} for name in ("ben", "<c>")
    ]
    service.shown[run.id] = {"approvals": given}
    page = inside.get(f"/runs/hello/{run.number}").text
    assert "approved for live" in page
    assert "ben <small" in page
    assert "&lt;c&gt; <small" in page


TIMINGS = {
    "runs": 41, "budget": 300.0, "outcomes": {"live": 40, "failed": 1}, "within": 39,
    "deploy": {"runs": 40, "p50": 20.0, "p95": 60.0},
    "steps": [
        {"stage": "dev<b>", "step": "", "runs": 40, "p50": 10.0, "p95": 20.0},
        {"stage": "dev<b>", "step": "start", "runs": 40, "p50": 5.0, "p95": 0.0},
    ],
    "slower": [{"stage": "live", "step": "start", "before": 2.0, "after": 4.0}],
    "growing": [{"stage": "live", "step": "start", "per_week": 2.0, "level": 9.0, "runs": 40}],
    "forecasts": [{"text": "live/start grows by 2.00s a week <b>"}],
    "deployments": 40, "lead": {"runs": 40, "p50": 120.0, "p95": 240.0}, "reverted": 2,
    "restored": {"runs": 2, "p50": 30.0, "p95": 31.0},
}  # fmt: skip


def test_the_page_of_timings_has_what_the_command_has(inside, service):
    assert "/timings/hello" in inside.get("/").text
    assert "/timings/hello" in inside.get("/runs/hello").text
    service.measured_timings = TIMINGS
    page = inside.get("/timings/hello").text
    assert service.asked_seconds == 30 * 86400
    for said in (
        "41 runs ended: 40 live · 1 failed.", "39 of 40 within the budget of 5:00 (98 %)", "1.3 a day",
        "live/start has become slower: 2.00s → 4.00s", "live/start grows by 2.00s a week, now 9.00s",
        "Deployments that a revert of the last environment took back.", "5 %</b> 2 of 40", "dev&lt;b&gt;",
        "live/start grows by 2.00s a week &lt;b&gt;.", 'width="50.0"',
    ):  # fmt: skip
        assert said in page, said
    inside.get("/timings/hello?days=7")
    assert service.asked_seconds == 7 * 86400


def side_by_side(name: str, kind: str, *texts: str, **cell: object) -> dict[str, object]:
    plain = {"group": 0, "made": None, "wanted": None, "reason": ""}
    cells = [
        plain | {"environment": env, "text": text} for env, text in zip(("dev", "live"), texts, strict=True)
    ]
    cells[-1] |= cell
    return {"name": name, "kind": kind, "by_hand": "made" in cell, "cells": cells}


PARITY = {
    "percent": 66, "same": 2, "of": 3, "declared": 1, "undeclared": 1, "inherent": 1, "rule": "the rule",
    "environments": [
        {"environment": "dev", "release": 1, "parity": "off", "by_hand": [], "problem": "it is <b>away</b>"},
        {"environment": "live", "release": None, "parity": "block", "by_hand": ["x-1: memory: <i> → 2"], "problem": ""},
    ],
    "rows": [
        side_by_side("cpu", "same", "1.5", "1.5"),
        side_by_side("memory", "undeclared", "1 MiB", "<u>", made="2 MiB", wanted="3 MiB"),
        side_by_side("replicas", "declared", "1", "2", reason="two <are> enough"),
        side_by_side("hosts", "inherent", "none", "example.com"),
    ],
}  # fmt: skip


def test_the_page_of_environments_side_by_side_has_what_the_command_has(inside, service):
    assert "/parity/hello" in inside.get("/runs/hello").text
    service.seen = PARITY
    page = inside.get("/parity/hello").text
    for said in (
        "66 %</b> the same: 2 of 3", "dev was not looked at: it is &lt;b&gt;away&lt;/b&gt;",
        "live, changed by hand: x-1: memory: &lt;i&gt; → 2", "&lt;u&gt;", "by hand; 2 MiB was started",
        "next release: 3 MiB", "two &lt;are&gt; enough", "inherent", "the rule", "<small>r1</small>",
    ):  # fmt: skip
        assert said in page, said
    assert "1.5" not in page
    assert "1.5" in inside.get("/parity/hello?all=1").text


def test_the_page_of_environments_that_are_alike_says_so(inside, service):
    assert "Nothing differs." in inside.get("/parity/hello").text


def test_the_page_of_timings_without_a_run_says_so(inside, service):
    assert "No run of hello has ended in the last 30 days." in inside.get("/timings/hello").text
    for days in ("0", "x", "99999", "-1"):
        assert inside.get(f"/timings/hello?days={days}").status_code == 400
    service.measured_timings = TIMINGS | {"deploy": None, "steps": [], "lead": None, "restored": None, "reverted": 0,
                                          "deployments": 0, "slower": [], "growing": [], "forecasts": []}  # fmt: skip
    assert inside.get("/timings/hello").status_code == 200


def test_viewers_have_no_buttons(client, service):
    waiting(service)
    page = log_in(client, "viewer").get("/").text
    assert "Revert to" not in page
    assert "Promote r18" not in page
    answer = client.post(
        "/environments/hello/live/revert", data={"csrf": csrf(client), "from": "17", "to": "16"}
    )
    assert answer.status_code == 403
    assert service.acts == []


def test_revert_says_what_it_will_do_and_does_it(inside, service):
    page = inside.get("/environments/hello/live/revert").text
    assert "live goes from r17 (ccccccc “Say hello louder”) back to r16" in page
    assert "quarantined" in page
    answer = inside.post("/environments/hello/live/revert", data=hidden(page) | {"reason": "slow"})
    assert answer.headers["Location"] == "/runs/hello/42"
    assert service.acts == [("revert", "hello", "developer", "live", 16, "slow", 17)]


def test_a_button_is_bound_to_what_was_shown(inside, service):
    fields = hidden(inside.get("/environments/hello/live/revert").text)
    service.environments[2] = environment("live", release=18)
    assert inside.post("/environments/hello/live/revert", data=fields).status_code == 409
    run = waiting(service)
    fields = hidden(inside.get(f"/runs/hello/{run.number}/promote").text)
    service.made[run.id] = replace(run, release=19)
    assert inside.post(f"/runs/hello/{run.number}/promote", data=fields).status_code == 409
    assert service.acts == []


@pytest.mark.parametrize("act", ["resume", "hold"])
def test_a_button_is_bound_to_the_hold_that_was_shown(inside, service, act):
    hold = {"reason": "slow", "by": "ada", "since": 1.0}
    service.environments[2] = environment("live", hold=hold)
    path = f"/environments/hello/live/{act}"
    page = inside.get(path).text
    assert "he hold by ada (“slow”)" in page
    for changed in ({"by": "bo"}, {"since": 2.0}):
        service.environments[2] = environment("live", hold=hold | changed)
        assert inside.post(path, data=hidden(page)).status_code == 409
    assert service.acts == []


def test_what_was_taken_back_is_promoted_only_by_force_and_with_a_reason(inside, service):
    run = waiting(service)
    service.shown[run.id] = {
        "taken_back": {
            "environment": "qa",
            "run": 41,
            "text": "r18 was taken back in qa by ada: slow",
            "again": "pushlive revert hello --env qa --to r18",
            "force": "pushlive promote 'hello#42' --force --reason TEXT",
        }
    }
    assert "r18 was taken back in qa by ada: slow" in inside.get(f"/runs/hello/{run.number}").text
    path = f"/runs/hello/{run.number}/promote"
    page = inside.get(path).text
    assert "r18 was taken back in qa by ada: slow." in page
    assert "required" in page
    before = hidden(page) | {"taken_back": "40"}
    assert inside.post(path, data=before | {"reason": "urgent"}).status_code == 409, "another revert came"
    assert inside.post(path, data=hidden(page) | {"reason": "urgent"}).status_code == 303
    assert service.acts == [("promote", "hello", "developer", 42, "live", 18, "urgent")]


def test_a_retry_says_what_it_takes_back_and_is_bound_to_it(inside, service):
    run = waiting(service)
    service.made[run.id] = replace(run, state=State.ENDED, outcome=Outcome.CANCELLED, gate="")
    newer = {
        "run": 43,
        "text": "hello#43 is newer than hello#42 and serves live",
        "command": "pushlive retry",
    }
    service.shown[run.id] = {"newer": newer}
    path = f"/runs/hello/{run.number}/retry"
    page = inside.get(path).text
    assert "hello#43 is newer than hello#42 and serves live." in page
    assert "with the current pipelines.yaml" in page
    service.shown[run.id] = {"newer": newer | {"run": 44}}
    assert inside.post(path, data=hidden(page)).status_code == 409
    assert inside.post(path, data=hidden(inside.get(path).text)).status_code == 303
    assert service.acts == [("retry", "hello", 42, "developer", 44)]


def test_each_button_reaches_the_service(inside, service):
    run = waiting(service)
    for path in (
        f"/runs/hello/{run.number}/promote",
        "/environments/hello/live/hold",
        f"/runs/hello/{run.number}/cancel",
    ):
        assert inside.post(path, data=hidden(inside.get(path).text)).status_code == 303
    service.environments[2] = environment("live", hold={"reason": "slow", "by": "ada", "since": 1.0})
    path = "/environments/hello/live/resume"
    inside.post(path, data=hidden(inside.get(path).text))
    service.made[run.id] = replace(run, state=State.ENDED, outcome=Outcome.FAILED)
    path = f"/runs/hello/{run.number}/retry"
    inside.post(path, data=hidden(inside.get(path).text))
    assert [act[0] for act in service.acts] == ["promote", "hold", "cancel", "resume", "retry"]
    assert service.acts[0] == ("promote", "hello", "developer", 42, "live", 18)


def test_an_environment_without_a_release_can_be_held_and_resumed(inside, service):
    hold = {"reason": "", "by": "ann", "since": 1}
    service.environments = [
        environment("dev", release=None),
        environment("qa", release=None, hold=hold),
        environment("live", hold=hold | {"reason": "exams"}, manual=True),
    ]
    assert "keeps serving" not in inside.get("/environments/hello/dev/hold").text
    page = inside.get("/environments/hello/qa/resume").text
    assert "The hold by ann is lifted." in page
    assert "continues into it" in page
    assert "rNone" not in page
    page = inside.get("/environments/hello/live/resume").text
    assert "The hold by ann (“exams”) is lifted." in page
    assert "still needs a promotion. It serves r17 now." in page


def test_impossible_actions_are_refused(inside, service):
    service.environments[2] = environment(
        "live", revert={"ready": False, "release": None, "how": "", "text": "not ready"}
    )
    assert inside.get("/environments/hello/live/revert").status_code == 409
    assert inside.get("/environments/hello/live/resume").status_code == 409
    assert inside.get("/environments/hello/nowhere/hold").status_code == 404


@pytest.mark.parametrize("changes", [{"csrf": ""}, {"csrf": "wrong"}, {"csrf": "ä"}])
def test_fault_48_forged_forms_are_refused(inside, service, changes):
    fields = hidden(inside.get("/environments/hello/live/revert").text) | changes
    assert inside.post("/environments/hello/live/revert", data=fields).status_code == 403
    assert service.acts == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:20003"])
def test_fault_48_forms_from_another_origin_are_refused(inside, service, origin):
    fields = hidden(inside.get("/environments/hello/live/revert").text)
    answer = inside.post("/environments/hello/live/revert", data=fields, headers={"Origin": origin})
    assert answer.status_code == 403
    assert (
        inside.post("/login", data={"token": "viewer-token"}, headers={"Origin": origin}).status_code == 403
    )
    assert service.acts == []


def test_the_page_of_a_failed_run_says_what_failed_once(inside, service):
    run = service.deploy("hello", "ada")
    ended = {"steps": steps(), "state": State.ENDED, "outcome": Outcome.FAILED, "failure": FAILURE}
    service.made[run.id] = replace(run, reason=FAILURE.message, **ended)
    assert inside.get(f"/runs/hello/{run.number}").text.count(str(escape(FAILURE.message))) == 1
    service.made[run.id] = replace(run, reason="a person's own reason", **ended)
    assert "own reason" in inside.get(f"/runs/hello/{run.number}").text


def test_what_sleeps_has_a_mark_of_its_own(inside, service):
    asleep = {"text": "r1 sleeps", "since": 1.0, "waking": None}
    service.environments[0] = environment("dev", asleep=asleep)
    text = inside.get("/").text
    assert '<span class="slot asleep">asleep</span>' in text
    assert "(put to sleep" in text
    service.environments[0] = environment("dev", asleep={**asleep, "waking": 2.0})
    text = inside.get("/").text
    assert '<span class="slot asleep">waking</span>' in text
    assert "(put to sleep" not in text


def test_what_stands_in_backquotes_is_code_on_a_page(inside, service):
    service.environments[0] = environment(
        "dev", problem="2 < 3: `pushlive show 'hello#42'` says why, not ` this"
    )
    text = inside.get("/").text
    assert "2 &lt; 3: <code>pushlive show &#39;hello#42&#39;</code> says why, not ` this" in text
    wrong = inside.get("/runs/hello/99")
    assert wrong.status_code == 404
    assert not re.search(r"<main.*`[^<`]+`", wrong.text, re.DOTALL)
    assert view.coded("`<b>` \x1b[31m") == "<code>&lt;b&gt;</code> "


def test_the_page_of_a_run_that_has_ended_has_its_evidence_for_download(inside, service):
    run = service.deploy("hello", "ada")
    assert "/evidence/" not in inside.get(f"/runs/hello/{run.number}").text
    service.made[run.id] = replace(
        run, state=State.ENDED, outcome=Outcome.LIVE, release=18, ended=run.accepted + 60
    )
    page = inside.get(f"/runs/hello/{run.number}").text
    for path, name in (
        ("/evidence/hello/r18", "hello-r18.tar.gz"),
        ("/evidence/hello/r18?env=live", "hello-r18-live.tar.gz"),
        (f"/evidence/hello/{run.number}", f"hello-{run.number}.tar.gz"),
    ):
        assert f'href="{path}"' in page
        answer = inside.get(path)
        assert (answer.status_code, answer.data) == (200, b"xxxxyyyyyy")
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'


def test_fault_47_markup_and_escapes_are_inert(inside, service):
    service.message = EVIL
    run = service.deploy("hello", EVIL)
    failure = replace(FAILURE, message=EVIL, evidence=(EVIL,), differs=(EVIL,), advice=EVIL)
    service.made[run.id] = replace(
        run,
        ref=f"refs/heads/{EVIL}",
        steps=steps(),
        state=State.ENDED,
        outcome=Outcome.FAILED,
        failure=failure,
    )
    service.environments[0] = environment(
        "dev",
        message=EVIL,
        problem=EVIL,
        hold={"reason": EVIL, "by": EVIL, "since": 1},
        health={"state": "down", "text": f"it is down: {EVIL}"},
        processes=[
            {"process": "worker", "state": "down", "running": 1, "replicas": 2, "restarts": 4, "text": EVIL}
        ],
    )
    service.log = lambda *_: iter([EVIL])
    for path in ("/", "/runs", "/runs/hello/42", "/environments/hello/dev/revert", "/runs/hello/42/retry"):
        page = inside.get(path).text
        assert INERT in page, path
        assert "<script>alert" not in page
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page), path
    assert '<p class="note bad">it is down: ' in inside.get("/").text
    assert '<p class="note bad"><strong>worker</strong> 1 of 2: ' in inside.get("/").text


def test_fault_47_escapes_in_the_event_stream_are_inert(inside, service):
    service.deploy("hello", "ada")
    service.events = lambda run: [Event("line", 1.0, EVIL + "\nid: 9\n\n")]
    text = inside.get("/runs/hello/42/events").text
    assert "\x1b" not in text
    assert "\\u001b" not in text
    assert text.count("\nid: ") == 1


def test_pages_carry_a_strict_policy(inside):
    answer = inside.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert not re.search(r"\son\w+=|style=|<script>|https?://(?!hello-)", answer.text)


def test_errors_are_pages(inside, service):
    assert "<h1>" in inside.get("/runs/hello/7").text
    nothing = inside.get("/nothing")
    assert (nothing.status_code, "There is nothing at this address" in nothing.text) == (404, True)
    service.down = True
    answer = inside.get("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_the_cookie_key_is_stored_and_private(make_app, settings):
    first, second = make_app(), make_app()
    assert first.secret_key == second.secret_key
    assert (settings.data / "web.key").stat().st_mode & 0o777 == 0o600


def test_the_timing_table_has_states_bars_and_ages():
    run = {
        "stages": ["build", "dev", "live"], "state": "running", "stage": "dev", "failure": None, "gate": "",
        "steps": [{"stage": "build", "step": "build", "seconds": 3.0, "ok": True, "detail": ""},
                  {"stage": "dev", "step": "start", "seconds": 1.0, "ok": True, "detail": ""}],
    }  # fmt: skip
    build, dev, live = view.stages(run)
    assert [(s.name, s.state, s.seconds) for s in (build, dev, live)] == [
        ("build", "done", 3.0), ("dev", "now", 1.0), ("live", "due", 0),
    ]  # fmt: skip
    assert (dev.bars[0].left, dev.bars[0].width) == (75.0, 25.0)
    assert view.meter("x", 330.0, 300.0) == view.Meter("x", "5:30 of 5:00", 100.0, True)
    assert view.age(1000.0, 1000.0 + 7300) == "2 hours ago"


def test_the_page_says_which_cap_the_month_passes(inside, service, monkeypatch):
    found = service.status()
    text = f"shop will have cost 24.00 EUR, 120 % of its cap (`costs.pipelines.shop`) {EVIL}"
    monkeypatch.setattr(service, "status", lambda *_: found | {"costs": [{"text": text, "level": "over"}]})
    page = inside.get("/").text
    assert "shop will have cost 24.00 EUR, 120 % of its cap (<code>costs.pipelines.shop</code>)" in page
    assert INERT in page
