"""A run's events as people see them."""

from __future__ import annotations

from pipeline.domain.events import Event
from pipeline.lib.text import one_line
from pipeline.runlog import format


def lines(event: Event) -> tuple[str, ...]:
    """What ``pipeline.runlog.format`` says, with nothing in it that a terminal or a page would obey."""
    return tuple(one_line(one).replace("\n", " ") for one in format.lines(event))
