"""``pushlive parity``: what is printed of environments side by side."""

from __future__ import annotations

from typing import Any

from pipeline.cli.app.parity import parity_lines


def plain(text: str, *_: str) -> str:
    return text


def row(name: str, kind: str, *texts: str, **cell: object) -> dict[str, Any]:
    usual = {"group": 0, "made": None, "wanted": None, "reason": ""}
    cells = [
        usual | {"environment": env, "text": text} for env, text in zip(("dev", "live"), texts, strict=True)
    ]
    cells[-1] |= cell
    return {"name": name, "kind": kind, "by_hand": "made" in cell, "cells": cells}


ANSWER: dict[str, Any] = {
    "pipeline": "shop", "percent": 33, "same": 1, "of": 3, "declared": 1, "undeclared": 1, "inherent": 0,
    "rule": "The rule.",
    "environments": [
        {"environment": "dev", "release": 3, "by_hand": [], "problem": "the engine is away."},
        {"environment": "live", "release": None, "by_hand": ["x-1: memory: 1 → 2"], "problem": ""},
    ],
    "rows": [
        row("cpu", "same", "1", "1"),
        row("memory", "undeclared", "2", "1", made="2", wanted="3"),
        row("replicas", "declared", "1", "2", reason="two are enough"),
    ],
}  # fmt: skip


def test_only_what_differs_is_shown_with_reasons_and_what_was_done_by_hand() -> None:
    assert parity_lines(ANSWER, plain, 100, every=False) == [
        "shop  1 of 3 properties are the same in both environments (33 %); 1 differ with a reason, 1 without, "
        "0 by nature",
        "  property  dev (r3)  live (nothing)",
        "  memory    2         1 *             by hand",
        "  replicas  1         2               declared",
        "  live: replicas: two are enough",
        "  live: memory will be 3 with the next release",
        "  ! dev was not looked at: the engine is away.",
        "  ! live, by hand: x-1: memory: 1 → 2",
        "  The rule.",
    ]


def test_all_shows_what_is_the_same_as_well() -> None:
    lines = parity_lines(ANSWER, plain, 100, every=True)
    assert "  cpu       1         1               same" in lines


def test_nothing_that_differs_is_one_line_and_the_rule() -> None:
    alike = ANSWER | {"percent": 100, "rows": [row("cpu", "same", "1", "1")]}
    quiet = [one | {"by_hand": [], "problem": ""} for one in ANSWER["environments"]]
    assert len(parity_lines(alike | {"environments": quiet}, plain, 100, every=False)) == 2
