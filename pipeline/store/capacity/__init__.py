"""What machines have left, by the hour and by the day: facts of each engine, written by the keeper."""

from __future__ import annotations

from typing import TypeVar

from pipeline.domain.capacity.room import HOUR, Look, Room, Series, closed, looked
from pipeline.domain.capacity.trend import Outlook
from pipeline.domain.cost.taken import Size
from pipeline.lib import codec
from pipeline.store.facts import Facts

OUTLOOK = "capacity-outlook"

T = TypeVar("T")


class Rooms:
    """One process at a time writes: the keeper. What cannot be read counts as not there: it is measured again."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def add(self, engine: str, room: Room, size: Size | None, now: float) -> None:
        """One look. An hour that is over goes into the series first; if the keeper dies in between, the next look does
        it again, which changes nothing."""
        before = self._look(engine)
        if before and before.hour.at != int(now // HOUR):
            self._facts.set(_name(engine), codec.dump(closed(self._closed(engine), before)))
        self._facts.set(_now(engine), codec.dump(looked(before, room, size, now)))

    def series(self, engine: str) -> Series | None:
        """With the hour so far; None if the engine was never looked at."""
        look, known = self._look(engine), self._closed(engine)
        return closed(known, look) if look else known

    def outlook(self) -> Outlook:
        return read_outlook(self._facts.get(OUTLOOK))

    def forget(self, engine: str) -> None:
        """Idempotent."""
        self._facts.remove(_now(engine))
        self._facts.remove(_name(engine))

    def _look(self, engine: str) -> Look | None:
        return _read(Look, self._facts.get(_now(engine)))

    def _closed(self, engine: str) -> Series | None:
        return _read(Series, self._facts.get(_name(engine)))


def read_outlook(text: str) -> Outlook:
    """What another version wrote in another form is not known: the next look finds it again."""
    return _read(Outlook, text) or Outlook()


def _name(engine: str) -> str:
    return f"capacity:{engine}"


def _now(engine: str) -> str:
    return f"capacity-now:{engine}"


def _read(kind: type[T], text: str) -> T | None:
    try:
        return codec.load(kind, text) if text else None
    except ValueError:
        return None
