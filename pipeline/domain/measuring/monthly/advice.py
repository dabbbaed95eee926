"""What to do about a month's figures: sentences, the weightiest first. Each rule says nothing below a stated size."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from pipeline.config.models import Budget
from pipeline.domain.measuring.monthly.report import Figures
from pipeline.lib.units import show_age, show_duration

SOME = 3  # runs, builds or failures, below which nothing is derived
SHARE = 0.2  # of the runs, below which a check is not called unreliable
WITHIN = 0.95  # of the runs are within the budget, else it is said
TAKEN_BACK = 0.15  # of the deployments are taken back, else it is said
BUILT = 10.0  # seconds that uncached steps took in all, below which nothing is said
WAITED = 86400.0  # seconds for which a run waits for a person in the median, else it is said


def advice(found: Figures, budget: Budget) -> tuple[str, ...]:
    """Sentences with a full stop; none if nothing stands out."""
    rules = (_failures, _taken_back, _budget, _grown, _missed, _flaky, _waits)
    return tuple(text for rule in rules for text in rule(found, budget))


def _failures(found: Figures, _: Budget) -> Iterator[str]:
    count = sum(one.count for one in found.failed)
    if count >= SOME and found.failed[0].count >= max(2, count / 2):
        worst = found.failed[0]
        latest = worst.errors[0].runs[-1]
        yield (
            f"{worst.count} of {count} failures were in {worst.step}: begin there. `pushlive show '{latest}'` has the "
            "latest of its commonest error."
        )


def _taken_back(found: Figures, _: Budget) -> Iterator[str]:
    rate, dora = found.dora.failure_rate, found.dora
    if rate is not None and dora.reverted >= 2 and rate > TAKEN_BACK:
        yield (
            f"{dora.reverted} of {dora.deployments} deployments were taken back. Check more before the last "
            "environment (`smoke`), and let releases be watched after their switch (`bake`)."
        )


def _budget(found: Figures, budget: Budget) -> Iterator[str]:
    count = len(found.went)
    if count >= SOME and found.within < WITHIN * count:
        steps = [one for one in found.steps if one.step and one.stage != "build"]
        worst = max(steps, key=lambda one: one.p95, default=None)
        most = (
            f" Most goes to {worst.stage}/{worst.step}: {show_duration(worst.p95)} (95 %)." if worst else ""
        )
        yield (
            f"{count - found.within} of {count} runs took longer than {show_duration(budget.deploy)} from image ready "
            f"to live.{most}"
        )
    if found.serious:
        runs = "1 run" if found.serious == 1 else f"{found.serious} runs"
        limit = show_duration(budget.whole)
        yield f"{runs} took longer than {limit} from push to live: `pushlive timings` shows where the time goes."


def _grown(found: Figures, _: Budget) -> Iterator[str]:
    if found.grown:
        one = found.grown[0]
        yield (
            f"{one.stage}/{one.step} took {show_duration(one.after)} in the median, "
            f"{show_duration(one.after - one.before)} longer than in the month before: it grew most."
        )


def _missed(found: Figures, _: Budget) -> Iterator[str]:
    lines = [one for one in found.missed if one.builds >= SOME and one.seconds >= BUILT]
    if lines:
        one = lines[0]
        yield (
            f"{one.builds} of {found.builds} builds were not cached from {one.place} on, "
            f"{show_duration(one.seconds)} of building in all (last: {one.why}). Copy what changes often after "
            "what takes long, or fewer files before it."
        )


def _flaky(found: Figures, _: Budget) -> Iterator[str]:
    for one in found.flaky:
        if one.again >= SOME and one.again >= SHARE * one.runs:
            yield (
                f"The check {one.asked} in {one.stage} passed only after several attempts in {one.again} of {one.runs} "
                f"runs (median {show_duration(one.seconds)}): see what it waits for, or check readiness with `ready`."
            )
            return


def _waits(found: Figures, _: Budget) -> Iterator[str]:
    if len(found.waits) >= SOME and statistics.median(one.seconds for one in found.waits) >= WAITED:
        longest = found.waits[0]
        yield (
            f"Runs wait long for people: {longest.run} for {show_age(longest.seconds)}. More people who may promote, "
            "or fewer environments with `promote: manual`, would shorten that."
        )
