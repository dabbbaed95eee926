"""Secrets in the output of several containers are masked wherever a line is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.deploy.tools.output import LONGEST, FollowedOutput, Wish
from pipeline.domain.engine_types import SlotRef
from pipeline.lib.secret import Secret
from pipeline.ports.outputs import Source
from pipeline.secrets.redaction import Mask

REF = SlotRef("hello", "live", 0, "blue")
SECRET = "hunter2-secret-value"


class Printed:
    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces

    def pieces(self) -> Iterator[bytes]:
        yield from (piece.encode() for piece in self._pieces)

    def close(self) -> None: ...


class Engine:
    """Two containers that have printed the same. It is its own lookup of engines and its own port."""

    def __init__(self, *pieces: str) -> None:
        self._pieces = pieces
        self.outputs = self

    def of(self, key: str) -> Any:
        return self

    def sources(self, ref: SlotRef) -> tuple[Source, ...]:
        return (Source("a", "1"), Source("b", "2"))

    def output_of(self, name: str, *, lines: int, since: float, follow: bool) -> Any:
        return Printed(*self._pieces)


def shown(*pieces: str) -> dict[str, str]:
    """What each container printed, as it is shown; its lines without what is between them."""
    engine: Any = Engine(*pieces)
    followed = FollowedOutput(
        lambda: REF, engine, Wish("", 10, 0.0, False), lambda: 0.0, Mask([Secret(SECRET)])
    )
    followed.look()
    found = {"1": "", "2": ""}
    for some in followed.lines():
        for line in some:
            label, _, text = line.partition(" | ")
            found[label] += text
    return found


@pytest.mark.parametrize("at", range(1, len(SECRET)))
def test_a_secret_on_both_sides_of_a_cut_is_masked(at: int) -> None:
    before = "x" * (LONGEST + 1 - at)
    text = shown(before + SECRET[:at], SECRET[at:] + " and more\n")
    assert text == dict.fromkeys("12", f"{before}••• and more")


def test_a_secret_that_an_excerpt_begins_in_is_masked() -> None:
    assert shown("secret-value is it\nnext\n") == dict.fromkeys("12", "••• is itnext")


def test_lines_without_a_secret_are_shown_as_they_are() -> None:
    assert shown("one\r\n", "two\nth", "ree") == dict.fromkeys("12", "onetwothree")
