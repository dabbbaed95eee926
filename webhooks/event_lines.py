"""A run's events as lines of text."""

from __future__ import annotations

from pipeline.domain.events import Event
from pipeline.lib.text import one_line
from pipeline.runlog import format


def lines(event: Event) -> tuple[str, ...]:
    """The lines of ``pipeline.runlog.format``, without anything that a terminal or a page would interpret."""
    return tuple(one_line(one) for one in format.lines(event))
