"""What was measured for the cost of months: a fact for each hour, later for each day, and when that began."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from pipeline.config.engines import machines_of
from pipeline.domain.cost import folding, ledger, shares
from pipeline.domain.cost.ledger import Hour
from pipeline.domain.cost.shares import Day
from pipeline.lib import codec
from pipeline.store.facts import Facts

_NEWEST, _BEGAN, _BEGAN_OF = "cost-newest", "cost-began", "cost-began-of"
_FOLDED = "cost-folded"  # the day after the last one that was folded
_PACKED = "z"  # JSON begins with another character
T = TypeVar("T")


class Ledgers:
    """One process at a time writes: the keeper. An hour that cannot be read counts as one without looks."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def began(self) -> float | None:
        """When measuring began, in seconds since the epoch; None if it has not."""
        text = self._facts.get(_BEGAN)
        return float(text) if text else None

    def costs_from(self) -> Callable[[str], float]:
        """From when each machine costs, by ``engines.machines_of``, in seconds since the epoch: infinity for one that
        was never measured."""
        began, each = self.began(), _times(self._facts.get(_BEGAN_OF))
        # An earlier version noted one time for all machines.
        unknown = math.inf if each or began is None else began
        return lambda key: each.get(key, unknown)

    def current(self, now: float) -> Hour:
        """That of ``now``. The one before it is closed first."""
        number, newest = ledger.hour_of(now), self._facts.get(_NEWEST)
        hour = _hour(self._facts.get(_name(int(newest))), int(newest)) if newest else Hour(number)
        if hour.number == number:
            return hour
        return _resumed(self._facts.get(_name(number)), ledger.next_hour(hour, number))

    def put(self, hour: Hour) -> None:
        if not self._facts.get(_BEGAN) and hour.looked:
            self._facts.set(_BEGAN, repr(min(hour.looked.values())))
        self._note_new_machines(hour)
        self._facts.set(_name(hour.number), codec.dump(hour))
        newest = self._facts.get(_NEWEST)
        if newest != str(hour.number):
            self._facts.set(_NEWEST, str(hour.number))
            if newest:
                old = _hour(self._facts.get(_name(int(newest))), int(newest))
                self._facts.set(_name(old.number), _packed(codec.dump(ledger.closed(old))))

    def fold(self, now: float) -> bool:
        """Makes one day of the hours of the oldest day that is old enough; whether there was one. A crash in between
        leaves hours that the next call removes: they count no more once there is their day."""
        began = self.began()
        if began is None:
            return False
        text = self._facts.get(_FOLDED)
        number = int(text) if text else folding.day_of(began)
        if not folding.may_fold(number, now):
            return False
        if not folding.at_edge(number):
            self._fold(number)
        self._facts.set(_FOLDED, str(number + 1))
        return True

    def hours(self, since: float, until: float) -> Iterator[Hour]:
        """Those that have something, from the one of ``since`` to the one before ``until``."""
        first, last = ledger.hour_of(since), ledger.hour_of(until - 1e-6)
        numbers = range(first, last + 1)
        texts = self._facts.several([_name(number) for number in numbers])
        for number, text in zip(numbers, texts, strict=True):
            if text:
                yield _hour(text, number)

    def pieces(self, since: float, until: float) -> Iterator[Hour | Day]:
        """The same, with days in place of the hours that were folded."""
        first, last = folding.day_of(since), folding.day_of(until - 1e-6)
        numbers = range(first, last + 1)
        texts = self._facts.several([_day_name(number) for number in numbers])
        days = {number: text for number, text in zip(numbers, texts, strict=True) if text}
        yield from (_day(text, number) for number, text in days.items())
        yield from (one for one in self.hours(since, until) if folding.day_of_hour(one.number) not in days)

    def _fold(self, number: int) -> None:
        hours = range(number * 24, number * 24 + 24)
        if not self._facts.get(_day_name(number)):
            found = [one for one in self.hours(number * shares.DAY, (number + 1) * shares.DAY) if one.seconds]
            if found:
                self._facts.set(_day_name(number), _packed(codec.dump(shares.folded(number, found))))
        for hour in hours:
            self._facts.remove(_name(hour))

    def _note_new_machines(self, hour: Hour) -> None:
        text = self._facts.get(_BEGAN_OF)
        known, before = _times(text), self._facts.get(_NEWEST)
        earlier = self.began() if before and not text else None  # an earlier version measured what is there
        new = {machines_of(engine): at if earlier is None else earlier for engine, at in hour.looked.items()}
        if new.keys() - known.keys():
            self._facts.set(_BEGAN_OF, json.dumps({**new, **known}))


def _name(number: int) -> str:
    return f"cost:{number}"


def _day_name(number: int) -> str:
    return f"cost-day:{number}"


def _packed(text: str) -> str:
    """What is written once: a fifth of the bytes."""
    return _PACKED + base64.b85encode(zlib.compress(text.encode(), 9)).decode()


def _read(kind: type[T], text: str) -> T:
    """Raises ValueError."""
    if not text.startswith(_PACKED):
        return codec.load(kind, text)
    try:
        return codec.load(kind, zlib.decompress(base64.b85decode(text[len(_PACKED) :])))
    except zlib.error as error:
        raise ValueError(str(error)) from None


def _hour(text: str, number: int) -> Hour:
    try:
        return _read(Hour, text)
    except ValueError:
        return Hour(number)


def _day(text: str, number: int) -> Day:
    try:
        return _read(Day, text)
    except ValueError:
        return Day(number)


def _times(text: str) -> dict[str, float]:
    try:
        return codec.load(dict[str, float], text) if text else {}
    except ValueError:
        return {}


def _resumed(text: str, following: Hour) -> Hour:
    """An hour that is there already: from a keeper that died before it noted that, or the clock was set back."""
    if not text:
        return following
    known = _hour(text, following.number)
    if known.looked:
        return known
    return replace(known, looked=following.looked, spent=following.spent)
