"""audit and its verification."""

from collections.abc import Callable
from typing import Any

from tests.support.cli_stub import Stub, Told

pytest_plugins = ["tests.support.cli_stub"]


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


def test_the_end_of_an_act_says_what_came_of_it(stub: Stub, pushlive: Callable[..., Told]) -> None:
    ended = ENTRY | {"act": "exec ended", "why": "", "detail": "ls", "before": "r1", "after": "exit code 0"}
    stub.answers["GET", "/api/audit"] = (200, {"entries": [ended]})
    assert pushlive("audit", "hello").out.splitlines()[-1].endswith("  ls · exit code 0")
