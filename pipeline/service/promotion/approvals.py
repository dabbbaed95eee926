"""How approvals are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.config.models import Pipeline
from pipeline.domain.promotion import approvals
from pipeline.domain.run import Run, State


def of_run(
    pipelines: Iterable[Pipeline | None], run: Run, now: float, *, held: bool
) -> dict[str, Any] | None:
    """What a run that waits for a promotion has and needs: ``{"needed", "given": [{"by", "at"}], "not_by", "text"}``;
    ``not_by``: who pushed and may not promote it, "" if anyone may. None if one person is enough, and
    it may be anyone. ``held``: the environment is held as well, which comes first."""
    rule = approvals.rule(pipelines, run.gate) if run.state == State.WAITING else None
    if rule is None or rule == approvals.PLAIN or run.frozen:
        return None
    found = approvals.given(run, run.gate, rule, now)
    return {
        "needed": rule.needed,
        "given": [{"by": one.by, "at": one.at} for one in found],
        "not_by": (run.pusher or run.by) if rule.others else "",
        "text": (f"{run.gate} is held; after that, " if held else "")
        + approvals.text(run, run.gate, rule, now),
    }
