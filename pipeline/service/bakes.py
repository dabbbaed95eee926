"""What is shown about a release that is watched after its switch, and about how that ended."""

from __future__ import annotations

from typing import Any

from pipeline.domain.environment import Bake, BakeOutcome, Environment
from pipeline.domain.run import Run
from pipeline.lib.units import write_duration
from pipeline.store import Store

BAKING = "baking"


def shown(environment: Environment | None) -> dict[str, Any] | None:
    """The last one of that environment; None if no release was ever watched there."""
    return _shown(environment, environment.bakes[-1]) if environment and environment.bakes else None


def of_run(store: Store, run: Run) -> list[dict[str, Any]]:
    """Those of the releases that the run brought, in the order of its environments."""
    records = store.environments(run.pipeline)
    found = (records[name] for name in run.stages if name in records)
    return [
        _shown(environment, one)
        for environment in found
        for one in environment.bakes
        if one.run == run.number
    ]


def _shown(environment: Environment, bake: Bake) -> dict[str, Any]:
    """``state``: baking, baked, taken back, failed or superseded; ``for`` and ``watched``: seconds; ``revert``: the run
    that took it back; ``text``: for people. Times are seconds since the epoch."""
    return {
        "environment": environment.name,
        "release": bake.release,
        "run": f"{environment.pipeline}#{bake.run}",
        "state": bake.outcome.value if bake.outcome else BAKING,
        "since": bake.since,
        "for": bake.lasts,
        "watched": min(bake.watched, bake.lasts),
        "ended": bake.ended or None,
        "reason": bake.reason,
        "revert": f"{environment.pipeline}#{bake.revert}"
        if bake.revert and bake.outcome == BakeOutcome.TAKEN_BACK
        else "",
        "text": _text(environment, bake),
    }


def _text(environment: Environment, bake: Bake) -> str:
    name, lasts = f"r{bake.release}", write_duration(bake.lasts)
    if bake.outcome is None:
        watched = write_duration(float(int(min(bake.watched, bake.lasts))))
        return f"{name} is watched: {watched} of {lasts}"
    if bake.outcome == BakeOutcome.BAKED:
        if bake.release != environment.serving:
            return f"{name} was baked ({lasts}), and serves no more"
        return f"{name} is baked ({lasts})"
    if bake.outcome == BakeOutcome.TAKEN_BACK:
        return f"{name} was taken back by {environment.pipeline}#{bake.revert}: {bake.reason}"
    if bake.outcome == BakeOutcome.FAILED:
        return bake.reason
    return f"{name} was no longer watched: {bake.reason}"
