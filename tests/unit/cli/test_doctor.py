"""doctor and gc."""

import io
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


def test_advice_about_a_part_that_is_well_has_a_mark_of_its_own(
    stub: Stub, pushlive: Callable[..., Told]
) -> None:
    check = {"name": "live-restore", "ok": True, "text": "off", "advice": "Set it."}
    stub.answers["GET", "/api/doctor"] = (200, {"checks": [check]})
    assert pushlive("doctor") == (0, "! live-restore  off\n                → Set it.\n", "")


def test_doctor_checks_without_the_service(
    pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.maintenance.doctor.examine.without_service",
        lambda settings, _: [{"name": "disk", "ok": True, "text": f"free at {settings.data}", "advice": ""}],
    )
    told = pushlive("doctor", PUSHLIVE_URL="http://127.0.0.1:1")
    assert told.code == 0
    assert "✓ disk  free at " in told.out
    assert "cannot reach the service at http://127.0.0.1:1" in told.err
    assert "Checking this machine" in told.err
    assert pushlive("doctor", "--json", PUSHLIVE_URL="http://127.0.0.1:1").json["checks"][0]["ok"]


def test_gc_lists_what_was_removed(stub: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("gc") == (0, "gc done\n", "")
    stub.answers["POST", "/api/gc"] = (200, {"messages": []})
    assert pushlive("gc").out == "Nothing to remove.\n"
    stub.answers["POST", "/api/gc"] = (200, {"messages": ["done", "not done"], "left": ["not done"]})
    assert pushlive("gc") == (1, "done\nnot done\n", "")


def test_gc_leaves_what_serves_unless_it_is_told_otherwise(
    stub: Stub, pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pushlive("gc", "--yes").code == 0
    assert stub.asked[-1] == ("POST", "/api/gc", None)
    left = {"messages": ["hello/live still serves"], "left": ["x"], "serving": ["hello/live"]}
    stub.answers["POST", "/api/gc"] = (200, left)
    assert pushlive("gc") == (1, "hello/live still serves\n", "")
    asked = len(stub.asked)
    monkeypatch.setattr("sys.stdin", Typed("n\n"))
    assert pushlive("gc").code == 1
    assert [body for _, _, body in stub.asked[asked:]] == [{"serving": []}]
    for typed in ("y\n", "Yes\n"):
        asked = len(stub.asked)
        monkeypatch.setattr("sys.stdin", Typed(typed))
        assert "Still serving: hello/live." in pushlive("gc").err
        assert [body for _, _, body in stub.asked[asked:]] == [{"serving": []}, {"serving": ["hello/live"]}]
    monkeypatch.setattr("sys.stdin", Typed(""))
    assert pushlive("gc", "--json").json == left, "nobody is asked in the middle of JSON"


class Typed(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


def test_doctor_fix_shows_what_was_repaired_and_the_result(stub: Stub, pushlive: Callable[..., Told]) -> None:
    checks = [{"name": "hello/live", "ok": True, "text": "blue serves, as recorded", "advice": ""}]
    repaired = ["hello/live: the proxy was brought back to blue (r1)"]
    stub.answers["POST", "/api/doctor"] = (200, {"mended": repaired, "checks": checks})
    told = pushlive("doctor", "--fix")
    assert told.code == 0
    assert told.out.splitlines() == [repaired[0], "✓ hello/live  blue serves, as recorded"]
    assert pushlive("doctor", "--fix", "--json").json["mended"] == repaired
    stub.answers["POST", "/api/doctor"] = (200, {"mended": [], "checks": checks})
    assert "Nothing to repair" in pushlive("doctor", "--fix").out


def test_adopt_tells_what_was_taken_up(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers["POST", "/api/adopt"] = (200, {"messages": ["hello/live: r2 (green) serves"]})
    assert pushlive("adopt") == (0, "hello/live: r2 (green) serves\n", "")
    problem = {"error": "the store knows this installation: there is nothing to adopt.", "advice": ""}
    stub.answers["POST", "/api/adopt"] = (409, problem)
    assert pushlive("adopt").code == 3
