"""The step ``start``: a release comes up in its slot, with as many replicas as what serves has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.config.engines import kind_of
from pipeline.deploy.deadline import Within
from pipeline.deploy.environment_record import EnvironmentRecord
from pipeline.deploy.run_context import RunContext
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import SlotState
from pipeline.domain.run import Kind
from pipeline.errors import AppFailed, DoesNotFit, EngineFailed, TimedOut
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engine

SLOW_STOP = 4.0  # seconds after which a start reports what it waited for
GROWS_WITHIN = 30.0  # seconds that a slot which runs already, as for a warm revert, gets for more replicas


class SlotStart:
    """One release in one slot of one environment. ``acting``: the engine, for a change on it; raises LeaseLost unless
    this worker still has the run. ``fit``: ``Room.fit``."""

    def __init__(
        self,
        context: RunContext,
        engine: Engine,
        acting: Callable[[], Engine],
        record: EnvironmentRecord,
        fit: Callable[[SlotSpec, Watch], None],
    ) -> None:
        self._context, self._record, self._fit = context, record, fit
        self._engine, self._acting = engine, acting
        self._tried = 0  # replicas that the slot was to have already, whether or not it got them
        self._refused = False  # it did not get them

    def go(self, spec: SlotSpec, watch: Watch) -> tuple[SlotSpec, bool]:
        """Returns the spec with the replicas that are ready, and whether the slot was warm. Raises what the engine
        raises."""
        wanted, warm = self._carried(spec), self._take(spec)
        self._tried = wanted.replicas
        if warm:
            runs = replace(spec, at_least=self._scaled(spec))
            grown = self._grown(runs, wanted, watch)
            return grown or self._filled(runs, watch), True
        if wanted.replicas > spec.replicas:
            more = "" if self._others(spec) else f"; {spec.replicas} are configured"
            self._note(f"starts with {wanted.replicas} replicas, as many as what serves has{more}")
        try:
            self._fit(wanted, watch)
            return self._filled(wanted, watch), False
        except DoesNotFit as error:
            if wanted.replicas == spec.replicas or self._must_have_all(spec):
                raise
            self._note(f"{error.message} It starts with {spec.replicas} replicas", "warning")
        self._fit(spec, watch)
        return self._filled(spec, watch), False

    def grow(self, spec: SlotSpec, watch: Watch) -> SlotSpec:
        """What serves may have been scaled since the slot was started. Returns the spec with the replicas that are
        ready now."""
        wanted = self._carried(spec)
        if self._others(spec) and not self._refused:  # an autoscaler may have reduced it meanwhile
            return self._grown(replace(spec, at_least=self._scaled(spec)), wanted, watch) or spec
        return spec if wanted.replicas <= self._tried else self._grown(spec, wanted, watch) or spec

    def _grown(self, runs: SlotSpec, wanted: SlotSpec, watch: Watch) -> SlotSpec | None:
        """The slot with more replicas; None if it has enough, or cannot have more: it goes on with those it has."""
        if wanted.replicas <= runs.replicas:
            return None
        self._note(f"gets {wanted.replicas} replicas, as many as what serves has")
        try:
            self._fit(wanted, watch)
            return self._filled(
                wanted, Within(watch, self._context.clock, GROWS_WITHIN, "Starting more replicas")
            )
        except (AppFailed, EngineFailed, TimedOut) as error:
            watch.check()
            self._refused = True
            self._note(f"{error.message} It goes on with {runs.replicas} replicas", "warning")
        return self._filled(runs, watch)

    def _filled(self, spec: SlotSpec, watch: Watch) -> SlotSpec:
        self._drain(spec, watch)
        began = self._context.clock.monotonic()
        self._acting().slots.start(spec, watch)
        took = self._context.clock.monotonic() - began
        if took > SLOW_STOP:
            text = f"stopping what ran in {spec.ref.slot} before took {took:.0f} s; does it ignore SIGTERM? "
            self._note(text + "`stop` in pipelines.yaml limits it")
        self._engine.slots.ready(spec, self._context.emitter(spec.ref.environment), watch)
        return spec

    def _carried(self, spec: SlotSpec) -> SlotSpec:
        """The spec with at least as many replicas as what serves has beyond its configuration."""
        environment = self._record.known
        if not spec.web or environment.active is None or environment.active == spec.ref.slot:
            return spec
        serving = slots.slot_ref(environment, environment.active)
        now = self._scaled(replace(spec, ref=serving))
        if not now:
            return spec
        record = environment.slots[environment.active]
        release = self._context.store.release(environment.pipeline, record.release)
        before = release.environments[environment.name].service
        at_least = slots.carried(before, now, self._context.run.kind, spec.config.service)
        return replace(spec, at_least=at_least)

    def _others(self, spec: SlotSpec) -> bool:
        return spec.config.service.autoscaled

    def _must_have_all(self, spec: SlotSpec) -> bool:
        """True if fewer replicas than serve now are no configuration's wish. A revert takes what it gets."""
        return self._others(spec) and self._context.run.kind != Kind.REVERT

    def _scaled(self, spec: SlotSpec) -> int:
        return self._engine.slots.scaled(spec.ref) if kind_of(spec.ref.engine).scaled_by_others else 0

    def _take(self, spec: SlotSpec) -> bool:
        """Records that the slot is taken; True if it has this release already, warm."""
        slot, before = spec.ref.slot, self._record.known
        if slots.is_warm(before, slot, spec.release, spec.secrets):
            return True
        old = before.slots.get(slot)
        if old and old.state == SlotState.WARM and old.until > self._context.clock.now():
            self._note(f"uses {slot}, the warm slot of r{old.release}: a revert to it now needs a cold start")
        self._record.take_slot(spec)
        return False

    def _drain(self, spec: SlotSpec, watch: Watch) -> None:
        """Lets what the slot had before finish its open requests; the engine removes it when it starts the new one."""
        if any(replica.release != spec.release for replica in self._engine.slots.replicas(spec.ref)):
            closed = self._acting().traffic.drain(spec.ref, spec.config.service.drain, watch)
            if closed:
                self._note(f"{closed} connections to the old {spec.ref.slot} were closed")

    def _note(self, text: str, kind: str = "note") -> None:
        self._context.note(text, self._record.name, kind)
