"""``pushlive gc``: removes what nothing needs any more, at a person's request."""

from __future__ import annotations

from pipeline.config.engines import kind_of
from pipeline.deploy import engine_addresses
from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment
from pipeline.domain.run import Run, State
from pipeline.errors import DamagedRecord, PushliveError, StoreUnavailable
from pipeline.lib.retry import poll
from pipeline.maintenance.jobs import Jobs
from pipeline.store import Lease

LEASE_TIMEOUT = 5.0  # seconds


def gc(jobs: Jobs) -> tuple[str, ...]:
    """Old images, containers without a record, and environments that are no longer in pipelines.yaml; what was done."""
    return Gc(jobs).run()


class Gc:
    def __init__(self, jobs: Jobs) -> None:
        self._jobs, self._services, self._adapters = jobs, jobs.services, jobs.adapters
        self._store = jobs.services.store

    def run(self) -> tuple[str, ...]:
        """Raises StoreUnavailable. Anything else that goes wrong is said, and stops only the part it is in."""
        _, config = self._services.configurations.current()
        environments, unread = self._environments()
        said = [*unread.values(), *self._images(), *self._strangers(environments, frozenset(unread))]
        for environment in environments:
            pipeline = config.pipelines.get(environment.pipeline)
            if pipeline is None or environment.name not in pipeline.environments:
                said.append(self._remove(environment))
        return tuple(said) or ("Nothing to clean up.",)

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

    def _images(self) -> list[str]:
        try:
            return self._jobs.image_gc.run()
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return [f"old images were not removed: {error}"]

    # ── environments without a record ────────────────────────────────────────

    def _strangers(self, environments: list[Environment], unread: frozenset[str]) -> list[str]:
        """Our containers in environments that have no record. Only `gc` removes them: after the loss of a store,
        what still serves must not be taken down. ``unread``: pipelines whose records may well name them."""
        known = {(e.pipeline, e.name) for e in environments}
        said: list[str] = []
        for key in self._adapters.engines.in_use():
            try:
                for ref in tuple(self._adapters.engines.of(key).slots.slots()):
                    if ref.pipeline not in unread and (ref.pipeline, ref.environment) not in known:
                        said.append(self._remove_stranger(ref))
            except StoreUnavailable:
                raise
            except PushliveError as error:
                said.append(f"containers without a record on {key} were not looked for: {error}")
        return said

    def _remove_stranger(self, ref: SlotRef) -> str:
        name = f"{ref.pipeline}/{ref.environment}"
        if command := kind_of(ref.engine).cleanup_command:
            # A machine belongs to one installation, a namespace may belong to several.
            command = command.format(pipeline=ref.pipeline, environment=ref.environment)
            return (
                f"{name} ({ref.slot}) on {ref.engine} has no record here and was left. If no other installation uses "
                f"it: `{command}`"
            )
        self._adapters.engines.of(ref.engine).slots.remove(ref)
        return f"{name} has no record; its {ref.slot} containers were removed"

    # ── environments that are not configured any more ────────────────────────

    def _remove(self, environment: Environment) -> str:
        try:
            return self._remove_under_lease(environment)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return f"{environment.id} is no longer in pipelines.yaml, but was not removed: {error}"

    def _remove_under_lease(self, environment: Environment) -> str:
        """Under its lease: else reconciliation would start again what was removed."""
        if run := self._awaited(environment):
            return f"{environment.id} is no longer in pipelines.yaml, but {_on_its_way(run)}"
        lease = self._lease_of(environment)
        if lease is None:
            return f"{environment.id} is no longer in pipelines.yaml, but a run is at work there"
        with LeaseHeartbeat(self._store) as heartbeat:
            heartbeat.hold(lease)
            left = self._leave_engine(environment)
            self._store.forget_environment(environment.pipeline, environment.name)
        return f"{environment.id} is no longer in pipelines.yaml and was removed{left}"

    def _leave_engine(self, environment: Environment) -> str:
        """Removes it from its engine. If nothing ever ran there, an engine that does not exist is no reason to ask for
        it for ever: what was not done is returned. Raises what the engine raises."""
        try:
            ref = slots.slot_ref(environment, environment.active or "blue")
            self._adapters.engines.of(environment.engine).slots.remove(ref)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            if not engine_addresses.never_used(environment):
                raise
            return f"; nothing ever ran there, and {environment.engine} was not asked to remove anything: {error}"
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


def _on_its_way(run: Run) -> str:
    if run.state != State.WAITING:
        return f"{run.id} has not ended yet; then run `pushlive gc` again"
    return (
        f"{run.id} waits before {run.gate}; to give it up: `pushlive cancel '{run.id}'`, then `pushlive gc`"
    )
