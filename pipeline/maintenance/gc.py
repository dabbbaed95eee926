"""``pushlive gc``: removes what nothing needs any more, at a person's request."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.engines import kind_of
from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import Environment
from pipeline.errors import TryAgain
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
        _, config = self._services.configurations.current()
        said = self._jobs.image_gc.run() + self._strangers()
        for environment in tuple(self._environments()):
            pipeline = config.pipelines.get(environment.pipeline)
            if pipeline is None or environment.name not in pipeline.environments:
                try:
                    said.append(self._remove(environment))
                except TryAgain as error:
                    said.append(
                        f"{environment.id} is no longer in pipelines.yaml, but was not removed: {error}"
                    )
        return tuple(said) or ("Nothing to clean up.",)

    def _environments(self) -> Iterator[Environment]:
        for pipeline in self._store.pipelines():
            yield from self._store.environments(pipeline).values()

    # ── environments without a record ────────────────────────────────────────

    def _strangers(self) -> list[str]:
        """Our containers in environments that have no record. Only `gc` removes them: after the loss of a store,
        what still serves must not be taken down."""
        known = {(e.pipeline, e.name) for e in self._environments()}
        engines = self._adapters.engines
        try:
            found = (ref for key in engines.in_use() for ref in engines.of(key).slots.slots())
            strangers = [ref for ref in found if (ref.pipeline, ref.environment) not in known]
        except TryAgain as error:
            return [f"containers without a record were not looked for: {error}"]
        return [self._remove_stranger(ref) for ref in strangers]

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
        """Removes the environment under its lease: else reconciliation would start again what was removed."""
        lease = None if self._awaited(environment) else self._lease_of(environment)
        if lease is None:
            return f"{environment.id} is no longer in pipelines.yaml, but a run is at work there"
        with LeaseHeartbeat(self._store) as heartbeat:
            heartbeat.hold(lease)
            ref = slots.slot_ref(environment, environment.active or "blue")
            self._adapters.engines.of(environment.engine).slots.remove(ref)
            self._store.forget_environment(environment.pipeline, environment.name)
        return f"{environment.id} is no longer in pipelines.yaml and was removed"

    def _awaited(self, environment: Environment) -> bool:
        """True while a run that has not ended goes there."""
        return any(environment.name in run.stages for run in self._store.open_runs(environment.pipeline))

    def _lease_of(self, environment: Environment) -> Lease | None:
        """Waits as long as a round of reconciliation may take; a run takes longer."""
        return poll(
            lambda: self._store.leases.take(f"env:{environment.id}", "gc"),
            0.1,
            self._adapters.clock,
            timeout=LEASE_TIMEOUT,
        )
