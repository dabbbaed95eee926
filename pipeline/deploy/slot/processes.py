"""The processes beside the web one: they belong to the slot that serves, and follow it at every switch.

The old release's are ended before the new one's start, so that no queue has two kinds of workers and no scheduler runs
twice. What a crash leaves is repaired by the next worker of the run or by the keeper: the store says which slot serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from pipeline.deploy import accessories
from pipeline.deploy.environment_record import EnvironmentRecord
from pipeline.deploy.run_context import RunContext
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import SLOTS, Environment, Slot, other
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.ports.engine import Engine
from pipeline.secrets.vault import Vault

MARGIN = 60.0  # seconds, on top of what ending and starting may take by themselves


class ProcessHandover:
    """For one rollout. ``acting``: the engine, for a change on it; raises LeaseLost unless this worker still has the
    run."""

    def __init__(
        self, context: RunContext, acting: Callable[[], Engine], record: EnvironmentRecord, vault: Vault
    ) -> None:
        self._context, self._acting, self._record, self._vault = context, acting, record, vault

    def go(self, spec: SlotSpec) -> None:
        """The step ``processes``, after the switch: those of the other slot end, then those of ``spec`` start. Raises
        AppFailed if one of them does not stay up."""
        name, wanted = self._record.name, spec.config.service.processes_in_use
        if self._context.run.passed(name, "processes"):
            return
        before = replace(spec.ref, slot=other(spec.ref.slot))
        running = [one for one in self._acting().processes.processes(spec.ref) if one.works]
        if not wanted and not running:
            return
        environment = self._record.known
        advice = "`stop`, `settle` and `ready` in pipelines.yaml limit how long processes take."
        with self._context.step(name, "processes", self._limit(environment, spec), advice) as step:
            self._acting().processes.stop_processes(before)
            whole = self._whole(environment, spec)
            self._acting().processes.start_processes(whole, step.watch)
            self._acting().processes.processes_ready(whole, self._context.emitter(name), step.watch)
            step.detail = ", ".join(_counted(key, one.replicas) for key, one in wanted.items()) or "ended"

    def back(self) -> None:
        """After a failure the traffic is back on the old slot: its processes run again, and the failed one's do not.
        What is not possible now is done by the keeper."""
        environment = self._record.read()
        if not environment.active or environment.interrupt:
            return
        spec = self._whole(environment, self._spec(environment, environment.active))
        ports = self._acting().processes
        try:
            if any(one.works for one in ports.processes(spec.ref)) or spec.config.service.processes_in_use:
                ports.restore_processes(spec)
                if wanted := spec.config.service.processes_in_use:
                    names = ", ".join(_counted(key, one.replicas) for key, one in wanted.items())
                    self._context.note(
                        f"the processes of r{spec.release} run again: {names}", environment.name
                    )
        except StoreUnavailable:
            raise
        except PushliveError as error:
            text = f"the processes of r{spec.release} do not run again yet ({error.message}); "
            self._context.note(f"{text}the service starts them within seconds", environment.name, "warning")

    def _spec(self, environment: Environment, slot: Slot) -> SlotSpec:
        record = environment.slots[slot]
        release = self._context.store.release(environment.pipeline, record.release)
        return slots.spec_of(slots.slot_ref(environment, slot), release, record.run, record.secrets)

    def _whole(self, environment: Environment, spec: SlotSpec) -> SlotSpec:
        """With the secrets that its slot was given, also for a worker that took the run over after the switch."""
        ref, versions = spec.ref, environment.slots[spec.ref.slot].secrets
        plain = partial(self._vault.reveal, ref.pipeline, ref.environment, versions)
        reveal = accessories.revealing(plain, self._context.store, self._vault, ref, spec.config)
        login = partial(self._vault.login, ref.pipeline, spec.config.registry)
        return replace(spec, secrets=versions, reveal=reveal, login=login)

    def _limit(self, environment: Environment, spec: SlotSpec) -> float:
        """Seconds: the longest of the old ones' ``stop``, and the longest of the new ones' ``settle`` or ``ready``."""
        before = environment.slots.get(other(spec.ref.slot))
        old = self._spec(environment, other(spec.ref.slot)).config.service.processes if before else {}
        new, ready = spec.config.service.processes_in_use.values(), spec.config.service.ready
        stops = [one.stop for one in old.values()]
        starts = [ready if one.ready else one.settle for one in new]
        return MARGIN + max(stops, default=0.0) + max(starts, default=0.0)


@dataclass(frozen=True)
class ProcessDrift:
    """As a ``reconciler.Difference``."""

    found: str
    repaired: str
    repair: Callable[[], None]


def drift(engine: Engine, environment: Environment, serving: SlotSpec | None) -> Iterator[ProcessDrift]:
    """Processes that run although their slot does not serve, and those of what serves that do not run."""
    ports, ref = engine.processes, slots.slot_ref(environment, SLOTS[0])
    running = [one for one in ports.processes(ref) if one.works]
    for slot in SLOTS:
        names = [one.name for one in running if one.slot == slot]
        if names and slot != environment.active:
            yield ProcessDrift(
                f"{slot} does not serve, but {', '.join(names)} runs",
                f"{slot} does not serve, but {', '.join(names)} ran; it was stopped",
                partial(ports.stop_processes, replace(ref, slot=slot)),
            )
    if serving and (missing := ports.missing_processes(serving)):
        what = f"{serving.ref.slot} (r{serving.release})"
        yield ProcessDrift(
            f"processes of {what} should run, but {'; '.join(missing)}",
            f"processes of {what} did not run and were started: {'; '.join(missing)}",
            partial(ports.restore_processes, serving),
        )


def _counted(name: str, replicas: int) -> str:
    return name if replicas == 1 else f"{replicas} × {name}"
