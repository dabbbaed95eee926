"""What was measured for the cost of months: a fact for each hour, and when that began."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from pipeline.config.engines import machines_of
from pipeline.domain.cost import ledger
from pipeline.domain.cost.ledger import Hour
from pipeline.lib import codec
from pipeline.store.facts import Facts

_NEWEST, _BEGAN, _BEGAN_OF = "cost-newest", "cost-began", "cost-began-of"


class Ledgers:
    """One process at a time writes: the keeper. An hour that cannot be read counts as one without looks."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def began(self) -> float | None:
        """When measuring began, in seconds since the epoch; None if it has not."""
        text = self._facts.get(_BEGAN)
        return float(text) if text else None

    def began_of(self) -> dict[str, float]:
        """The same of machines, by ``engines.machines_of``. Those that an earlier version measured are not in it."""
        return _times(self._facts.get(_BEGAN_OF))

    def current(self, now: float) -> Hour:
        """That of ``now``. The one before it is closed first."""
        number, newest = ledger.hour_of(now), self._facts.get(_NEWEST)
        hour = _read(self._facts.get(_name(int(newest))), int(newest)) if newest else Hour(number)
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
                old = _read(self._facts.get(_name(int(newest))), int(newest))
                self._facts.set(_name(old.number), codec.dump(ledger.closed(old)))

    def _note_new_machines(self, hour: Hour) -> None:
        text = self._facts.get(_BEGAN_OF)
        known, before = _times(text), self._facts.get(_NEWEST)
        earlier = self.began() if before and not text else None  # an earlier version measured what is there
        new = {machines_of(engine): at if earlier is None else earlier for engine, at in hour.looked.items()}
        if new.keys() - known.keys():
            self._facts.set(_BEGAN_OF, json.dumps({**new, **known}))

    def hours(self, since: float, until: float) -> Iterator[Hour]:
        """Those that have something, from the one of ``since`` to the one before ``until``."""
        first, last = ledger.hour_of(since), ledger.hour_of(until - 1e-6)
        numbers = range(first, last + 1)
        texts = self._facts.several([_name(number) for number in numbers])
        for number, text in zip(numbers, texts, strict=True):
            if text:
                yield _read(text, number)


def _times(text: str) -> dict[str, float]:
    try:
        return codec.load(dict[str, float], text) if text else {}
    except ValueError:
        return {}


def _name(number: int) -> str:
    return f"cost:{number}"


def _read(text: str, number: int) -> Hour:
    try:
        return codec.load(Hour, text)
    except ValueError:
        return Hour(number)


def _resumed(text: str, following: Hour) -> Hour:
    """An hour that is there already: from a keeper that died before it noted that, or the clock was set back."""
    if not text:
        return following
    known = _read(text, following.number)
    if known.looked:
        return known
    return replace(known, looked=following.looked, spent=following.spent)
