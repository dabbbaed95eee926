"""What is shown: plain dicts made from the records, for the page, the command line and scripts."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from pipeline.config.engines import kind_of
from pipeline.config.models import Config, Pipeline
from pipeline.config.settings import Settings
from pipeline.deploy import engine_addresses
from pipeline.domain import budget, overtaken, secret_versions, slots, taken_back
from pipeline.domain.environment import Environment, other
from pipeline.domain.release import Release
from pipeline.domain.run import Run, State
from pipeline.errors import ConfigError, DamagedRecord, NotFound
from pipeline.lib import codec
from pipeline.store import Store


def summary(run: Run, now: float) -> dict[str, Any]:
    """A run in a list: its record with id, short commit and seconds so far."""
    seconds = (run.ended or now) - run.accepted
    who = run.pusher or run.by
    return {**codec.plain(run), "id": run.id, "short": run.short, "seconds": seconds, "pusher": who}


def show(store: Store, config: Config, run: Run, now: float) -> dict[str, Any]:
    """One run, its timing table and its release."""
    limits = config.budget_of(run.pipeline) if run.pipeline in config.pipelines else config.budget
    timing = budget.timing(run, limits, now)
    release = codec.plain(store.release(run.pipeline, run.release)) if run.release else None
    gate = store.environment(run.pipeline, run.gate) if run.gate else None
    held = bool(gate and gate.hold)
    shown = {**summary(run, now), "timing": timing, "held": held, "revert": _can_revert(store, run)}
    shown["taken_back"], shown["newer"] = obstacle_of(store, run), newer_than(store, run)
    shown["cancelled_when"] = run.cancelled_when(now)
    return {"run": shown, "timing": timing, "release": release}


def obstacle_of(store: Store, run: Run) -> dict[str, Any] | None:
    """Why a waiting run is not promoted, if an environment before its gate took its release back: ``{"environment",
    "run", "text", "again", "force"}``; ``run`` is the number of that revert, the last two are commands."""
    if run.state != State.WAITING or run.release is None:
        return None
    names = taken_back.before(run, run.gate)
    records = [one for name in names if (one := store.environment(run.pipeline, name))]
    found = taken_back.obstacle(run, store.release(run.pipeline, run.release), run.gate, records)
    if found is None:
        return None
    return {
        "environment": found.environment,
        "run": found.entry.run,
        "text": found.why,
        "again": found.again,
        "force": found.force,
    }


def newer_than(store: Store, run: Run) -> dict[str, Any] | None:
    """What a retry of an ended run would take back: ``{"run", "text", "command"}``, None if nothing."""
    if run.state != State.ENDED:
        return None
    environment = store.environment(run.pipeline, run.stages[-1])
    serving: Release | None = None
    placed: Run | None = None
    if environment and environment.active and environment.serving is not None:
        with suppress(NotFound):
            serving = store.release(run.pipeline, environment.serving)
            placed = store.run(run.pipeline, environment.slots[environment.active].run)
    found = overtaken.newer(run, environment, serving, placed, store.open_runs(run.pipeline))
    return {"run": found.number, "text": found.why, "command": found.command} if found else None


def _can_revert(store: Store, run: Run) -> bool:
    """True while this run's release serves in its last environment, and there is a release to go back to."""
    last = store.environment(run.pipeline, run.stages[-1])
    return bool(last and last.serving == run.release and slots.revert_target(last))


def missing_images(store: Store, pipeline: str) -> frozenset[int]:
    """Releases whose image the keeper did not find on the Engine."""
    return frozenset(json.loads(store.facts.get(f"missing:{pipeline}") or "[]"))


def revert_readiness(
    store: Store, environment: Environment | None, missing: frozenset[int]
) -> dict[str, Any]:
    """What `pushlive revert` would do now: ``{"ready", "release", "how", "text"}``."""
    target = slots.revert_target(environment) if environment else None
    if environment is None or target is None:
        return {"ready": False, "release": None, "how": "", "text": "not ready: no earlier good release"}
    if why := _not_ready(store, environment, target, missing):
        return {"ready": False, "release": target, "how": "", "text": f"not ready: {why}"}
    slot = other(environment.active) if environment.active else ""
    warm = bool(slot) and slots.is_warm(environment, slot, target)
    how = "warm" if warm else "cold"
    text = f"revert ready: r{target}, {'warm' if warm else 'cold, about 1 s'}"
    return {"ready": True, "release": target, "how": how, "text": text}


def _not_ready(store: Store, environment: Environment, target: int, missing: frozenset[int]) -> str:
    """Why the release cannot be started there again; "" if it can."""
    # Other engines take the image from the registry.
    if target in missing and kind_of(environment.engine).local:
        return f"the image of r{target} is gone"
    pipeline, name = environment.pipeline, environment.name
    try:
        release = store.release(pipeline, target)
        if name in release.environments and release.environments[name].service.secrets:
            secret_versions.chosen(store.secrets(pipeline), release, name)
    except (NotFound, ConfigError) as error:
        return error.message
    return ""


class Views:
    """The status of pipelines, from the store. ``now``: seconds since the epoch."""

    def __init__(self, store: Store, settings: Settings, config: Config, now: float) -> None:
        self._store, self._settings, self._config, self._now = store, settings, config, now

    def pipeline(self, name: str) -> dict[str, Any]:
        pipeline = self._config.pipelines[name]
        try:
            return self._pipeline(name, pipeline)
        except DamagedRecord as error:  # the other pipelines are shown all the same
            source = pipeline.source.url or self.repository_url(name)
            found = {"name": name, "branch": pipeline.source.branch, "source": source, "environments": []}
            return {**found, "run": None, "waiting": None, "problem": str(error)}

    def _pipeline(self, name: str, pipeline: Pipeline) -> dict[str, Any]:
        records = self._store.environments(name)
        missing = missing_images(self._store, name)
        recent = self._store.recent(name, 20)
        newest = next((run for run in recent if run.state == State.RUNNING), recent[0] if recent else None)
        waiting = next((run for run in recent if run.state == State.WAITING), None)
        return {
            "name": name,
            "branch": pipeline.source.branch,
            "source": pipeline.source.url or self.repository_url(name),
            "environments": [
                self.environment(name, env, records.get(env), missing) for env in pipeline.environments
            ],
            "run": summary(newest, self._now) if newest else None,
            "waiting": self._waiting(waiting, records) if waiting else None,
            "undeployed": self._undeployed(name, pipeline),
        }

    def _undeployed(self, name: str, pipeline: Pipeline) -> dict[str, str] | None:
        """The branch's head if no run has it, as after a change of the file: ``{"commit", "text", "command"}``."""
        commit = self._store.facts.get(f"undeployed:{name}")
        if not commit:
            return None
        text = f"{pipeline.source.branch} is at {commit[:7]}, which is not deployed"
        return {"commit": commit, "text": text, "command": f"pushlive deploy {name} --commit {commit[:7]}"}

    def _waiting(self, run: Run, records: dict[str, Environment]) -> dict[str, Any]:
        """A run that waits. ``held``: for the end of a hold, not for a promotion; ``taken_back``: see
        ``obstacle_of``."""
        gate = records.get(run.gate)
        held, back = bool(gate and gate.hold), obstacle_of(self._store, run)
        return {**summary(run, self._now), "held": held, "taken_back": back}

    def repository_url(self, name: str) -> str:
        return f"{self._settings.url}/git/{self._config.repository_of(name)}.git"

    def environment(
        self, pipeline: str, name: str, record: Environment | None, missing: frozenset[int]
    ) -> dict[str, Any]:
        release = self._release(pipeline, record)
        slot = record.slots.get(record.active) if record and record.active else None
        hosts = self._config.pipelines[pipeline].render(name).hosts
        proxy = self._settings.proxy_http.rpartition(":")[2]
        local = record is not None and kind_of(record.engine).local
        return {
            "name": name,
            "release": release.number if release else None,
            "commit": release.commit if release else "",
            "message": release.message if release else "",
            "since": slot.since if slot else None,
            "slot": record.active if record else None,
            "slots": {
                key: {"release": r.release, "state": r.state.value, "until": r.until}
                for key, r in (record.slots.items() if record else ())
            },
            "hold": codec.plain(record.hold) if record and record.hold else None,
            "revert": revert_readiness(self._store, record, missing),
            "engine": record.engine if record else "",
            "url": engine_addresses.url(self._settings, record, hosts) if record else "",
            "address": engine_addresses.address(self._settings, record, hosts) if record else "",
            "host_url": f"http://{pipeline}-{name}.localhost:{proxy}" if local else "",
            "hosts": list(hosts),
            "quarantine": [{"release": q.release, "reason": q.reason} for q in record.quarantine]
            if record
            else [],
            "manual": self._config.pipelines[pipeline].environment(name).promote == "manual",
            "problem": self._store.facts.get(f"problem:{pipeline}/{name}"),
        }

    def _release(self, pipeline: str, record: Environment | None) -> Release | None:
        if record is None or record.serving is None:
            return None
        try:
            return self._store.release(pipeline, record.serving)
        except NotFound:
            return None
