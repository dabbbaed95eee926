"""How freezes are shown."""

from __future__ import annotations

from typing import Any

from pipeline.domain.promotion.freezing import thaw_command
from pipeline.domain.run import Run, State
from pipeline.lib.windows import show
from pipeline.store.freezes import FreezeLook


def shown(look: FreezeLook, pipeline: str, environment: str, now: float) -> dict[str, Any] | None:
    """What freezes the environment: ``{"text", "until", "since", "reason", "by", "command"}``; ``until`` is 0 if only a
    thaw ends it, ``by`` "" for a window of pipelines.yaml."""
    found = look.frozen(pipeline, environment, now)
    if found is None:
        return None
    return {
        "text": found.text(environment, now),
        "until": found.until,
        "since": found.since,
        "reason": found.reason,
        "by": found.by,
        "command": thaw_command(pipeline, environment),
    }


def following(look: FreezeLook, pipeline: str, environment: str, now: float) -> dict[str, Any] | None:
    """The next window: ``{"text", "since", "until", "reason"}``."""
    found = look.following(pipeline, environment, now)
    if found is None:
        return None
    begins, ends = show(found.since, found.zone, now), show(found.until, found.zone, now)
    text = f"{environment} freezes {begins.removesuffix(f' {found.zone}')} to {ends}{found.why}"
    return {"text": text, "since": found.since, "until": found.until, "reason": found.reason}


def thawed(look: FreezeLook, pipeline: str, environment: str, now: float) -> dict[str, Any] | None:
    """The thaw but for which a window would freeze the environment: ``{"text", "until", "reason", "by", "at"}``."""
    found = look.thawed(pipeline, environment, now)
    return {"text": found.text(environment, now), **vars(found)} if found else None


def of_run(look: FreezeLook, run: Run, now: float) -> dict[str, Any] | None:
    """What a run waits for that waits for the end of a freeze."""
    if run.state != State.WAITING or not run.frozen:
        return None
    return shown(look, run.pipeline, run.gate, now)
