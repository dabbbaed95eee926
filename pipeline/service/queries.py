"""What may be asked of Pushlive without changing anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pipeline.config import diff, loading
from pipeline.config.lint import warnings
from pipeline.config.models import Config, Pipeline, Rendered
from pipeline.config.place.repository import same_repository
from pipeline.config.previews.names import SECRETS as PREVIEWS
from pipeline.config.previews.names import is_preview, pipeline_of
from pipeline.config.workload.accessory_rules import pairs
from pipeline.deploy import accessories, hosts
from pipeline.deploy.configuring import judging
from pipeline.deploy.services import Services
from pipeline.deploy.slot import failed_slot
from pipeline.domain import gates, slots
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import Environment
from pipeline.domain.events import Event
from pipeline.domain.measuring.measurements import Measurements
from pipeline.domain.previews.records import PreviewState
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run, State
from pipeline.errors import ConfigError, DamagedRecord, NotFound, PushliveError
from pipeline.lib import codec
from pipeline.notify.delivery import outages
from pipeline.ports.clock import Clock
from pipeline.runlog import file
from pipeline.service import views
from pipeline.service.app import backup_figures, parity, report, timings, unfinished
from pipeline.service.app.volume_sizes import data_left
from pipeline.service.capacity import capacity
from pipeline.service.configuring import reverts
from pipeline.service.cost import caps, costs, history
from pipeline.service.operations import Operations
from pipeline.service.scheduled import scheduled
from pipeline.store.costs.caps import Caps


class Queries:
    """Answers from the store; for what only an engine knows it asks ``operations``."""

    def __init__(self, services: Services, clock: Clock, operations: Operations) -> None:
        self._store, self._settings, self._vault = services.store, services.settings, services.vault
        self._configurations, self._clock, self._operations = services.configurations, clock, operations
        self._freezes = services.freezes

    # ── configuration ────────────────────────────────────────────────────────

    def plan(self, text: str, before: str | None = None) -> dict[str, Any]:
        """What a changed pipelines.yaml would change, or its problems if it is invalid. ``before``: the hash of the
        configuration that it replaces; default: the one in force."""
        problems = [f"line {p.line}: {p.path}: {p.message}" for p in loading.problems(text)]
        problems = problems or judging.own_sources(text, loading.load(text), self._settings.config)
        if problems:
            return {"problems": problems, "warnings": [], "pipelines": {}, "reverts": {}, "origin": None}
        written = loading.load(text)
        new = self._configurations.beside_previews(written)
        try:
            digest = self._configurations.current()[0] if before is None else before
            known = self._configurations.as_written(digest) if digest else Config()
            old = self._configurations.beside_previews(known)
        except ConfigError:
            digest, old = "", Config()
        changes = {name: dict(found) for name, found in diff.plan(old, new).items()}
        # A preview that goes leaves nothing to compare.
        recorded = [name for name in self._store.pipelines() if not is_preview(name)]
        for name in dict.fromkeys([*new.pipelines, *recorded]):
            was, now = old.pipelines.get(name), new.pipelines.get(name)
            changes[name] = self._against_what_runs(name, was, now, changes.get(name, {}))
        for host, name, environment, before in hosts.moving(self._store, new):
            text = f"hosts: {host} moves here from {before} with the next release; until then it leads there"
            lines = changes.setdefault(name, {})
            lines[environment] = (*lines.get(environment, ()), text)
        for name, environment, text in accessories.planned(self._store, new):
            if is_preview(name) and name not in new.pipelines:
                continue  # they go with their preview
            lines = changes.setdefault(name, {})
            lines[environment] = (*lines.get(environment, ()), text)
        for name, environment, text in unfinished.planned(self._store, new):
            lines = changes.setdefault(name, {})
            lines[environment] = (*lines.get(environment, ()), text)
        changes = {name: found for name, found in changes.items() if found}
        found = [*warnings(written, self._clock.now()), *self._not_set(written)]
        backs = {name: self._reverts(name, new.pipelines.get(name), lines) for name, lines in changes.items()}
        return {
            "problems": [],
            "warnings": found,
            "pipelines": changes,
            "reverts": {name: lines for name, lines in backs.items() if lines},
            "origin": self.origin(digest),
        }

    def _reverts(
        self, name: str, wanted: Pipeline | None, changes: dict[str, tuple[str, ...]]
    ) -> dict[str, str]:
        """What it does to *revert ready* in each environment that changes."""
        found = {}
        for environment, record in self._store.environments(name).items():
            serving = self._release_in(record)
            if environment in changes and wanted and environment in wanted.environments and serving:
                found[environment] = reverts.after(self._store, record, serving, wanted)
        return found

    def _not_set(self, config: Config) -> Iterator[str]:
        for one in self._vault.missing(config):
            option = f" --env {one.environment}" if one.environment else ""
            command = f"`pushlive secret set {one.owner} {one.name}{option}`"
            yield f"{one.key}: {one.name} is not set, so {one.without}; {command}"

    def _against_what_runs(
        self,
        name: str,
        before: Pipeline | None,
        pipeline: Pipeline | None,
        found: dict[str, tuple[str, ...]],
    ) -> dict[str, tuple[str, ...]]:
        """Compares each environment with the release that serves there, not with the old file."""
        changes = dict(found)
        for environment, record in self._store.environments(name).items():
            if pipeline is None or environment not in pipeline.environments:
                waits = gates.waiting_at(self._store.open_runs(name), environment)
                waiting = (f"{run.id} waits before it" for run in waits)
                left = data_left(record, self._release_in(record), None)
                changes[environment] = (views.REMOVED, *waiting, *left)
            elif record.serving is not None:
                release = self._store.release(name, record.serving)
                there = before is not None and environment in before.environments
                lines = diff.beside(before, pipeline, environment) if before and there else ()
                wanted = pipeline.render(environment)
                lines = (*lines, *diff.differences(release.environments[environment], wanted))
                lines = (*lines, *data_left(record, release, pipeline.render(environment)))
                lines = (*lines, *self._on_its_engine(record, release, pipeline.render(environment)))
                changes.pop(environment, None)
                if lines:
                    changes[environment] = lines
        return changes

    def _release_in(self, record: Environment) -> Release | None:
        return self._store.release(record.pipeline, record.serving) if record.serving is not None else None

    def _on_its_engine(self, record: Environment, release: Release, wanted: Rendered) -> tuple[str, ...]:
        """What would change on the engine, value by value, including what was changed there by hand."""
        if record.active is None or wanted.engine.key != record.engine:
            return ()
        slot, ref = record.slots[record.active], slots.slot_ref(record, record.active)
        changed = replace(release, environments={**release.environments, record.name: wanted})
        spec, now = slots.spec_of(ref, changed, slot.run, slot.secrets), release.environments[record.name]
        try:
            kept = slots.carried(now.service, self._operations.scaled(ref), Kind.DEPLOY, wanted.service)
            spec = replace(spec, at_least=kept)
            return (*_carried(spec), *(line.back for line in self._operations.compare(spec)))
        except PushliveError as error:
            return (f"cannot compare with what runs there: {error.message}",)

    def pipelines_of_repository(self, name: str) -> tuple[str, ...]:
        config = self._config()
        return tuple(p for p in config.pipelines if name and config.repository_of(p) == name)

    def pipelines_of_url(self, urls: tuple[str, ...]) -> tuple[str, ...]:
        config = self._config()
        wanted = {same_repository(url) for url in urls if url}
        return tuple(
            name
            for name, pipeline in config.pipelines.items()
            if pipeline.source.url and same_repository(pipeline.source.url) in wanted
        )

    def branch_of(self, pipeline: str) -> str:
        return self._known(self._config(), pipeline).source.branch

    # ── runs and what runs ───────────────────────────────────────────────────

    def status(self, pipeline: str = "") -> dict[str, Any]:
        try:
            digest, config = self._configurations.current()
        except ConfigError as error:
            problem, unknown = str(error), self.unknown_store()
            return {
                "pipelines": [],
                "config_error": problem,
                "config": "",
                "origin": None,
                "unknown_store": unknown,
                "replaced": self._operations.replaced(),
            }
        view = views.Views(
            self._store, self._settings, config, self._clock.now(), self._freezes, self._deciding
        )
        names = view.names()
        if pipeline and pipeline not in names:
            self._known(config, pipeline)
        found = [view.pipeline(name) for name in ([pipeline] if pipeline else names)]
        problem, messages = self._configurations.problem(), list(outages(self._store))
        return {
            "pipelines": found,
            "config_error": problem,
            "config": digest,
            "origin": self.origin(digest),
            "undelivered": messages,
            "costs": caps.warnings(self._store, config),
            "unknown_store": self.unknown_store(),
            "replaced": self._operations.replaced(),
        }

    def unknown_store(self) -> str:
        """What is wrong and what to do if the store has no records although the installation is not new; else ""."""
        origin = self._store.origin
        return "" if origin.known() else str(origin.beside().error())

    def runs(self, pipeline: str = "", limit: int = 50) -> list[dict[str, Any]]:
        """The newest ``limit``, then the older ones that have not ended. Raises NotFound for a pipeline of which
        nothing is known."""
        if pipeline and pipeline not in self._store.pipelines():
            self._known(self._config(), pipeline)
        names = [pipeline] if pipeline else self._store.pipelines()
        found = {run.id: run for name in names for run in self._store.recent(name, limit)}
        for name in names:
            with suppress(DamagedRecord):  # the newest are shown all the same
                found |= {run.id: run for run in self._store.open_runs(name)}
        ordered = sorted(found.values(), key=lambda run: run.accepted, reverse=True)
        shown = [*ordered[:limit], *(run for run in ordered[limit:] if run.state != State.ENDED)]
        return [views.summary(run, self._clock.now()) for run in shown]

    def run(self, pipeline: str, number: int) -> Run:
        return self._store.run(pipeline, number)

    def show(self, pipeline: str, number: int | None) -> dict[str, Any]:
        """One run with its timing and release; ``None``: the latest."""
        if number is None:
            number = next((run.number for run in self._store.recent(pipeline, 1)), 0)
            if not number:
                self._known(self._config(), pipeline)
                raise NotFound(f"{pipeline} has no run yet.", advice="The first push makes one.")
        run = self._store.run(pipeline, number)
        config = self._configurations.by_hash(run.config)
        shown = views.show(self._store, config, run, self._clock.now(), self._freezes.look(), self._deciding)
        digest, origin = self._configurations.made_with(run)
        made_with = {"config": digest, "origin": codec.plain(origin) if origin else None}
        return {**shown, "configuration": made_with}

    def origin(self, digest: str) -> dict[str, Any] | None:
        """The commit that a configuration came from; None for one that was in a file, or was sent."""
        found = self._configurations.origin(digest) if digest else None
        return codec.plain(found) if found else None

    def follow(
        self, pipeline: str, number: int, after: str = "0", idle: float = 10.0
    ) -> Iterator[tuple[str, Event] | None]:
        """Event ids and events as they happen; None after ``idle`` seconds without one. Ends with the run, or when the
        run waits for a person or the end of a freeze."""
        run = self._store.run(pipeline, number)
        while True:
            # The state first: events from before it are then certain to be read.
            run = self._store.run(pipeline, number)
            over = run.state in (State.ENDED, State.WAITING)
            found = self._store.events.read(run.id, after, 0 if over else min(idle, 1.0))
            for after, event in found:
                yield after, event
            if over and not found:
                return
            if not found:
                yield None

    def log(self, pipeline: str, number: int, stage: str = "") -> Iterator[str]:
        """The stored lines, or those of one stage. Raises NotFound if the run has no such stage."""
        run = self._store.run(pipeline, number)
        if stage and stage not in run.stages:
            raise NotFound(f"{run.id} has no stage {stage!r}.", advice=f"It has: {', '.join(run.stages)}.")
        log = file.path(self._settings.data, pipeline, number)
        if run.started and run.ended and not file.is_kept(log):
            raise NotFound(
                f"the log of {run.id} is not kept any more (PUSHLIVE_LOGS_KEEP, PUSHLIVE_LOGS_SIZE).",
                advice=f"`pushlive show '{run.id}'` has its steps, times and checks.",
            )
        return file.read(log, stage)

    def output(self, pipeline: str, *, environment: str = "", lines: int = 200) -> tuple[str, ...]:
        """The application's last output in that environment (default: the last one), each slot under a heading: the
        slot that serves comes last, after a failed one that is still kept."""
        _, name = self._environment_name(pipeline, environment)
        found = self._store.environment(pipeline, name)
        if found is None or not found.slots:
            raise NotFound(f"nothing runs in {pipeline}/{name}.", advice="Push first.")
        mask, unread = self._vault.mask(pipeline)
        said: list[str] = [f"! cannot read the secret {name}, so it is not masked here" for name in unread]
        for slot, record in sorted(found.slots.items(), key=lambda item: item[0] == found.active):
            said.append(f"── {name} r{record.release} ({slot}, {record.state})")
            printed = self._operations.output(slots.slot_ref(found, slot), lines)
            said += mask.lines(
                printed or failed_slot.kept_output(self._store.facts, found, slot, record)[-lines:]
            )
        return tuple(said)

    def cron(self, pipeline: str, *, environment: str = "") -> list[dict[str, Any]]:
        """The processes with a schedule in that environment (default: in each), with their last runs."""
        self._recorded_name(pipeline, environment)  # raises NotFound
        records, rows = self._store.environments(pipeline), list[dict[str, Any]]()
        for name in [environment] if environment else sorted(records, key=lambda one: records[one].index):
            found = records.get(name)
            served = found.serving if found else None
            release = self._store.release(pipeline, served) if served is not None else None
            rows += scheduled(self._store, found, release, self._clock.now())
        return rows

    def timings(self, pipeline: str, *, seconds: float) -> dict[str, Any]:
        """How fast and how well it has been for so long. Raises NotFound for a pipeline of which nothing is known."""
        config = self._config()
        if pipeline not in self._store.pipelines():
            self._known(config, pipeline)
        now = self._clock.now()
        return timings.shown(self._store, config, pipeline, now - seconds, now)

    def cost(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> dict[str, Any]:
        """What a month has cost so far: see ``service.cost.costs``. Raises as ``report``."""
        return costs.shown(self._store, self._config_of(pipeline), pipeline, month, zone, self._clock.now())

    def cost_history(self, pipeline: str = "", *, months: int = 12, zone: str = "UTC") -> dict[str, Any]:
        """The last so many months: see ``service.cost.history``. Raises as ``report``."""
        config = self._config_of(pipeline)
        return history.history(self._store, config, pipeline, months, zone, self._clock.now())

    def cost_rows(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> Iterator[str]:
        """A month as lines of CSV: see ``domain.cost.focus``. Raises as ``report``, before the first line."""
        config, instance = self._config_of(pipeline), self._settings.instance
        return history.focus_rows(self._store, config, instance, pipeline, month, zone, self._clock.now())

    def _config_of(self, pipeline: str) -> Config:
        """That in force. Raises NotFound for a pipeline of which nothing is known; "" is all of them."""
        config = self._config()
        if pipeline and pipeline not in self._store.pipelines():
            self._known(config, pipeline)
        return config

    def parity(self, pipeline: str) -> dict[str, Any]:
        """Its environments side by side: see ``service.app.parity``. Raises NotFound for a pipeline that is not in
        pipelines.yaml."""
        config = self._config()
        self._known(config, pipeline)
        looked = [
            self._operations.look(config, pipeline, one) for one in config.pipelines[pipeline].environments
        ]
        return parity.shown(config, pipeline, looked, self._vault.mask(pipeline)[0].text)

    def capacity(self) -> dict[str, Any]:
        """What the machines have, what is used, and how much more fits: see ``service.capacity.capacity``."""
        return capacity.shown(self._store, self._settings, self._config(), self._clock.now())

    def report(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> dict[str, Any]:
        """A month of one pipeline, or of all: see ``service.app.report``. Raises NotFound for a pipeline of which
        nothing is known, and RequestError for a month or a zone that is none."""
        config = self._config_of(pipeline)
        names = (
            (pipeline,) if pipeline else tuple(dict.fromkeys([*config.pipelines, *self._store.pipelines()]))
        )
        return report.report(
            self._store,
            config,
            lambda name: self._vault.mask(name)[0],
            name=month,
            zone=zone,
            pipelines=names,
            now=self._clock.now(),
        )

    # ── secrets, tokens, counts, health ──────────────────────────────────────

    def secrets(self, pipeline: str) -> list[dict[str, Any]]:
        """Names, environments, newest versions, when and by whom."""
        found = self._vault.names(pipeline)
        if not found:
            self._given_secrets(pipeline)
        return found

    def secret(self, pipeline: str, name: str, environment: str = "") -> list[dict[str, Any]]:
        """Every kept version of one secret, newest first. Raises NotFound."""
        return self._vault.versions(pipeline, name, environment)

    def tokens(self) -> list[dict[str, Any]]:
        """Oldest first: name, role, created, expires and used (0: never), expired (true or false)."""
        now = self._clock.now()
        return [row | {"expired": 0 < row["expires"] <= now} for row in self._store.tokens.all()]

    def counts(self) -> dict[str, int]:
        return self._store.counts()

    def measurements(self) -> Measurements:
        """What one scrape of ``/metrics`` shows. Raises StoreUnavailable within a few seconds."""
        found = self._store.metrics.read()
        kept = Caps(self._store).kept()
        found.sums, found.currency = kept.sums, kept.currency
        found.backups = backup_figures.measured(self._store, self._configurations, self._clock.now())
        with suppress(DamagedRecord):  # the other figures are shown; `doctor` names the record
            look, now = self._freezes.look(), self._clock.now()
            for name, one in found.pipelines.items():
                one.frozen = {key: look.frozen(name, key, now) is not None for key in one.held}
        return found

    def healthy(self) -> bool:
        return self._store.healthy()

    # ── small helpers ────────────────────────────────────────────────────────

    def _config(self) -> Config:
        return self._configurations.current()[1]

    def _deciding(self, run: Run) -> tuple[Pipeline | None, ...]:
        """The run's pipeline in its own configuration and in the current one: the gates of both hold."""
        found: list[Pipeline | None] = []
        with suppress(ConfigError):
            found.append(self._configurations.by_hash(run.config).pipelines.get(run.pipeline))
        with suppress(ConfigError):
            found.append(self._configurations.current()[1].pipelines.get(run.pipeline))
        return tuple(found)

    def _known(self, config: Config, pipeline: str, file: str = "pipelines.yaml") -> Pipeline:
        if pipeline not in config.pipelines:
            one = self._store.previews.readable().get(pipeline) if is_preview(pipeline) else None
            if one and not one.alive:
                gone = "was removed" if one.state == PreviewState.CLOSED else "is being removed"
                raise NotFound(
                    f"the preview {pipeline} of {one.label} {gone}: {one.reason}.",
                    advice=f"`pushlive runs {pipeline}` shows its runs; another push to {one.branch} makes it again.",
                )
            known = ", ".join(config.pipelines) or "none yet"
            raise NotFound(f"there is no pipeline {pipeline!r} in {file}.", advice=f"It has: {known}.")
        return config.pipelines[pipeline]

    def _given_secrets(self, owner: str, environment: str = "") -> tuple[str, ...]:
        """The environments of that pipeline, or of that accessory. Raises NotFound if there is neither, or it has no
        such environment."""
        config = self._config()
        if is_preview(owner) or is_preview(environment):
            whose = owner if owner in config.accessories else pipeline_of(owner)
            raise NotFound(
                f"{owner} {environment}".strip() + " has no secrets of its own: previews share theirs.",
                advice=f"`pushlive secret set {whose} NAME --env {PREVIEWS}` sets one for previews.",
            )
        if owner not in config.accessories:
            own = self._known(config, owner)
            if environment != PREVIEWS or not own.previews:
                self._environment_name(owner, environment)
            return (*own.environments, *([PREVIEWS] if own.previews else []))
        names = tuple(dict.fromkeys(where for name, where in pairs(config) if name == owner))
        shared = (PREVIEWS,) if any(is_preview(one) for one in names) or _for_previews(config, owner) else ()
        names = (*(one for one in names if not is_preview(one)), *shared)
        if environment and environment not in names:
            raise NotFound(
                f"no pipeline uses {owner} in {environment[:40]!r}.",
                advice=f"It is used in: {', '.join(names) or 'no environment yet'}.",
            )
        return names

    def _environment_name(self, pipeline: str, environment: str) -> tuple[str, str]:
        """The configuration's hash and the environment's name; for "" the last one of the file. Raises NotFound."""
        digest, config = self._configurations.current()
        names = list(self._known(config, pipeline).environments)
        if environment and environment not in names:
            raise NotFound(
                f"{pipeline} has no environment {environment[:40]!r}.", advice=f"It has: {', '.join(names)}."
            )
        return digest, environment or names[-1]

    def _recorded_name(self, pipeline: str, environment: str) -> str:
        """The same for what may be done in an environment that is no longer in the file as well."""
        records = self._store.environments(pipeline)
        if environment in records:
            return environment
        if not environment and pipeline not in self._config().pipelines and len(records) == 1:
            return next(iter(records))
        return self._environment_name(pipeline, environment)[1]


def _for_previews(config: Config, accessory: str) -> bool:
    """Whether a preview of any pipeline would use it."""
    return any(
        accessory == use.accessory
        for one in config.pipelines.values()
        if one.previews
        for use in one.render(one.previews.from_).uses.values()
    )


def _carried(spec: SlotSpec) -> tuple[str, ...]:
    """Where others have set more replicas than are configured: how many the next release starts with."""
    wanted = spec.config.service.web_replicas
    if spec.replicas == wanted or spec.config.service.autoscaled:
        return ()
    return (
        f"replicas: {spec.replicas} were set there, and the next release starts with as many; {wanted} are configured",
    )
