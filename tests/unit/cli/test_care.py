"""doctor, gc and token."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cli_stub import Stub, Told

pytest_plugins = ["tests.support.cli_stub"]


def test_doctor_shows_every_part(stub: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("doctor") == (0, "✓ store  0.2 ms\n", "")
    checks: list[dict[str, Any]] = [
        {"name": "store", "ok": True, "text": "0.2 ms", "advice": ""},
        {"name": "engine", "ok": False, "text": "no answer", "advice": "Start Docker."},
    ]
    stub.answers["GET", "/api/doctor"] = (200, {"checks": checks})
    told = pushlive("doctor")
    assert told == (1, "✓ store   0.2 ms\n✗ engine  no answer\n          → Start Docker.\n", "")


def test_doctor_looks_for_itself_when_the_service_does_not_run(
    pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.maintenance.doctor.without_service",
        lambda settings, _: [{"name": "disk", "ok": True, "text": f"free at {settings.data}", "advice": ""}],
    )
    told = pushlive("doctor", PUSHLIVE_URL="http://127.0.0.1:1")
    assert told.code == 0
    assert "✓ disk  free at " in told.out
    assert "not reachable at http://127.0.0.1:1" in told.err
    assert "Looking at this machine" in told.err
    assert pushlive("doctor", "--json", PUSHLIVE_URL="http://127.0.0.1:1").json["checks"][0]["ok"]


def test_gc_says_what_went(stub: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("gc") == (0, "gc done\n", "")
    stub.answers["POST", "/api/gc"] = (200, {"messages": []})
    assert pushlive("gc").out == "Nothing to remove.\n"


def test_a_new_token_stands_alone_on_standard_output(stub: Stub, pushlive: Callable[..., Told]) -> None:
    told = pushlive("token", "create", "ci")
    assert (told.code, told.out) == (0, "pl_new\n")
    assert "shown this once" in told.err
    assert stub.asked[-1][2] == {"name": "ci", "role": "developer", "expires": "365d"}
    pushlive("token", "create", "ci", "--role", "viewer", "--expires", "never")
    assert stub.asked[-1][2] == {"name": "ci", "role": "viewer", "expires": "never"}
    assert pushlive("token", "create", "ci", "--role", "king").code == 2


def test_tokens_are_listed_and_revoked(stub: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("token", "list").out.splitlines()[0].split() == ["name", "role", "made", "ends", "used"]
    assert pushlive("token", "list").out.splitlines()[1].split() == [
        *("ci", "developer", "2d", "ago", "in", "4d", "never")
    ]
    assert "is revoked" in pushlive("token", "revoke", "ci").out
    assert pushlive("token", "revoke", "no/body").code == 4
    assert stub.asked[-1][:2] == ("DELETE", "/api/tokens/no%2Fbody")


def test_doctor_fix_says_what_was_mended_and_how_it_is_now(stub: Stub, pushlive: Callable[..., Told]) -> None:
    checks = [{"name": "hello/live", "ok": True, "text": "blue serves, as recorded", "advice": ""}]
    mended = ["hello/live: the proxy was brought back to blue (r1)"]
    stub.answers["POST", "/api/doctor"] = (200, {"mended": mended, "checks": checks})
    told = pushlive("doctor", "--fix")
    assert told.code == 0
    assert told.out.splitlines() == [mended[0], "✓ hello/live  blue serves, as recorded"]
    assert pushlive("doctor", "--fix", "--json").json["mended"] == mended
    stub.answers["POST", "/api/doctor"] = (200, {"mended": [], "checks": checks})
    assert "nothing to mend" in pushlive("doctor", "--fix").out


ENTRY: dict[str, Any] = {
    "number": 7, "time": "2026-11-25T11:09:19.123Z", "who": "ann", "role": "developer", "act": "revert",
    "pipeline": "hello", "environment": "live", "run": "hello#42", "release": "r16", "way": "cli",
    "address": "10.0.0.9", "why": "slow\x1b[31m", "detail": "", "previous": "0" * 64, "hash": "ab" * 32,
}  # fmt: skip


def test_the_audit_log_is_shown_oldest_first(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers["GET", "/api/audit"] = (200, {"entries": [ENTRY, ENTRY | {"number": 6}]})
    head, six, seven = pushlive("audit", "hello", "--limit", "2").out.splitlines()
    assert head.split() == ["time", "who", "act", "on", "release", "from", "why"]
    assert six.split()[0] == "6"
    assert seven == (
        "7  2026-11-25 11:09:19  ann (developer)  revert  hello#42 live  r16      cli 10.0.0.9  slow"
    )
    assert stub.asked[-1][1] == "/api/audit?pipeline=hello&limit=2"
    assert pushlive("audit", "--head", "ab").code == 2


def test_verify_says_what_is_wrong_and_exits_by_it(stub: Stub, pushlive: Callable[..., Told]) -> None:
    good = {"ok": True, "entries": 7, "number": 7, "hash": "ab" * 32, "problems": []}
    stub.answers["GET", "/api/audit/verify"] = (200, good)
    told = pushlive("audit", "--verify", "--head", "ab" * 32)
    assert told.code == 0
    assert f"newest: 7 {'ab' * 32}" in told.out
    assert stub.asked[-1][1].endswith(f"?head={'ab' * 32}")
    stub.answers["GET", "/api/audit/verify"] = (200, good | {"ok": False, "problems": ["entry 3 is missing"]})
    told = pushlive("audit", "--verify")
    assert (told.code, told.out) == (1, "✗ entry 3 is missing\n")
    assert pushlive("audit", "--verify", "--json").code == 1
