"""What is shown about a release that has a part of the visitors."""

from __future__ import annotations

from typing import Any

from pipeline.domain.environment import Environment
from pipeline.domain.shifting import rule
from pipeline.lib import codec


def shown(environment: Environment | None) -> dict[str, Any] | None:
    """``{"release", "run", "before", "slot", "percent", "step", "steps", "for", "passed", "since", "requests",
    "errors", "old", "text"}``, None if all visitors are at one release. ``old``: requests and errors of ``before``,
    which serves, in the same time; ``for`` and ``passed``: seconds of the present step. Times are seconds since the
    epoch."""
    shift = rule.wanted(environment) if environment else None
    if environment is None or shift is None:
        return None
    new, old = rule.counted(shift)
    return {
        "release": shift.release,
        "run": f"{environment.pipeline}#{shift.run}",
        "before": shift.before,
        "slot": shift.slot,
        "percent": shift.percent,
        "step": min(shift.step + 1, len(shift.steps)),
        "steps": list(shift.steps),
        "for": shift.lasts,
        "passed": min(shift.passed, shift.lasts),
        "since": shift.since,
        **codec.plain(new),
        "old": codec.plain(old),
        "text": rule.text(shift),
    }


def revert(environment: Environment) -> dict[str, Any] | None:
    """What `pushlive revert` would do now, if a release has a part of the visitors."""
    shift = rule.wanted(environment)
    if shift is None:
        return None
    text = f"revert ready: all visitors back to r{shift.before}, at once"
    return {"ready": True, "release": shift.before, "how": "warm", "text": text}
