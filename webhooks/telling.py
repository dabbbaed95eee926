"""A run's events as people see them."""

from __future__ import annotations

from pipeline.domain.events import Event
from pipeline.runlog import format
from webhooks.text import clean


def lines(event: Event) -> tuple[str, ...]:
    """What ``pipeline.runlog.format`` says, with nothing in it that a terminal or a page would obey."""
    return tuple(clean(one).replace("\n", " ") for one in format.lines(event))
