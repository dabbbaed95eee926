"""False alarms and misses of both rules over a day, for releases that come at any time of it: compared with the hour
before, as the judge does, with the same hour of the day before, and *worse* only if both say so.

A trial is a switch at a random time of the day. Errors and times follow the load as the row says. The day before has
the same curve; its load differs by 10 % or so, and what answers take by 5 %, as two days do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from judge_latency import WIDE, Buckets
from judge_traffic import poisson

from pipeline.domain.judging import counts, rule
from pipeline.domain.judging.counts import JUDGED, MINUTE
from pipeline.domain.judging.latency import counts as timings
from pipeline.domain.judging.latency import rule as times
from pipeline.domain.judging.verdict import Verdict

# Of the highest load, at each full hour: a night, a steep morning, a long day.
CURVE = tuple(
    part / 100 for part in (
        35, 25, 20, 17, 15, 18, 28, 45, 65, 80, 88, 92, 93, 95, 97, 98, 97, 95, 93, 92, 90, 85, 70, 50,
    )
)  # fmt: skip
DAY = 24 * 60  # minutes
ROW = "{:<52} {:>7} {:>7} {:>12} {:>14} {:>6}"


@dataclass(frozen=True)
class Day:
    """``rate``: requests in a second at the highest load; ``share``: of errors without load, ``more``: how many times
    as many there are more at the highest load; ``busy``: how much longer answers take then. Both grow with the square
    of the load."""

    name: str
    rate: float = 20.0
    share: float = 0.01
    more: float = 0.0
    busy: float = 0.0


def load(minute: float) -> float:
    hour, part = divmod(minute / 60 % 24, 1)
    return CURVE[int(hour)] * (1 - part) + CURVE[int(hour + 1) % 24] * part


def errors(chance: random.Random, day: Day, begin: int, factor: float, high: float) -> list[counts.Minute]:
    found = []
    for minute in range(begin, begin + JUDGED):
        at = load(minute) * high
        requests = poisson(chance, MINUTE * day.rate * at)
        wrong = poisson(chance, requests * factor * day.share * (1 + day.more * at * at))
        found.append(counts.Minute(MINUTE * minute, 1, 1, requests, min(requests, wrong)))
    return [one for one in found if one.requests]


def answers(
    chance: random.Random, day: Day, draw: Buckets, begin: int, factor: float, high: float
) -> list[timings.Minute]:
    found, keep = [], math.exp(-1 / 10)
    drift = chance.gauss(0, 0.05)
    for minute in range(begin, begin + JUDGED):
        at = load(minute) * high
        drift = keep * drift + math.sqrt(1 - keep**2) * chance.gauss(0, 0.05)
        took = factor * (1 + day.busy * at * at) * math.exp(drift)
        found.append(
            timings.Minute(
                MINUTE * minute, 1, 1, draw.draw(chance, poisson(chance, MINUTE * day.rate * at), took)
            )
        )
    return [one for one in found if one.times]


def by_errors(chance: random.Random, day: Day, begin: int, worse: bool) -> tuple[bool, bool]:
    """What the comparison with the hour before says, and that with the day before."""
    new = errors(chance, day, begin, 2.0 if worse else 1.0, 1.0)
    earlier = errors(chance, day, begin - JUDGED, 1.0, 1.0)
    yesterday = errors(chance, day, begin, 1.0, math.exp(chance.gauss(0, 0.1)))
    return (
        rule.judge(new, earlier).verdict is Verdict.WORSE,
        rule.judge(new, yesterday).verdict is Verdict.WORSE,
    )


def by_times(chance: random.Random, day: Day, draw: Buckets, begin: int, factor: float) -> tuple[bool, bool]:
    new = answers(chance, day, draw, begin, factor, 1.0)
    earlier = answers(chance, day, draw, begin - JUDGED, 1.0, 1.0)
    other, high = math.exp(chance.gauss(0, 0.05)), math.exp(chance.gauss(0, 0.1))
    yesterday = answers(chance, day, draw, begin, other, high)
    return (
        times.judge(new, earlier).verdict is Verdict.WORSE,
        times.judge(new, yesterday).verdict is Verdict.WORSE,
    )


DAYS = [
    Day("errors: as many at any load"),
    Day("errors: three times as many at the highest load", more=2.0),
    Day("errors: three times as many, 200/s", rate=200.0, more=2.0),
    Day("errors: six times as many", more=5.0),
    Day("errors: six times as many, 200/s", rate=200.0, more=5.0),
]
BUSY = [
    Day("latency: the same at any load"),
    Day("latency: half as long again at the highest load", busy=0.5),
    Day("latency: twice as long", busy=1.0),
    Day("latency: three times as long", busy=2.0),
    Day("latency: three times as long, 200/s", rate=200.0, busy=2.0),
]


def rates(trials: int, chance: random.Random) -> Iterator[str]:
    """The tables, line by line."""
    yield ROW.format("over a day", "trials", "", "hour before", "day before", "both")
    draw = Buckets(WIDE)
    for day in (*DAYS, *BUSY):
        for name, worse in (("alarms", False), ("found", True)):
            said = []
            for _ in range(trials):
                begin = chance.randrange(DAY)
                if day in DAYS:
                    said.append(by_errors(chance, day, begin, worse))
                else:
                    said.append(by_times(chance, day, draw, begin, 2.0 if worse else 1.0))
            each = [sum(one for one, _ in said), sum(two for _, two in said), sum(map(all, said))]
            row = [f"{one / trials:.1%}" for one in each]
            yield ROW.format(day.name if not worse else "", trials, name, *row)
