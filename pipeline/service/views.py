"""What is shown: plain dicts made from the records, for the page, the command line and scripts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

from pipeline.config.engines import kind_of
from pipeline.config.https.listeners import port_of
from pipeline.config.models import Config, Pipeline
from pipeline.config.previews.names import is_preview
from pipeline.config.settings import Settings
from pipeline.deploy import engine_addresses
from pipeline.deploy.going_back.readiness import missing_images, revert_readiness
from pipeline.domain import budget, taken_back
from pipeline.domain.accessories import AccessoryRecord
from pipeline.domain.environment import Environment
from pipeline.domain.going_back import overtaken, returning
from pipeline.domain.naming import own_name
from pipeline.domain.previews.records import Previews
from pipeline.domain.release import Release
from pipeline.domain.run import Run, State
from pipeline.errors import DamagedRecord, NotFound
from pipeline.lib import codec
from pipeline.service import answers, bakes, health
from pipeline.service.app import backed_up, timings, unfinished, volume_sizes
from pipeline.service.health import beside
from pipeline.service.previews.shown import shown
from pipeline.service.promotion import approvals, frozen, shifts
from pipeline.service.scheduled import scheduled
from pipeline.service.sleep import asleep
from pipeline.service.visitors import shown as visitors
from pipeline.store import Store
from pipeline.store.freezes import FreezeLook, Freezes

Deciding = Callable[[Run], tuple[Pipeline | None, ...]]


def summary(run: Run, now: float) -> dict[str, Any]:
    """A run in a list: its record with id, short commit and seconds so far; ``machine``: those of them in which it
    neither waited nor only watched a release that had a part of the visitors."""
    seconds, machine = (run.ended or now) - run.accepted, budget.machine(run, now)
    found = {
        "id": run.id,
        "short": run.short,
        "seconds": seconds,
        "machine": machine,
        "waits_for": run.waits_for,
    }
    record = codec.plain(run)
    del record["origin"]  # ``Queries.show`` has that of the release
    return {**record, **found, "pusher": run.pusher or run.by}


def show(
    store: Store, config: Config, run: Run, now: float, look: FreezeLook, deciding: Deciding
) -> dict[str, Any]:
    """One run, its timing table and its release. ``deciding``: the pipelines whose gates hold for a run."""
    limits = config.budget_of(run.pipeline) if run.pipeline in config.pipelines else config.budget
    timing = budget.timing(run, limits, now)
    release = codec.plain(store.release(run.pipeline, run.release)) if run.release else None
    gate = store.environment(run.pipeline, run.gate) if run.gate else None
    held = bool(gate and gate.hold)
    shown = {**summary(run, now), "timing": timing, "held": held, "revert": _can_revert(store, run)}
    shown["taken_back"], shown["newer"] = obstacle_of(store, run), newer_than(store, run)
    shown["bakes"] = bakes.of_run(store, run)
    shown["trials"], shown["shift"] = answers.of_run(store, run), shifts.of_run(store, run)
    shown["returning"], shown["freeze"] = returning_of(store, run), frozen.of_run(look, run, now)
    shown["approval"] = approvals.of_run(deciding(run), run, now, held=held)
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


def returning_of(store: Store, run: Run) -> list[str]:
    """What comes back, or goes, unnoticed when a waiting run enters: sentences without a full stop."""
    if run.state != State.WAITING or run.release is None:
        return []
    environment, release = store.environment(run.pipeline, run.gate), store.release(run.pipeline, run.release)
    return list(
        returning.notices(
            environment,
            release,
            lambda number: store.release(run.pipeline, number),
            lambda number: store.run(run.pipeline, number),
        )
    )


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
    if last is None or last.serving != run.release:
        return False
    return bool(revert_readiness(store, last, missing_images(store, run.pipeline))["ready"])


REMOVED = "is no longer in pipelines.yaml; what runs keeps serving until `pushlive gc` removes it"
_GOES = "not ready: it is being removed"
_NO_REVERT: dict[str, Any] = {
    "ready": False,
    "release": None,
    "how": "",
    "text": "not ready: no longer in pipelines.yaml",
    "across": None,
    "asks": "",
    "backs": [],
    "by_itself": None,
    "instead": "",
}


class Views:
    """The status of pipelines, from the store. ``now``: seconds since the epoch."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        config: Config,
        now: float,
        freezes: Freezes,
        deciding: Deciding,
    ) -> None:
        self._store, self._settings, self._config, self._now = store, settings, config, now
        self._freezes, self._deciding = freezes, deciding

    @cached_property
    def _look(self) -> FreezeLook:
        return self._freezes.look()

    def names(self) -> tuple[str, ...]:
        """The pipelines of the file, then those that were taken out of it while something of them runs or waits."""
        gone = (name for name in self._store.pipelines() if name not in self._config.pipelines)
        return (*self._config.pipelines, *(name for name in gone if self._is_there(name)))

    def _is_there(self, name: str) -> bool:
        try:
            return bool(self._store.environments(name) or self._store.open_runs(name))
        except DamagedRecord:
            return True

    def pipeline(self, name: str) -> dict[str, Any]:
        """``run``: the one at work, or the newest. ``waits``: every run that waits for a person, newest first;
        ``waiting``: the first of them. ``removed``: what it means that it is no longer in the file, "" if it is."""
        pipeline = self._config.pipelines.get(name)
        origin: dict[str, Any] = {"name": name, "branch": "", "source": "", "removed": REMOVED}
        origin["preview"] = self._preview(name)
        if pipeline:
            source = pipeline.source.url or self.repository_url(name)
            origin |= {"branch": pipeline.source.branch, "source": source, "removed": ""}
        elif origin["preview"]:  # its own text says that it goes
            origin["removed"] = origin["preview"]["text"]
        try:
            return origin | self._state(name, pipeline)
        except DamagedRecord as error:  # the other pipelines are shown all the same
            found: dict[str, Any] = {"environments": [], "run": None, "waiting": None, "waits": []}
            return origin | found | {"problem": str(error)}

    def _removed(self, name: str) -> str:
        """What it means for an environment that it is no longer in the file."""
        preview = self._preview(name)
        return str(preview["text"]) if preview else REMOVED

    def _preview(self, name: str) -> dict[str, Any] | None:
        """None for a pipeline of the file."""
        found = self._previews.get(name)
        return shown(self._settings, self._config, found) if found else None

    @cached_property
    def _previews(self) -> Previews:
        return self._store.previews.readable()

    def _state(self, name: str, pipeline: Pipeline | None) -> dict[str, Any]:
        records = self._store.environments(name)
        missing = missing_images(self._store, name)
        names = dict.fromkeys([*(pipeline.environments if pipeline else ()), *records])
        newest_first = self._store.open_runs(name)[::-1]
        at_work = [run for run in newest_first if run.state == State.RUNNING]
        newest = next(iter([*at_work, *self._store.recent(name, 1)]), None)
        waits = [self._waiting(run, records) for run in newest_first if run.state == State.WAITING]
        return {
            "environments": [self.environment(name, env, records.get(env), missing) for env in names],
            "run": summary(newest, self._now) if newest else None,
            "waiting": waits[0] if waits else None,
            "waits": waits,
            "undeployed": self._undeployed(name, pipeline) if pipeline else None,
            "forecasts": timings.forecasts(self._store, self._config, name, self._now) if pipeline else [],
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
        ``obstacle_of``; ``returning``: see ``returning_of``; ``freeze``, ``approval``: see
        ``frozen.of_run`` and ``approvals.of_run``."""
        gate = records.get(run.gate)
        held, back = bool(gate and gate.hold), obstacle_of(self._store, run)
        found = {"held": held, "taken_back": back, "returning": returning_of(self._store, run)}
        found["freeze"] = frozen.of_run(self._look, run, self._now)
        found["approval"] = approvals.of_run(self._deciding(run), run, self._now, held=held)
        return {**summary(run, self._now), **found}

    def repository_url(self, name: str) -> str:
        return f"{self._settings.url}/git/{self._config.repository_of(name)}.git"

    def environment(
        self, pipeline: str, name: str, record: Environment | None, missing: frozenset[int]
    ) -> dict[str, Any]:
        release = self._release(pipeline, record)
        slot = record.slots.get(record.active) if record and record.active else None
        configured = self._configured(pipeline, name)
        hosts = self._hosts(configured, name, release)
        proxy = port_of(self._settings.proxy_http)
        local = record is not None and kind_of(record.engine).local
        web = self._has_web(configured, name, release)
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
            "freeze": frozen.shown(self._look, pipeline, name, self._now),
            "thaw": frozen.thawed(self._look, pipeline, name, self._now),
            "next_freeze": frozen.following(self._look, pipeline, name, self._now) if configured else None,
            "revert": revert_readiness(self._store, record, missing)
            if configured
            else _NO_REVERT | ({"text": _GOES} if is_preview(pipeline) else {}),
            "removed": "" if configured else self._removed(pipeline),
            "health": health.shown(record),
            "asleep": asleep.shown(record),
            "maintenance": visitors.maintenance(record, self._now),
            "answers": answers.shown(self._store, record),
            "figures": answers.figures(self._store, self._config, record),
            "bake": bakes.shown(record),
            "shift": shifts.shown(self._store, record),
            "engine": record.engine if record else "",
            "web": web,
            "autoscaled": self._is_autoscaled(name, release),
            "url": engine_addresses.url(self._settings, record, hosts) if record and web else "",
            "address": self._address(record, hosts) if web else engine_addresses.NO_WEB,
            "host_url": f"http://{own_name(pipeline, name)}.localhost:{proxy}" if local and web else "",
            "hosts": list(hosts),
            "quarantine": [{"release": q.release, "reason": q.reason} for q in record.quarantine]
            if record
            else [],
            "manual": bool(configured and configured.environment(name).promote.manual),
            "processes": beside(record, release),
            "cron": scheduled(self._store, record, release, self._now, entries=1),
            "volumes": volume_sizes.shown(self._store, pipeline, name, release),
            "backups": backed_up.shown(self._store, self._config, pipeline, name, self._now),
            "unfinished": unfinished.shown(self._store, self._config, pipeline, name),
            "problem": self._store.facts.get(f"problem:{pipeline}/{name}"),
            "accessories": [
                {"name": one.name, "problem": self._accessory_problem(one)}
                for one in self._accessories
                if one.environment == name and pipeline in one.attached
            ],
        }

    @cached_property
    def _accessories(self) -> tuple[AccessoryRecord, ...]:
        return self._store.accessories.all()

    def _accessory_problem(self, one: AccessoryRecord) -> str:
        """As the keeper saw it last; "" if it is well."""
        if one.stopped:
            return unfinished.why_stopped(self._store, one)
        return self._store.facts.get(f"accessory-problem:{one.id}")

    def _configured(self, pipeline: str, name: str) -> Pipeline | None:
        """The pipeline in the file, if it has that environment."""
        found = self._config.pipelines.get(pipeline)
        return found if found and name in found.environments else None

    def _hosts(self, pipeline: Pipeline | None, name: str, release: Release | None) -> tuple[str, ...]:
        if pipeline:
            return pipeline.render(name).hosts
        return release.environments[name].hosts if release and name in release.environments else ()

    def _address(self, record: Environment | None, hosts: tuple[str, ...]) -> str:
        return engine_addresses.address(self._settings, record, hosts) if record else ""

    def _has_web(self, pipeline: Pipeline | None, name: str, release: Release | None) -> bool:
        """Of what serves; if nothing does, of what is configured."""
        if release and name in release.environments:
            return release.environments[name].service.web
        return pipeline.render(name).service.web if pipeline else True

    def _is_autoscaled(self, name: str, release: Release | None) -> bool:
        return bool(
            release and name in release.environments and release.environments[name].service.autoscaled
        )

    def _release(self, pipeline: str, record: Environment | None) -> Release | None:
        if record is None or record.serving is None:
            return None
        try:
            return self._store.release(pipeline, record.serving)
        except NotFound:
            return None
