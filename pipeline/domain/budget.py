"""The 5:00 from image ready to live verified, and the 10:00 from push to live. Pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from pipeline.config.models import Budget
from pipeline.domain.run import Outcome, Run, StepResult

SHIFT = "shift"  # the step whose time no budget counts


def spent(run: Run, now: float) -> float:
    """Seconds of the deploy budget used so far; 0 before the image is ready. Waiting for a person or another run is not
    counted, nor is the time in which two releases shared the traffic."""
    if not run.image_ready:
        return 0.0
    return max(0.0, (run.ended or now) - run.image_ready - _human(run, now) - _queued(run, now) - run.shifted)


def _human(run: Run, now: float) -> float:
    return run.human + (now - run.gate_since if run.gate and not run.ended else 0.0)


def _queued(run: Run, now: float) -> float:
    return run.queued + (now - run.parked if run.parked and not run.ended else 0.0)


def after_shift(run: Run, now: float) -> float:
    """Seconds that it waited for another run, from the start of that run's shift on: no budget counts them, either."""
    since = run.after_shift_since
    return run.after_shift + (now - since if since and not run.ended else 0.0)


def whole(run: Run, now: float) -> float:
    """Seconds from the push to live, without the waits for people and the time of shifts."""
    end = run.ended or now
    return max(0.0, end - run.accepted - _human(run, now) - run.shifted - after_shift(run, now))


def left(run: Run, budget: Budget, now: float) -> float:
    """Seconds of the deploy budget that are left; negative if it is overspent."""
    return budget.deploy - spent(run, now)


def overspender(steps: tuple[StepResult, ...]) -> str:
    """The step that took longest after the build, as ``qa/smoke``."""
    deploying = [step for step in steps if step.stage != "build" and step.step != SHIFT]
    if not deploying:
        return ""
    worst = max(deploying, key=lambda step: step.seconds)
    return f"{worst.stage}/{worst.step}"


def usual(runs: Iterable[Run], through: tuple[str, ...]) -> float:
    """The median seconds from image ready to live verified of the runs that went live through the same stages;
    0 if there are fewer than three of them."""
    took = [spent(run, run.ended) for run in runs if run.outcome == Outcome.LIVE and run.stages == through]
    return statistics.median(took) if len(took) >= 3 else 0.0


def between(run: Run, now: float) -> float:
    """Seconds of machine time that are in no step: a busy machine takes them between two, or before the first. 0 while
    the run goes on: the step that is at work has no time yet."""
    if not run.ended:
        return 0.0
    return max(0.0, machine(run, now) - sum(one.seconds for one in run.steps if one.step != SHIFT))


def stages(run: Run) -> list[dict[str, Any]]:
    """The timing table: every stage in order with its steps, in seconds; ``figures``: see ``StepResult``."""
    steps: dict[str, list[StepResult]] = defaultdict(list)
    for step in run.steps:
        steps[step.stage].append(step)
    return [
        {
            "stage": stage,
            "seconds": sum(step.seconds for step in steps[stage]),
            "steps": [
                {
                    "step": s.step,
                    "seconds": s.seconds,
                    "ok": s.ok,
                    "detail": s.detail,
                    "figures": s.figures,
                }
                for s in steps[stage]
            ],
        }
        for stage in run.stages
        if stage in steps
    ]


def queue(run: Run, now: float) -> float:
    """Seconds that it waited for a worker, or for another run."""
    return (run.started or run.ended or now) - run.accepted + _queued(run, now)


def machine(run: Run, now: float) -> float:
    """Seconds in which it neither waited nor only watched a release that had a part of the visitors."""
    return (run.ended or now) - run.accepted - _human(run, now) - run.shifted - queue(run, now)


def timing(run: Run, budget: Budget, now: float) -> dict[str, Any]:
    """All figures of one run, in seconds: queue, human and machine time separately, and the time in which two releases
    shared the traffic (``shifted``), which is in none of them; ``after_shift``: what of the queue no budget counts."""
    rest, took = left(run, budget, now), whole(run, now)
    return {
        "queue": queue(run, now),
        "after_shift": after_shift(run, now),
        "human": _human(run, now),
        "shifted": run.shifted,
        "machine": machine(run, now),
        "between": between(run, now),
        "deploy": spent(run, now),
        "whole": took,
        "budget": {"deploy": budget.deploy, "whole": budget.whole},
        "left": rest,
        "over": overspender(run.steps) if rest < 0 else "",
        "serious": took > budget.whole,
        "stages": stages(run),
    }
