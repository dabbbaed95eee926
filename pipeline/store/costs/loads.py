"""How much everything that serves worked: a fact for each hour of the last days, and one for each day before them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.domain.cost import load
from pipeline.domain.cost.folding import DAY
from pipeline.domain.cost.ledger import HOUR
from pipeline.domain.cost.load import Key, Load
from pipeline.store.facts import Facts

HOURS = 8  # days whose hours are kept; they are those of a day then
DAYS = 400  # days that are kept
_FOLDED = "load-folded"


class Loads:
    """One process at a time writes: the keeper. What cannot be read counts as not measured. Thirty pipelines with three
    environments take about 2 MiB for the hours, and 5 for the days."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def add(self, found: Mapping[Key, Load], now: float) -> None:
        """To the hour of ``now``. With the first of an hour, what is old is put together."""
        if not found:
            return
        name = _hour(int(now // HOUR))
        before = self._facts.get(name)
        self._facts.set(name, _written(load.added(_read(before), found)))
        if not before:
            self._fold(int(now // DAY) - HOURS)

    def hours(self, since: float, until: float) -> Iterator[tuple[float, dict[Key, Load]]]:
        """Those of the last HOURS days that have something, from the one of ``since`` to the one of ``until``, with the
        time of their beginning."""
        last = int(until // HOUR)
        numbers = range(max(int(since // HOUR), last - (HOURS + 1) * 24), last + 1)
        texts = self._facts.several([_hour(one) for one in numbers])
        yield from ((one * HOUR, _read(text)) for one, text in zip(numbers, texts, strict=True) if text)

    def days(self, since: float, until: float) -> Iterator[tuple[int, dict[Key, Load]]]:
        """Those of the last DAYS that have something, by their numbers since 1970 (UTC), the newest first."""
        last = int(until // DAY)
        numbers = range(last, max(int(since // DAY), last - DAYS) - 1, -1)
        texts = dict(zip(numbers, self._facts.several([_day(one) for one in numbers]), strict=True))
        # While a day is made of its hours, it has both; the day has all of them then.
        hours = self._by_day([number for number, text in texts.items() if not text])
        for number, text in texts.items():
            if found := _read(text) if text else hours.get(number):
                yield number, found

    def _by_day(self, days: Sequence[int]) -> dict[int, dict[Key, Load]]:
        """The hours of these days, put together."""
        found, numbers = dict[int, dict[Key, Load]](), [day * 24 + hour for day in days for hour in range(24)]
        for number, text in zip(numbers, self._facts.several([_hour(one) for one in numbers]), strict=True):
            if text:
                day = number // 24
                found[day] = load.added(found.get(day, {}), _read(text))
        return found

    def _fold(self, until: int) -> None:
        """Days before that number. Whatever dies in it, no hour is counted twice: a day is written once, before its
        hours are removed. A clock that was set forward and back leaves hours as they are until their time has come."""
        folded = self._facts.get(_FOLDED)
        days = range(max(min(int(folded), until) if folded else until - 1, until - DAYS), until)
        for day, found in self._by_day(days).items():
            if not self._facts.get(_day(day)):
                self._facts.set(_day(day), _written(found))
            self._remove([_hour(number) for number in range(day * 24, day * 24 + 24)])
        self._remove([_day(day - DAYS) for day in days])
        if folded != str(until):
            self._facts.set(_FOLDED, str(until))

    def _remove(self, names: list[str]) -> None:
        for name, text in zip(names, self._facts.several(names), strict=True):
            if text:
                self._facts.remove(name)


def _hour(number: int) -> str:
    return f"load:{number}"


def _day(number: int) -> str:
    return f"load-day:{number}"


def _written(found: Mapping[Key, Load]) -> str:
    return json.dumps({"|".join(key): str(one) for key, one in found.items()}, separators=(",", ":"))


def _read(text: str) -> dict[Key, Load]:
    try:
        return dict(_each(json.loads(text).items())) if text else {}
    except (ValueError, AttributeError):
        return {}


def _each(found: Iterable[tuple[str, str]]) -> Iterator[tuple[Key, Load]]:
    for key, one in found:
        pipeline, environment, process = key.split("|")
        yield (pipeline, environment, process), load.load(one)
