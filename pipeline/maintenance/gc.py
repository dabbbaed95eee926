"""``pushlive gc``: removes what nothing needs any more, at a person's request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from pipeline.config.engines import DOCKER, kind_of
from pipeline.deploy import engine_addresses, hosts
from pipeline.deploy.data.engines import remember
from pipeline.deploy.heartbeat import HeldLease, holding
from pipeline.deploy.slot import facts
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment
from pipeline.domain.events import Said
from pipeline.domain.run import Run, State
from pipeline.errors import DamagedRecord, EngineFailed, PushliveError, StoreUnavailable, TryAgain
from pipeline.lib.retry import poll
from pipeline.maintenance.jobs import Jobs
from pipeline.store import Lease, Transaction

LEASE_TIMEOUT = 5.0  # seconds


def gc(jobs: Jobs, serving: frozenset[str] | None = None) -> tuple[Said, ...]:
    """Old images, containers without a record, and environments that are no longer in pipelines.yaml: what was done,
    and what could not be done. ``serving``: which environments it may remove although they still serve, such as
    ``hello/live``; None: all."""
    return Gc(jobs, serving).run()


class Gc:
    def __init__(self, jobs: Jobs, serving: frozenset[str] | None = None) -> None:
        self._may_end = serving
        self._jobs, self._services, self._adapters = jobs, jobs.services, jobs.adapters
        self._store = jobs.services.store
        self._away: set[str] = set()  # engines that do not answer, once that was said

    def run(self) -> tuple[Said, ...]:
        """Raises StoreUnavailable. Anything else that goes wrong is said, and stops only the part it is in."""
        _, config = self._services.configurations.current()
        environments, unread = self._environments()
        said = [Said(text, left=True) for text in unread.values()]
        said += self._what_builds_left()
        said += self._strangers(environments, frozenset(unread))
        previews = self._store.previews.all()  # the keeper removes them, with their data
        for environment in environments:
            if environment.pipeline in previews:
                continue
            pipeline = config.pipelines.get(environment.pipeline)
            if pipeline is None or environment.name not in pipeline.environments:
                said.append(self._remove(environment))
        return tuple(said) or (Said("Nothing to clean up."), *self._cache_size())

    def _environments(self) -> tuple[list[Environment], dict[str, str]]:
        """Every recorded environment, and what is wrong in each pipeline whose records cannot be read."""
        found: list[Environment] = []
        unread: dict[str, str] = {}
        for pipeline in self._store.pipelines():
            try:
                found += self._store.environments(pipeline).values()
            except DamagedRecord as error:
                unread[pipeline] = f"{pipeline} was left as it is: {error}"
        return found, unread

    def _what_builds_left(self) -> list[Said]:
        """If Docker does not answer, that is said once for everything there."""
        try:
            images = self._part(self._jobs.image_gc.remove, "old images were not removed")
            return images + self._part(self._jobs.build_cache.trim, "the build cache was left as it is")
        except StoreUnavailable:
            raise
        except TryAgain as error:
            self._away.add(DOCKER)
            used = DOCKER in self._adapters.engines.in_use()
            what = "old images, the build cache and containers without a record"
            what = what if used else "old images and the build cache"
            return [Said(f"{what} were left as they are: {error}", left=used)]

    def _part(self, work: Callable[[], Iterable[str]], otherwise: str) -> list[Said]:
        """Raises TryAgain."""
        try:
            return [Said(text) for text in work()]
        except TryAgain:
            raise
        except PushliveError as error:
            return [Said(f"{otherwise}: {error}", left=True)]

    def _cache_size(self) -> list[Said]:
        try:
            return [Said(text) for text in [self._jobs.build_cache.size()] if text]
        except (EngineFailed, TryAgain):
            return []  # it was said why

    # ── environments without a record ────────────────────────────────────────

    def _strangers(self, environments: list[Environment], unread: frozenset[str]) -> list[Said]:
        """What there is of this installation in environments that have no record. Only `gc` removes it: after the loss
        of a store, what still serves must not be taken down. ``unread``: pipelines whose records may well name them."""
        known = {(e.pipeline, e.name) for e in environments}
        said: list[Said] = []
        for key in sorted(set(self._adapters.engines.in_use()) - self._away):
            try:
                for ref in tuple(self._adapters.engines.of(key).slots.environments()):
                    if ref.pipeline not in unread and (ref.pipeline, ref.environment) not in known:
                        said.append(self._remove_stranger(ref))
            except StoreUnavailable:
                raise
            except PushliveError as error:
                said.append(
                    Said(f"containers without a record on {key} were not looked for: {error}", left=True)
                )
        return said

    def _remove_stranger(self, ref: SlotRef) -> Said:
        """Raises TryAgain."""
        name = f"{ref.pipeline}/{ref.environment}"
        if command := kind_of(ref.engine).cleanup_command:
            # A machine belongs to one installation, a namespace may belong to several.
            command = command.format(pipeline=ref.pipeline, environment=ref.environment)
            return Said(
                f"{name} on {ref.engine} has no record here and was left. If no other installation uses it: `{command}`"
            )
        engine = self._adapters.engines.of(ref.engine)
        try:
            if self._asks(name) and engine.traffic.serving(ref) is not None:
                return _still_serves(name, f"{name} has no record here")
            rest = engine.slots.remove(ref)
        except TryAgain:
            raise
        except PushliveError as error:
            return Said(f"{name} has no record, but was not removed: {error}", left=True)
        if rest:
            return Said(
                f"{name} has no record; its containers were removed, but {rest}, then `pushlive gc`", True
            )
        return Said(f"{name} has no record; its containers were removed")

    def _asks(self, name: str) -> bool:
        """True if a person has to say first that this environment may be removed while it serves."""
        return self._may_end is not None and name not in self._may_end

    # ── environments that are not configured any more ────────────────────────

    def _remove(self, environment: Environment) -> Said:
        why = f"{environment.id} is no longer in pipelines.yaml"
        try:
            return self._remove_under_lease(environment, why)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return Said(f"{why}, but was not removed: {error}", left=True)

    def _remove_under_lease(self, environment: Environment, why: str) -> Said:
        """Under its lease: else reconciliation would start again what was removed."""
        if run := self._awaited(environment):
            return Said(f"{why}, but {_on_its_way(run)}", left=True)
        if waiting := self._hosts_left(environment):
            return Said(f"{why}, but {waiting}", left=True)
        if self._asks(environment.id) and (environment.active or environment.switching):
            return _still_serves(environment.id, why)
        lease = self._lease_of(environment)
        if lease is None:
            return Said(f"{why}, but a run is at work there", left=True)
        with holding(self._store, lease) as held:
            rest, note = self._leave_engine(environment, held)
            if rest:  # the index stays with it, so that no other environment gets its addresses
                self._empty(environment, held)
                return Said(
                    f"{why}; its containers and routes were removed, but {rest}, then `pushlive gc`", True
                )
            left = self._keep_data_in_mind(environment)
            held.insist()
            self._store.forget_environment(environment.pipeline, environment.name, facts.names(environment))
        return Said(f"{why} and was removed{note}{left}")

    def _keep_data_in_mind(self, environment: Environment) -> str:
        """Its volumes stay, on an engine that nothing may name from now on. A note about them, "" if it has none."""
        try:
            found = [one.ref for one in self._adapters.engines.of(environment.engine).volumes.volumes()]
        except PushliveError:
            found = []
        if not any(
            ref.owner == environment.pipeline and ref.environment == environment.name for ref in found
        ):
            return ""
        remember(self._store, environment.engine)
        return "; its volumes stay, see `pushlive volume list`"

    def _leave_engine(self, environment: Environment, lease: HeldLease) -> tuple[str, str]:
        """Removes it from its engine: what had to stay there, and a note. If nothing ever ran there, an engine that
        does not exist is no reason to ask for it for ever. Raises what the engine raises."""
        ref = slots.slot_ref(environment, environment.active or "blue")
        try:
            engine = lease.fenced(self._adapters.engines.of(environment.engine))
            return engine.slots.remove(ref), ""
        except StoreUnavailable:
            raise
        except PushliveError as error:
            if engine_addresses.never_used(environment):
                text = f"; nothing ever ran there, and {environment.engine} was not asked to remove anything: {error}"
                return "", text
            if not isinstance(error, TryAgain) and not self._serves(ref):
                self._empty(environment, lease)
            raise

    def _serves(self, ref: SlotRef) -> bool:
        """False if a removal that failed has taken it out of service, so that it must not be started again."""
        engine = self._adapters.engines.of(ref.engine)
        try:
            return engine.traffic.serving(ref) is not None and bool(engine.slots.replicas(ref))
        except PushliveError:
            return True  # nothing is known

    def _empty(self, environment: Environment, lease: Lease) -> None:
        """From now on nothing should run there: the keeper clears what is left."""

        def act(transaction: Transaction) -> None:
            found = transaction.environment(environment.name)
            transaction.put_environment(replace(found, active=None, switching=None, slots={}))

        self._store.transact(environment.pipeline, act, fence=lease)

    def _hosts_left(self, environment: Environment) -> str:
        """Which host name it still serves, because the environment that has it in the file does not yet; "" if none."""
        config = self._services.configurations.current()[1]
        for host, pipeline, name, old in hosts.moving(self._store, config):
            if old == environment.id:
                deploy = f"`pushlive deploy {pipeline}`"
                return f"{host} leads there until {pipeline}/{name} serves: {deploy}, then `pushlive gc`"
        return ""

    def _awaited(self, environment: Environment) -> Run | None:
        """A run that has not ended and goes or went through it, one that waits for a person before others."""
        open_runs = self._store.open_runs(environment.pipeline)
        there = [run for run in open_runs if environment.name in run.stages]
        return max(there, key=lambda run: run.state == State.WAITING, default=None)

    def _lease_of(self, environment: Environment) -> Lease | None:
        """Waits as long as a round of reconciliation may take; a run takes longer."""
        return poll(
            lambda: self._store.leases.take(f"env:{environment.id}", "gc"),
            0.1,
            self._adapters.clock,
            timeout=LEASE_TIMEOUT,
        )


def _still_serves(name: str, why: str) -> Said:
    text = f"{why}, but it still serves and was left; `pushlive gc --yes` removes it"
    return Said(text, left=True, serving=name)


def _on_its_way(run: Run) -> str:
    if run.state != State.WAITING:
        return f"{run.id} has not ended yet; then run `pushlive gc` again"
    return (
        f"{run.id} waits before {run.gate}; to give it up: `pushlive cancel '{run.id}'`, then `pushlive gc`"
    )
