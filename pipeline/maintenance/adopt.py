"""``pushlive adopt``: takes up what runs into a store that lost its records, at a person's request. Nothing is started,
stopped or rerouted; what cannot be taken up is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product

from pipeline.config.models import Config
from pipeline.deploy.build_stage import repository
from pipeline.domain import audit_chain
from pipeline.domain.adoption import (
    BY,
    FoundEnvironment,
    FoundSlot,
    Made,
    environment_of,
    runs_by_schedule_alone,
    spec_from,
    with_replicas,
)
from pipeline.domain.audit_chain import Who
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import Environment, Slot, SlotState
from pipeline.domain.release import Release
from pipeline.domain.secret_versions import EVERY, SecretRecord, Version
from pipeline.errors import PushliveError, RequestError
from pipeline.lib.units import is_number
from pipeline.maintenance.jobs import Jobs
from pipeline.maintenance.recognition import is_shared_with_others
from pipeline.maintenance.workload.adopted_accessories import AdoptAccessories
from pipeline.store import Transaction

NAMES_TRIED, NUMBERS_TRIED = 3, 16  # secrets of one slot, and versions of each: at most 4096 combinations


def adopt(jobs: Jobs, by: Who) -> tuple[str, ...]:
    """What was taken up, and what is lost. Idempotent until it is complete. Raises RequestError if the store knows its
    installation or something cannot be taken up as it is, TryAgain if an engine does not answer; nothing has changed
    then."""
    return _Adopt(jobs, by).run()


@dataclass
class _Pipeline:
    """What is written for one pipeline."""

    environments: list[Environment] = field(default_factory=list)
    releases: dict[int, Release] = field(default_factory=dict)
    secrets: dict[str, int] = field(default_factory=dict)  # the highest number of each that is in use
    run: int = 0  # the highest numbers that were found
    release: int = 0


class _Adopt:
    def __init__(self, jobs: Jobs, by: Who) -> None:
        self._by, self._services, self._adapters = by, jobs.services, jobs.adapters
        self._jobs, self._store, self._settings = jobs, jobs.services.store, jobs.services.settings
        self._now = jobs.adapters.clock.now()
        self._accessories = AdoptAccessories(jobs.services, jobs.adapters, by)
        self._config: Config = Config()

    def run(self) -> tuple[str, ...]:
        origin = self._store.origin
        if origin.known():
            raise RequestError(
                "the store knows this installation: there is nothing to adopt.",
                advice="`pushlive status` shows what it knows.",
            )
        _, self._config = self._services.configurations.current()
        origin.note(self._jobs.recognition.look())  # from now on records alone do not make the store known
        plans, accessories = self._plans(), self._accessories.survey()
        for name, plan in plans.items():
            self._store.transact(name, lambda tx, name=name, plan=plan: self._write(tx, name, plan))  # type: ignore[misc]
        audit = self._services.audit_head.begin_again(self._by, self._now)
        self._record(plans)
        said = [text for one in accessories for text in self._accessories.take(one, self._config)]
        origin.mark(tuple(plans))
        return (*self._taken(plans), *said, *self._lost(plans, audit))

    # ── what is there ────────────────────────────────────────────────────────

    def _survey(self) -> list[FoundEnvironment]:
        """Raises TryAgain if an engine does not answer: what runs there would be taken for nothing."""
        engines = self._adapters.engines
        every = (found for key in sorted(engines.in_use()) for found in engines.of(key).adoption.survey())
        return [one for one in every if not is_shared_with_others(self._config, one)]

    def _plans(self) -> dict[str, _Pipeline]:
        found = self._survey()
        names = sorted({one.pipeline for one in found} | set(self._config.pipelines))
        plans = {name: _Pipeline() for name in names}
        images = {name: self._images(name) for name in names}
        problems: list[str] = []
        for one in found:
            problems += self._take(one, plans[one.pipeline], images[one.pipeline])
        if problems:
            raise RequestError(
                f"nothing was adopted: {'; '.join(problems)}.",
                advice="Nothing has changed. Then run `pushlive adopt` again, or restore a backup.",
            )
        for name, plan in plans.items():
            plan.release = max([plan.release, *images[name].values()])
            plan.run = max([plan.run, *self._logged(name)])
        return plans

    def _images(self, pipeline: str) -> dict[str, int]:
        """The number of the newest release that each image on the build machine has as a tag."""
        found = self._adapters.builder.images(repository(self._settings.instance, pipeline))
        numbers = {
            digest: [int(tag[1:]) for tag in tags if re.fullmatch(r"r\d+", tag)]
            for digest, tags in found.items()
        }
        return {digest: max(found) for digest, found in numbers.items() if found}

    def _logged(self, pipeline: str) -> Iterator[int]:
        """The numbers of the runs whose logs are kept."""
        folder = self._settings.data / "logs" / pipeline
        names = (file.name.partition(".")[0] for file in folder.glob("*.log*"))
        yield from (int(name) for name in names if is_number(name))

    # ── what becomes of it ───────────────────────────────────────────────────

    def _take(self, found: FoundEnvironment, plan: _Pipeline, images: dict[str, int]) -> Iterator[str]:
        """Adds the environment to the plan; yields why it cannot be taken up."""
        specs = {one.ref.slot: spec for one in found.slots if (spec := self._spec(one))}
        for one in found.slots:
            plan.run, plan.release = max(plan.run, one.run), max(plan.release, one.release)
        if found.ambiguous:
            yield (
                f"two slots of {found.id} run, and the proxy's routes are lost, so nothing says which one serves: "
                "remove the containers of the other one (`docker rm -f`)"
            )
            return
        if found.active and found.active not in specs:
            yield (
                f"r{_in(found, found.active).release} serves {found.id}, but was made with another configuration: "
                "bring pipelines.yaml back to what it was when that release was deployed"
            )
            return
        for spec in specs.values():
            release = self._release(spec, plan.releases.get(spec.release), images)
            plan.releases[spec.release] = release
            for name, number in spec.secrets.items():
                plan.secrets[name] = max(plan.secrets.get(name, 0), number)
        environment = environment_of(found, specs, plan.releases, self._now, self._settings.failed_for)
        plan.environments.append(environment)

    def _spec(self, one: FoundSlot) -> SlotSpec | None:
        """The specification that leads to exactly these containers; None if none of the known ones does."""
        engine = self._adapters.engines.of(one.ref.engine)
        for made in self._candidates(one):
            spec = spec_from(one, made)
            if engine.adoption.spec_hash(spec, one.replica) == one.spec:
                return spec
        return None

    def _candidates(self, one: FoundSlot) -> Iterator[Made]:
        """What the containers remember; for those of an earlier version, what pipelines.yaml says now, with each number
        that its secrets may have had: only the right ones lead to the same hash."""
        if one.made:
            yield one.made
        pipeline = self._config.pipelines.get(one.ref.pipeline)
        if pipeline and one.ref.environment in pipeline.environments:
            config = with_replicas(pipeline.render(one.ref.environment), one.replicas)
            names = config.service.secrets
            count = len(names) if len(names) <= NAMES_TRIED else 0
            for numbers in product(range(1, NUMBERS_TRIED + 1), repeat=count):
                yield Made(config, one.image, one.remote, dict(zip(names, numbers, strict=False)))

    def _release(self, spec: SlotSpec, known: Release | None, images: dict[str, int]) -> Release:
        """The release that is in the slot, as far as its slots tell."""
        name, ref = repository(self._settings.instance, spec.ref.pipeline), spec.ref
        digest = next((digest for digest, number in images.items() if number == spec.release), "")
        release = known or Release(
            ref.pipeline, spec.release, spec.commit, spec.image or digest, f"{name}:r{spec.release}", spec.run,
            self._now, {}, self._message(ref.pipeline, spec.commit),
        )  # fmt: skip
        return replace(
            release,
            environments={**release.environments, ref.environment: spec.config},
            secrets={**release.secrets, **({ref.environment: spec.secrets} if spec.secrets else {})},
            remote=release.remote or spec.remote,
            form=spec.form,
        )

    def _message(self, pipeline: str, commit: str) -> str:
        """The commit's first line, if its repository is still there."""
        if pipeline not in self._config.pipelines:
            return ""
        with suppress(PushliveError):
            return self._adapters.source.commit(
                pipeline, self._config.pipelines[pipeline].source, commit
            ).message
        return ""

    # ── writing ──────────────────────────────────────────────────────────────

    def _write(self, tx: Transaction, name: str, plan: _Pipeline) -> None:
        for release in plan.releases.values():
            tx.put_release(release)
        for environment in plan.environments:
            tx.put_environment(environment)
            tx.put_index(environment)
        for secret, number in plan.secrets.items():
            tx.put_secret(_lost(secret, number, self._now))
        tx.count_from(runs=plan.run, releases=plan.release)
        if head := self._head(name):
            tx.put_head(*head)  # what is in the repository now is not deployed by itself

    def _head(self, name: str) -> tuple[str, str] | None:
        """The ref that is deployed and its commit, for a repository of the built-in server."""
        repository = self._config.repository_of(name) if name in self._config.pipelines else ""
        if not repository:
            return None
        branch = self._config.pipelines[name].source.branch
        commit = self._jobs.heads.repositories.heads(repository).get(branch)
        return (f"refs/heads/{branch}", commit) if commit else None

    def _record(self, plans: dict[str, _Pipeline]) -> None:
        for name, plan in plans.items():
            for one in plan.environments:
                entry = audit_chain.entry(
                    self._by,
                    "adopt",
                    self._now,
                    pipeline=name,
                    environment=one.name,
                    release=one.serving,
                    before="no record",
                    after=f"r{one.serving} serves" if one.serving is not None else "nothing serves",
                )
                self._store.audit.record(entry)

    # ── what is said ─────────────────────────────────────────────────────────

    def _taken(self, plans: dict[str, _Pipeline]) -> Iterator[str]:
        for name, plan in plans.items():
            for one in plan.environments:
                yield f"{one.id}: {_in_words(one)}{self._unknown(one)}"
                if one.hold:
                    yield f"{one.id} is held: {one.hold.reason}. Then `pushlive resume {name} --env {one.name}`"
            yield from self._behind(name, plan)

    def _unknown(self, one: Environment) -> str:
        """With schedules alone, the last run is kept and tells which release serves; there may have been none."""
        pipeline = self._config.pipelines.get(one.pipeline)
        if one.slots or pipeline is None or one.name not in pipeline.environments:
            return ""
        if not runs_by_schedule_alone(pipeline.render(one.name)):
            return ""
        return (
            f". It runs by schedules alone, and no run tells which release it was: `pushlive deploy {one.pipeline}` "
            "lets them run again"
        )

    def _behind(self, name: str, plan: _Pipeline) -> Iterator[str]:
        """The head of a repository that is not what serves."""
        head = self._head(name)
        last = [*self._config.pipelines[name].environments][-1] if head else ""
        serving = next((one.serving for one in plan.environments if one.name == last), None)
        commit = plan.releases[serving].commit if serving in plan.releases else ""
        if head and head[1] != commit:
            yield (
                f"{name}: {head[1][:7]}, the head of {head[0].removeprefix('refs/heads/')}, does not serve {last}; "
                f"`pushlive deploy {name}` deploys it"
            )

    def _lost(self, plans: dict[str, _Pipeline], audit: str) -> Iterator[str]:
        for name, plan in plans.items():
            if secrets := self._secrets(name, plan):
                yield (
                    f"{name} has lost its secrets: {', '.join(secrets)}. What runs keeps them; set each again with "
                    f"`pushlive secret set {name} NAME` before the next run"
                )
            if plan.run:
                yield (
                    f"{name} has lost its runs; the next one is #{plan.run + 1}, and the logs of the old ones are in "
                    f"{self._settings.data / 'logs' / name}"
                )
        yield "All tokens are lost. A new first one is in <data>/token; `pushlive token create NAME` makes the others"
        yield "Holds, quarantines, freezes by hand and undelivered notifications are lost, except those named above"
        yield audit

    def _secrets(self, name: str, plan: _Pipeline) -> list[str]:
        """Those that a slot has, and those that pipelines.yaml names."""
        found = set(plan.secrets)
        pipeline = self._config.pipelines.get(name)
        for environment in pipeline.environments if pipeline else ():
            found |= set(pipeline.render(environment).service.all_secrets) if pipeline else set()
        if pipeline and pipeline.registry and pipeline.registry.password:
            found.add(pipeline.registry.password)
        return sorted(found)


def _in(found: FoundEnvironment, slot: Slot) -> FoundSlot:
    return next(one for one in found.slots if one.ref.slot == slot)


def _lost(name: str, number: int, now: float) -> SecretRecord:
    """The secret without its value: its number is never given to another one."""
    version = Version(number, EVERY, now, BY, revoked=now, revoked_by=BY)
    return SecretRecord(name, number, (version,))


def _in_words(one: Environment) -> str:
    states = {SlotState.SERVING: "serves", SlotState.WARM: "is warm", SlotState.FAILED: "is kept for a while"}
    found: Iterable[str] = (
        f"r{record.release} ({slot}) {states[record.state]}" for slot, record in sorted(one.slots.items())
    )
    return ", ".join(found) or "it is empty"
