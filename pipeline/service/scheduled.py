"""What is shown of processes with a schedule, from the store."""

from __future__ import annotations

from typing import Any

from pipeline.config.workload.processes import Process
from pipeline.deploy.cron import history
from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.lib import codec, schedule
from pipeline.store import Store


def scheduled(
    store: Store,
    environment: Environment | None,
    release: Release | None,
    now: float,
    entries: int = history.KEPT,
) -> list[dict[str, Any]]:
    """The processes of the release that serves, and those that have run before it: ``{"environment", "process", "cron",
    "zone", "next", "running", "waiting", "runs"}``, newest run first. ``next``: None if none comes."""
    if environment is None:
        return []
    serves = release is not None and environment.name in release.environments
    wanted = release.environments[environment.name].service.cron_in_use if serves and release else {}
    names = dict.fromkeys([*wanted, *environment.cron])
    return [_process(store, environment, name, wanted.get(name), now, entries) for name in names]


def _process(
    store: Store, environment: Environment, name: str, process: Process | None, now: float, entries: int
) -> dict[str, Any]:
    state = environment.cron.get(name)
    following = schedule.following(process.cron, process.zone, now) if process else None
    return {
        "environment": environment.name,
        "process": name,
        "cron": process.cron if process else "",
        "zone": process.zone if process else "",
        "next": following,
        "running": codec.plain(state.running) if state and state.running else None,
        "waiting": (state.waiting if state else 0.0) or None,
        "runs": [codec.plain(one) for one in history.read(store.facts, environment.id, name)[:entries]],
    }
