"""pushlive secret: the value from standard input or a hidden prompt, never from an argument."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest

from tests.support.cli_stub import NOW, Stub, Told

pytest_plugins = ["tests.support.cli_stub"]

PATH = "/api/pipelines/hello/secrets/DATABASE_URL"
ONE = {
    "name": "DATABASE_URL", "environment": "live", "version": 3, "created": NOW - 7200, "by": "ann",
    "revoked": 0.0, "revoked_by": "",
}  # fmt: skip


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def give(raw: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return give


@pytest.fixture
def answered(stub: Stub) -> Stub:
    stub.answers["PUT", PATH] = (201, {"version": 3, "messages": ["version 3 is set"]})
    stub.answers["DELETE", PATH] = (200, {"messages": ["version 3 is revoked"]})
    stub.answers["GET", PATH] = (
        200,
        {"secrets": [ONE, {**ONE, "version": 2, "revoked": NOW, "revoked_by": "bob"}]},
    )
    stub.answers["GET", "/api/pipelines/hello/secrets"] = (
        200,
        {"secrets": [ONE, {**ONE, "environment": ""}]},
    )
    return stub


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"hunter22\n", "hunter22"),
        (b"hunter22\r\n", "hunter22"),
        (b"two\nlines\n\n", "two\nlines\n"),
        ("pässword".encode(), "pässword"),
    ],
)
def test_the_value_comes_from_standard_input(
    answered: Stub, pushlive: Callable[..., Told], typed: Callable[[bytes], None], raw: bytes, value: str
) -> None:
    typed(raw)
    told = pushlive("secret", "set", "hello", "DATABASE_URL", "--env", "live")
    assert told == (0, "version 3 is set\n", "")
    assert answered.asked[-1] == ("PUT", PATH, {"value": value, "environment": "live"})


def test_at_a_terminal_the_value_is_asked_for_and_not_shown(
    answered: Stub, pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"typed at {prompt}")
    assert pushlive("secret", "set", "hello", "DATABASE_URL").code == 0
    assert answered.asked[-1][2] == {"value": "typed at DATABASE_URL (not shown): ", "environment": ""}


@pytest.mark.parametrize("words", [("hello", "DATABASE_URL", "hunter22"), ("hello", "DATABASE_URL=hunter22")])
def test_a_value_as_an_argument_is_refused_and_not_repeated(
    answered: Stub, pushlive: Callable[..., Told], words: tuple[str, ...]
) -> None:
    told = pushlive("secret", "set", *words)
    assert told.code == 2
    assert "never an argument" in told.err
    assert "shell's history" in told.err
    assert "hunter22" not in told.err + told.out
    assert answered.asked == []


def test_a_binary_value_is_refused_and_a_large_one_is_not_read_whole(
    answered: Stub, pushlive: Callable[..., Told], typed: Callable[[bytes], None]
) -> None:
    typed(b"\xff\xfe\x00bin")
    told = pushlive("secret", "set", "hello", "DATABASE_URL")
    assert (told.code, "not UTF-8" in told.err) == (2, True)
    typed(b"x" * (1 << 20))
    pushlive("secret", "set", "hello", "DATABASE_URL")
    assert len(answered.asked[-1][2]["value"]) == (64 << 10) + 3


def test_lists_have_the_user_and_the_time(answered: Stub, pushlive: Callable[..., Told]) -> None:
    told = pushlive("secret", "list")  # the only pipeline
    assert told.out.splitlines()[2].split()[1] == "all"
    first = told.out.splitlines()[1].split()
    assert first[:3] == ["DATABASE_URL", "live", "v3"]
    assert "ann" in first
    told = pushlive("secret", "versions", "hello", "DATABASE_URL", "--env", "live")
    assert "revoked by bob" in told.out
    assert answered.asked[-1][1] == f"{PATH}?environment=live"
    assert json.loads(pushlive("secret", "list", "hello", "--json").out)["secrets"][0] == ONE


def test_rm_revokes_one_version_or_all(answered: Stub, pushlive: Callable[..., Told]) -> None:
    assert pushlive("secret", "rm", "hello", "DATABASE_URL").out == "version 3 is revoked\n"
    assert answered.asked[-1][:2] == ("DELETE", PATH)
    pushlive("secret", "rm", "hello", "DATABASE_URL", "--env", "live", "--version", "3")
    assert answered.asked[-1][1] == f"{PATH}?environment=live&version=3"
