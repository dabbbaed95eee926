"""What is shown about a release that serves: whether it works, as the keeper last saw it."""

from __future__ import annotations

from typing import Any

from pipeline.domain import outages
from pipeline.domain.environment import Environment


def shown(environment: Environment | None) -> dict[str, Any] | None:
    """None if nothing serves, or if the keeper has not looked yet. ``state``: up, down, or degraded if only some
    replicas serve; ``text``: what there is to say, "" if nothing; ``since``: since when it is down,
    None if it is not. Times are seconds since the epoch."""
    found = outages.serving_health(environment) if environment else None
    if found is None:
        return None
    state = "down" if found.down else "degraded" if found.serving < found.replicas else "up"
    return {
        "state": state,
        "text": found.text,
        "since": found.down_since or None,
        "serving": found.serving,
        "replicas": found.replicas,
        "restarts": found.restarts,
        "restarts_since": found.restarts_since or None,
    }
