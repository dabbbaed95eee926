"""False alarms and misses of the rule in ``pipeline/domain/judging/rule.py``, over simulated traffic. Those of
latency are in ``judge_latency`` and ``judge_bounds``, those of two releases side by side in ``judge_beside``, and those
over a day in ``judge_day``.

Each trial is an hour of the release before and an hour of the new one. A false alarm is *worse* where both have the
same share of errors. A miss is *no worse* where the new one has twice the share, at least 0.5 %.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from judge_beside import rates as beside
from judge_bounds import rates as bounds
from judge_day import rates as day
from judge_latency import rates
from judge_traffic import poisson

from pipeline.domain.judging.counts import JUDGED, MINUTE, Minute
from pipeline.domain.judging.rule import FLOOR, judge
from pipeline.domain.judging.verdict import Verdict

Curve = Callable[[int], float]  # of the minute
ROW = "{:<34} {:>7} {:>12} {:>8} {:>11} {:>9}"


@dataclass(frozen=True)
class Traffic:
    """``rate``: requests in a second; ``share``: of errors; ``bursts``: how likely a minute has errors of a tenth of
    its requests more; ``crowds``: how likely it has five times the requests."""

    name: str
    rate: Curve
    share: float
    bursts: float = 0.0
    crowds: float = 0.0
    grows: bool = False  # the new release's share, from that of before to three times as much


def hour(chance: random.Random, traffic: Traffic, release: int, share: Curve) -> Iterator[Minute]:
    for number in range(JUDGED):
        crowd = 5 if chance.random() < traffic.crowds else 1
        requests = poisson(chance, MINUTE * traffic.rate(number) * crowd)
        errors = poisson(chance, requests * share(number))
        if chance.random() < traffic.bursts:
            errors += poisson(chance, requests / 10)
        if requests:
            yield Minute(MINUTE * number, release, release, requests, min(errors, requests))


def verdicts(chance: random.Random, traffic: Traffic, trials: int, share: Curve) -> Counter[Verdict]:
    found: Counter[Verdict] = Counter()
    for _ in range(trials):
        before = list(hour(chance, traffic, 1, lambda _: traffic.share))
        found[judge(list(hour(chance, traffic, 2, share)), before).verdict] += 1
    return found


def worse(traffic: Traffic) -> Curve:
    if traffic.grows:
        return lambda number: traffic.share * (1 + 2 * number / JUDGED)
    return lambda _: max(2 * traffic.share, FLOOR)


def steady(rate: float) -> Curve:
    return lambda _: rate


def daily(number: int) -> float:
    return 20 + 15 * math.sin(number * math.pi / JUDGED)


TRAFFIC = [
    *(
        Traffic(f"{rate}/s, {share:.2%} errors", steady(rate), share)
        for share in (0.0, 0.0005, 0.002, 0.01, 0.05)
        for rate in (1, 5, 20, 100)
    ),
    Traffic("crowds (5 times the requests)", steady(20), 0.01, crowds=0.1),
    Traffic("bursts of errors, one an hour", steady(20), 0.01, bursts=0.02),
    Traffic("bursts of errors, three an hour", steady(20), 0.01, bursts=0.05),
    Traffic("bursts of errors, twelve an hour", steady(20), 0.01, bursts=0.2),
    Traffic("bursts, and else no errors", steady(20), 0.0001, bursts=0.05, crowds=0.1),
    Traffic("a daily curve", daily, 0.01),
    Traffic("a slow leak", steady(20), 0.01, grows=True),
]


def errors(trials: int, chance: random.Random) -> None:
    print(ROW.format("traffic", "trials", "false alarms", "found", "too little", "missed"))
    for traffic in TRAFFIC:
        same = verdicts(chance, traffic, trials, lambda _, share=traffic.share: share)  # type: ignore[misc]
        bad = verdicts(chance, traffic, trials, worse(traffic))
        shares = [same[Verdict.WORSE], bad[Verdict.WORSE], bad[Verdict.TOO_FEW], bad[Verdict.NO_WORSE]]
        print(
            ROW.format(traffic.name, trials, *(f"{one / trials:.1%}" for one in shares)),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=400, help="hours of each kind (default: 400)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", choices=("errors", "latency", "bounds", "beside", "day"), help="one of the tables"
    )
    options = parser.parse_args()
    chance = random.Random(options.seed)
    if options.only in (None, "errors"):
        errors(options.trials, chance)
    for name, lines in (("latency", rates), ("bounds", bounds), ("beside", beside), ("day", day)):
        if options.only in (None, name):
            for line in lines(options.trials, chance):
                print(line, flush=True)


if __name__ == "__main__":
    main()
