"""Commands that change something: what they ask the service for, and what they say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli_stub import FAILURE, Stub, Told, event, run

pytest_plugins = ["tests.support.cli_stub"]


def _posted(stub: Stub) -> list[tuple[str, Any]]:
    return [(path, body) for method, path, body in stub.asked if method == "POST"]


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ([], {}),
        (["hello"], {}),
        (["hello", "--commit", "3f2a9c1"], {"commit": "3f2a9c1"}),
        (["--release", "r16"], {"release": 16}),
        (["--rebuild"], {"rebuild": True}),
    ],
)
def test_deploy_sends_its_request_and_follows_the_run(
    words: list[str], body: dict[str, Any], stub: Stub, pushlive: Callable[..., Told]
) -> None:
    told = pushlive("deploy", *words)
    assert told.code == 0
    assert told.out.endswith("hello#42 live in 1.80s\n")
    assert _posted(stub) == [("/api/pipelines/hello/deploy", body)]


def test_deploy_of_a_file_that_changes_nothing_says_so_and_follows_nothing(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    Path("same.yaml").write_text("pipelines: {}\n")
    answer = {"run": "hello#42", "unchanged": True, "messages": ["Nothing changed: r7 serves."]}
    stub.answers["POST", "/api/pipelines/hello/deploy"] = (200, answer)
    told = pushlive("deploy", "hello", "--config", "same.yaml")
    assert (told.code, told.out) == (0, "Nothing changed: r7 serves.\n")


def test_deploy_sends_the_file(stub: Stub, pushlive: Callable[..., Told]) -> None:
    Path("new.yaml").write_text("pipelines: {}\n# grün\n")
    assert pushlive("deploy", "hello", "--config", "new.yaml").code == 0
    assert _posted(stub)[0][1] == {"config": "pipelines: {}\n# grün\n"}
    told = pushlive("deploy", "hello", "--config", "nowhere.yaml")
    assert told.code == 2
    assert "there is no file 'nowhere.yaml'" in told.err
    Path("binary.yaml").write_bytes(b"\xff\xfe")
    assert pushlive("deploy", "hello", "--config", "binary.yaml").code == 2


def test_deploy_without_waiting_says_how_to_follow(stub: Stub, pushlive: Callable[..., Told]) -> None:
    told = pushlive("deploy", "--no-wait")
    assert told == (0, "hello#42 accepted. Follow it with `pushlive follow 'hello#42'`.\n", "")
    assert not any("events" in path for _, path, _ in stub.asked)
    assert pushlive("deploy", "--no-wait", "--json").json == {"run": "hello#42"}


def test_deploy_fails_with_the_run(stub: Stub, pushlive: Callable[..., Told]) -> None:
    card = ["hello#42 failed", "┌─ dev/smoke failed · the application", "│ 500", "└─"]
    stub.events[-2:] = [
        {"id": "9-0", "event": event("end", failure=FAILURE), "lines": card},
        {"end": {"state": "ended", "outcome": "failed"}},
    ]
    told = pushlive("deploy")
    assert told.code == 1
    assert told.out.endswith("\n".join(card) + "\n")
    assert pushlive("deploy", "--json").json["run"]["number"] == 42


@pytest.mark.parametrize(
    "words",
    [
        ["--commit", "a", "--release", "r1"],
        ["--rebuild", "--release", "r1"],
        ["--commit", "a", "--config", "pipelines.yaml"],
        ["--rebuild", "--config", "pipelines.yaml"],
        ["Hello"],
    ],
)
def test_deploy_refuses_options_that_exclude_each_other(
    words: list[str], stub: Stub, pushlive: Callable[..., Told]
) -> None:
    assert pushlive("deploy", *words).code == 2
    assert not _posted(stub)


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ([], {}),
        (["hello", "--to", "r15"], {"to": 15}),
        (["hello#42"], {"run": 42}),
        (["hello", "--from", "r17"], {"from": 17}),
        (["--env", "qa", "--reason", "slow"], {"environment": "qa", "reason": "slow"}),
    ],
)
def test_revert_says_how_long_it_took(
    words: list[str], body: dict[str, Any], stub: Stub, pushlive: Callable[..., Told]
) -> None:
    told = pushlive("revert", *words)
    assert told.code == 0
    assert "hello#42 reverted in 0." in told.out
    assert _posted(stub) == [("/api/pipelines/hello/revert", body)]


def test_a_failed_revert_says_what_to_look_at(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.events[-1] = {"end": {"state": "ended", "outcome": "failed"}}
    told = pushlive("revert")
    assert told.code == 1
    assert "hello#42 did not revert (failed) after 0." in told.err
    assert "pushlive status" in told.err


def test_promote_names_the_release_that_was_shown(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.waits()
    full = list(stub.events)
    stub.events = [*full[:3], {"end": {"state": "waiting", "outcome": None}}]

    def promoted(handler: Any) -> None:
        stub.events = full
        handler.answer(202, {"run": "hello#42"})

    stub.answers["POST", "/api/pipelines/hello/promote"] = promoted
    told = pushlive("promote")
    assert told.code == 0
    assert told.out == "hello#42 → live: r17 3f2a9c1 Say hello in two languages\nhello#42 live in 1.80s\n"
    body = {"run": 42, "environment": "live", "release": 17}
    assert _posted(stub) == [("/api/pipelines/hello/promote", body)]


def test_a_promotion_that_is_refused_shows_nothing_as_done(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.waits()
    stub.answers["POST", "/api/pipelines/hello/promote"] = (
        409,
        {"error": "live is held.", "advice": "Wait."},
    )
    told = pushlive("promote", "hello")
    assert (told.code, told.out) == (3, "")
    assert "live is held." in told.err


def test_promote_accepts_a_runs_name(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.waits()
    assert pushlive("promote", "hello#42", "--no-wait").code == 0
    assert _posted(stub)[0][1]["run"] == 42


def test_a_promotion_that_is_not_followed_says_what_the_run_waits_for_yet(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    stub.waits()
    yet = "promotion to live is manual: 1 of 2 approvals (bob)"
    stub.answers["POST", "/api/pipelines/hello/promote"] = (202, {"run": "hello#42", "waits": yet})
    told = pushlive("promote", "hello#42", "--no-wait")
    assert told.code == 7
    assert told.out.endswith(f"hello#42 still waits: {yet}.\n")
    assert pushlive("promote", "hello#42", "--no-wait", "--json").code == 7


def test_a_promotion_is_forced_only_with_a_reason(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.waits()
    told = pushlive("promote", "hello#42", "--force")
    assert told.code == 2
    assert "--force needs a reason" in told.err
    assert not _posted(stub)
    assert pushlive("promote", "hello#42", "--force", "--reason", "urgent", "--no-wait").code == 0
    assert {"force": True, "reason": "urgent"}.items() <= _posted(stub)[0][1].items()


def test_promote_without_a_waiting_run_is_refused(stub: Stub, pushlive: Callable[..., Told]) -> None:
    told = pushlive("promote", "hello")
    assert told.code == 3
    assert "no run of hello is waiting at a gate" in told.err
    told = pushlive("promote", "hello#42")
    assert told.code == 3
    assert "it is live" in told.err
    assert not _posted(stub)


@pytest.mark.parametrize(
    "words",
    [
        ["deploy", "hello", "--commit", ""],
        ["deploy", "hello", "--release="],
        ["deploy", "hello", "--config", ""],
        ["revert", "hello", "--env", ""],
        ["revert", "hello", "--to="],
        ["hold", "hello", "--env="],
        ["resume", "hello", "--env", ""],
        ["secret", "rm", "hello", "KEY", "--env", ""],
        ["logs", "hello", "--stage", ""],
        ["audit", "--verify", "--head", ""],
    ],
)
def test_an_empty_option_is_not_the_default(
    words: list[str], stub: Stub, pushlive: Callable[..., Told]
) -> None:
    """`--env "$ENV"` in a script without ENV must not revert live."""
    told = pushlive(*words)
    assert told.code == 2
    assert "it is empty; leave the option out, or give its value" in told.err
    assert stub.asked == []


def test_run_0_is_not_the_latest_one(stub: Stub, pushlive: Callable[..., Told]) -> None:
    pushlive("cancel", "hello#0")
    assert [path for method, path, _ in stub.asked if method == "POST"] == ["/api/runs/hello/0/cancel"]


def test_a_retry_over_a_newer_run_names_it(stub: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("retry", "hello#42", "--over", "hello#43", "--no-wait").code == 0
    assert _posted(stub) == [("/api/runs/hello/42/retry", {"over": 43})]
    for text in ("shop#43", "hello"):
        told = pushlive("retry", "hello#42", "--over", text)
        assert told.code == 2
        assert "is not a run of hello" in told.err


def test_retry_names_the_latest_run_and_cancel_leaves_it_to_the_service(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    assert pushlive("retry", "hello").code == 0
    assert pushlive("cancel", "hello").code == 0
    assert pushlive("cancel", "hello", "7").out == "Cancelling hello#42; what is live stays live.\n"
    assert [path for path, _ in _posted(stub)] == [
        "/api/runs/hello/42/retry",
        "/api/runs/hello/latest/cancel",
        "/api/runs/hello/7/cancel",
    ]


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (["freeze", "--reason", "why"], "freeze", {}),
        (
            ["freeze", "hello", "live", "--reason", "why"],
            "freeze",
            {"pipeline": "hello", "environment": "live"},
        ),
        (
            ["freeze", "--env", "live", "--reason", "why", "--for", "2h"],
            "freeze",
            {"environment": "live", "for": "2h"},
        ),
        (
            ["freeze", "--reason", "why", "--until", "08:00", "--zone", "UTC"],
            "freeze",
            {"until": "08:00", "zone": "UTC"},
        ),
        (["thaw", "hello", "--reason", "why"], "thaw", {"pipeline": "hello"}),
    ],
)
def test_a_freeze_is_of_everything_that_is_not_named(
    stub: Stub, pushlive: Callable[..., Told], words: list[str], path: str, body: dict[str, Any]
) -> None:
    pushlive(*words)
    assert _posted(stub) == [(f"/api/{path}", {"reason": "why"} | body)]


def test_a_freeze_needs_a_reason_and_one_environment(pushlive: Callable[..., Told]) -> None:
    assert pushlive("freeze", "hello").code == 2
    told = pushlive("freeze", "hello", "live", "--env", "qa", "--reason", "why")
    assert (told.code, "two environments" in told.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (["hold"], "hold", {}),
        (["hold", "hello", "--env", "qa", "--reason", "why"], "hold", {"environment": "qa", "reason": "why"}),
        (["resume"], "resume", {}),
        (["resume", "--env", "qa"], "resume", {"environment": "qa"}),
        (["resume", "--held-by", "ann"], "resume", {"held_by": "ann"}),
        (["hold", "--held-by", "ann"], "hold", {"held_by": "ann"}),
        (["unquarantine", "hello", "r17"], "unquarantine", {"release": 17}),
        (["unquarantine", "17", "--env", "qa"], "unquarantine", {"release": 17, "environment": "qa"}),
    ],
)
def test_a_command_on_an_environment_posts_its_request(
    words: list[str], path: str, body: dict[str, Any], stub: Stub, pushlive: Callable[..., Told]
) -> None:
    assert pushlive(*words) == (0, f"{path} done\n", "")
    assert _posted(stub) == [(f"/api/pipelines/hello/{path}", body)]


def test_unquarantine_requires_a_release(pushlive: Callable[..., Told]) -> None:
    assert pushlive("unquarantine", "hello").code == 2
    assert pushlive("unquarantine", "hello", "to", "r17").code == 2


def test_an_invalid_run_name_in_an_answer_is_refused(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers["POST", "/api/pipelines/hello/deploy"] = (202, {"run": "\x1b[2Jhello"})
    told = pushlive("deploy")
    assert told.code == 2
    assert "\x1b" not in told.err


def test_a_waiting_run_ends_the_wait_with_7(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.shown["run"] = run(state="waiting", gate="live", outcome=None)
    stub.events[-2:] = [{"end": {"state": "waiting", "outcome": None}}]
    told = pushlive("deploy")
    assert told.code == 7
    assert told.out.endswith("hello#42 waits; `pushlive show 'hello#42'` says for what\n")
