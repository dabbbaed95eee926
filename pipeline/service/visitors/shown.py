"""How an environment in maintenance is shown."""

from __future__ import annotations

from typing import Any

from pipeline.domain.environment import Environment


def maintenance(environment: Environment | None, now: float) -> dict[str, Any] | None:
    """None unless it is in maintenance. ``since``, ``until``: seconds since the epoch, ``until`` 0 if a person ends it;
    ``text``: for people; ``command``: ends it."""
    found = environment.maintenance if environment else None
    if environment is None or found is None:
        return None
    return {
        "message": found.message,
        "by": found.by,
        "since": found.since,
        "until": found.until,
        "text": found.text(now),
        "command": command(environment.pipeline, environment.name),
    }


def command(pipeline: str, environment: str) -> str:
    return f"pushlive maintenance off {pipeline} {environment}"
