"""``pushlive set``."""

import io
from collections.abc import Callable

import pytest

from tests.support.cli_stub import Stub, Told

pytest_plugins = ["tests.support.cli_stub"]
PATH = ("POST", "/api/pipelines/shop/set")
SHOWN = {
    "config": "c0ffee", "environment": "live", "changes": ["replicas: 1 → 3"], "file": "/p.yaml", "writes": True,
}  # fmt: skip


def asked(stub: Stub) -> list[object]:
    return [body for method, path, body in stub.asked if (method, path) == PATH]


def test_a_change_is_shown_and_done_after_a_yes(
    stub: Stub, pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.answers[PATH] = (200, {**SHOWN, "run": ""})
    typed = io.StringIO("no\nyes\n")
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", typed)
    words = ("set", "shop", "live", "replicas=3", "env.A=x=y")
    told = pushlive(*words)
    assert (told.code, told.out.startswith("shop/live\n  replicas: 1 → 3\n")) == (1, True)
    values = {"values": {"replicas": "3", "env.A": "x=y"}, "environment": "live"}
    assert asked(stub) == [values]
    assert pushlive(*words).code == 0
    assert asked(stub) == [values, values, {**values, "seen": "c0ffee"}]


def test_without_a_terminal_it_wants_a_yes_beforehand(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers[PATH] = (200, {**SHOWN, "run": ""})
    told = pushlive("set", "shop", "replicas=3")
    assert (told.code, "Add `--yes`." in told.err) == (2, True)
    assert pushlive("set", "shop", "replicas=3", "--yes").code == 0
    assert asked(stub)[-1] == {"values": {"replicas": "3"}, "seen": "c0ffee"}


def test_a_file_that_cannot_be_written_is_said(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers[PATH] = (200, {**SHOWN, "writes": False, "run": ""})
    assert "! the service cannot write /p.yaml" in pushlive("set", "shop", "replicas=3", "--yes").out


def test_what_changes_nothing_is_not_done(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers[PATH] = (200, {**SHOWN, "changes": []})
    assert pushlive("set", "shop", "replicas=1") == (0, "Nothing would change in shop/live.\n", "")
    assert len(asked(stub)) == 1


@pytest.mark.parametrize(
    "words", [("shop",), ("shop", "live", "x", "a=1"), ("a=1", "shop"), ("a=1", "a=2"), ("=1",)]
)
def test_words_that_mean_nothing_are_refused(
    stub: Stub, pushlive: Callable[..., Told], words: tuple[str, ...]
) -> None:
    assert pushlive("set", *words).code == 2
    assert asked(stub) == []
