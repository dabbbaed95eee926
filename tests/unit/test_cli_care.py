"""doctor, gc and token."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.cli_stub import Stub, Told

pytest_plugins = ["tests.unit.cli_stub"]


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
        "pipeline.doctor.without_service",
        lambda settings: [{"name": "disk", "ok": True, "text": f"free at {settings.data}", "advice": ""}],
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
    assert stub.asked[-1][2] == {"name": "ci", "role": "developer"}
    pushlive("token", "create", "ci", "--role", "viewer")
    assert stub.asked[-1][2] == {"name": "ci", "role": "viewer"}
    assert pushlive("token", "create", "ci", "--role", "king").code == 2


def test_tokens_are_listed_and_revoked(stub: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("token", "list").out == "name  role\nci    developer\n"
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
