"""``pushlive volume list``: an engine that does not answer is named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.cli.app.volume import _list

ONE = {"owner": "hello", "environment": "live", "name": "data", "size": None, "users": [], "left": ""}
AWAY = {"engine": "kubernetes:/shop", "text": "it does not answer."}


def shown(volumes: list[dict[str, Any]], unanswered: list[dict[str, Any]]) -> tuple[str, str]:
    """What is printed as a result, and what beside it."""
    out: list[str] = []
    noted: list[str] = []
    terminal = SimpleNamespace(
        data=lambda *lines: out.extend(lines),
        say=lambda *lines: out.extend(lines),
        note=lambda *lines: noted.extend(lines),
        paint=lambda text, _: text,
    )
    answer = {"volumes": volumes, "unanswered": unanswered}
    args = SimpleNamespace(pipeline="", no_sizes=True)
    context: Any = SimpleNamespace(args=args, json=False, terminal=terminal, ask=lambda *_: answer)
    assert _list.function
    assert _list.function(context) == 0
    return "\n".join(out), "\n".join(noted)


@pytest.mark.parametrize("volumes", [[], [ONE]])
def test_an_engine_that_does_not_answer_is_named(volumes: list[dict[str, Any]]) -> None:
    out, noted = shown(volumes, [AWAY])
    assert noted == "kubernetes:/shop does not say which volumes it has: it does not answer."
    assert "There are no volumes" not in out
    assert ("hello/live/data" in out) == bool(volumes)


def test_there_are_none_if_every_engine_says_so() -> None:
    assert shown([], []) == ("There are no volumes.", "")
