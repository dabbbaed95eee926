"""Events as lines for people: the same in git's output, on the page, on the command line and in the log."""

from __future__ import annotations

from typing import Any

from pipeline.domain.events import Event
from pipeline.lib.text import one_line
from pipeline.lib.units import show_duration
from pipeline.runlog.failure_card import failure_card, unpainted

_WIDTH = 7
_LINE = 1000  # characters of one line of output


def lines(event: Event, *, whole: bool = False) -> tuple[str, ...]:
    """The event as plain lines without a newline; none for an event that people need not see. ``whole``: of output as
    well, however long it is."""
    render = _output if whole and event.kind == "line" else _RENDERERS.get(event.kind, _plain)
    return tuple(one_line(line) for line in render(event))


def _output(event: Event) -> tuple[str, ...]:
    return (f"{_label(event)}│ {event.text}",)


def _label(event: Event) -> str:
    return f"{event.stage:<{_WIDTH}} " if event.stage else ""


def _plain(event: Event) -> tuple[str, ...]:
    return (f"{_label(event)}{event.text}",) if event.text else ()


def _vertex(event: Event) -> tuple[str, ...]:
    cached = "cached" if event.data.get("cached") else show_duration(float(event.data.get("seconds") or 0))
    return (f"{_label(event)}{event.text}  {cached}",)


def _line(event: Event) -> tuple[str, ...]:
    cut = event.text if len(event.text) <= _LINE else f"{event.text[:_LINE]} … ({len(event.text)} characters)"
    return (f"{_label(event)}│ {cut}",)


def _step(event: Event) -> tuple[str, ...]:
    # A quick step is shown with its stage, a failed one on the card, a slow one at once.
    seconds = float(event.data.get("seconds") or 0)
    if not event.data.get("ok", True) or seconds < 2:
        return ()
    return (f"{_label(event)}{event.step} {show_duration(seconds)}",)


def _stage(event: Event) -> tuple[str, ...]:
    parts = [f"{s['step']} {show_duration(s['seconds'])}" for s in event.data.get("steps", [])]
    total = show_duration(float(event.data.get("seconds") or 0))
    rest = f"   {event.text}" if event.text else ""
    return (f"{_label(event)}{total:>6}  {' · '.join(parts)}{rest}",)


def _check(event: Event) -> tuple[str, ...]:
    if event.data.get("ok"):
        return ()
    return (f"{_label(event)}✗ {event.text}",)


def _warning(event: Event) -> tuple[str, ...]:
    return (f"{_label(event)}! {event.text}",)


def _end(event: Event) -> tuple[str, ...]:
    found = [event.text]
    card: dict[str, Any] | None = event.data.get("failure")
    if card:
        found += failure_card(card, unpainted)
    found += [str(line) for line in event.data.get("more", [])]
    return tuple(found)


_RENDERERS = {
    "vertex": _vertex,
    "line": _line,
    "step": _step,
    "stage": _stage,
    "check": _check,
    "warning": _warning,
    "end": _end,
}
