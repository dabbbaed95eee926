"""What is shown about a release that serves: whether it works, as the keeper last saw it."""

from __future__ import annotations

from typing import Any

from pipeline.domain import outages
from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.domain.watching import liveness


def shown(environment: Environment | None) -> dict[str, Any] | None:
    """None if nothing serves, or if the keeper has not looked yet. ``state``: up, down, or degraded if only some
    replicas serve; ``text``: what there is to say, "" if nothing; ``since``: since when it is down,
    None if it is not; ``revived``: how often replicas of it were started again because they did not answer. Times are
    seconds since the epoch."""
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
        "revived": sum(one.count for one in liveness.revivals(environment)) if environment else 0,
    }


def beside(environment: Environment | None, release: Release | None) -> list[dict[str, Any]]:
    """The processes beside the web one of the release that serves. ``state``: up, down or degraded as above, "" as long
    as the keeper has not looked; ``running`` of ``replicas``; ``restarts``: those of the last minutes; ``text``: what
    is wrong, "" if nothing is."""
    if environment is None or release is None or environment.name not in release.environments:
        return []
    service = release.environments[environment.name].service
    return [_beside(environment, name, one.replicas) for name, one in service.processes_in_use.items()]


def _beside(environment: Environment, name: str, replicas: int) -> dict[str, Any]:
    found = outages.process_known(environment, name)
    if found is None:
        state, running = "", None
    else:
        running = found.serving
        state = "down" if found.down else "degraded" if running < replicas else "up"
    return {
        "process": name,
        "state": state,
        "running": running,
        "replicas": replicas,
        "restarts": found.restarts if found else 0,
        "restarts_since": (found.restarts_since or None) if found else None,
        "text": outages.process_reason(found) if found else "",
    }
