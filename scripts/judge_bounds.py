"""The same as ``judge_latency`` for a Prometheus's histograms: those of ingress-nginx by default, and those with the
bounds that docs/judging.md advises.

*At the limit*: each answer takes exactly a quarter longer, which is tolerated. The others are for answers that take
twice and five times as long.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from judge_latency import CACHED, NARROW, WIDE, Load, daily, steady, verdicts

from pipeline.domain.judging.latency.rule import MARGIN
from pipeline.domain.judging.verdict import Verdict

INGRESS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_DOCS = Path(__file__).parents[1] / "docs" / "judging.md"
ADVISED = tuple(map(float, re.findall(r"--time-buckets=(\S+)", _DOCS.read_text())[0].split(",")))
MUCH = 5.0  # times as long
LOADS = [
    *(
        Load(f"{shape.name}, {rate}/s", shape, steady(rate))
        for shape in (NARROW, WIDE, CACHED)
        for rate in (1, 20)
    ),
    Load("stalls, six an hour", WIDE, steady(20), stalls=0.1),
    Load("a restless hour", WIDE, steady(20), drift=0.15),
    Load("a daily curve", WIDE, daily, busy=0.5),
]
ROW = "{:<34} {:>7} {:>12} {:>12} {:>8} {:>11} {:>11} {:>9} {:>12}"


def rates(trials: int, chance: random.Random) -> Iterator[str]:
    """The table, line by line."""
    heads = ("false alarms", "at the limit", "found", "too coarse", "too little", "missed", "5 times")
    for name, bounds in (("by default", INGRESS), ("advised", ADVISED)):
        yield ROW.format(f"bounds {name}", "trials", *heads)
        for load in LOADS:
            same, limit, twice, much = (
                verdicts(chance, load, trials, lambda _, factor=factor: factor, bounds)  # type: ignore[misc]
                for factor in (1.0, MARGIN, 2.0, MUCH)
            )
            shares = (
                same[Verdict.WORSE],
                limit[Verdict.WORSE],
                *(
                    twice[one]
                    for one in (Verdict.WORSE, Verdict.TOO_COARSE, Verdict.TOO_FEW, Verdict.NO_WORSE)
                ),
                much[Verdict.WORSE],
            )
            yield ROW.format(load.name, trials, *(f"{one / trials:.1%}" for one in shares))
