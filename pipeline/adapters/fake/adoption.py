"""What runs in a fake engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from pipeline.adapters.fake.engine_state import EngineState, SlotContent, environment_key
from pipeline.domain.adoption import (
    FoundEnvironment,
    FoundSlot,
    made_of,
    remembered,
    runs_by_schedule_alone,
)
from pipeline.domain.engine_types import SlotRef, SlotSpec


class FakeAdoption(EngineState):
    """Refuses nothing. ``forgetful``: containers remember nothing, as those of an earlier version."""

    forgetful = False

    def survey(self) -> Iterable[FoundEnvironment]:
        with self.call("survey"):
            found = []
            for key in sorted({environment_key(ref) for ref in self.contents}):
                own = [ref for ref in self.contents if environment_key(ref) == key]
                if not (slots := [self._found(ref) for ref in own if self._tells(ref)]):
                    found.append(FoundEnvironment(*key, own[0].index, own[0].engine, False, None))
                    continue
                first, serving = slots[0].ref, self.active.get(key)
                routed = key in self.active and key in self.hosts  # without a web process there are no routes
                found.append(FoundEnvironment(*key, first.index, first.engine, routed, serving, tuple(slots)))
            return found

    def _found(self, ref: SlotRef) -> FoundSlot:
        content: SlotContent = self.contents[ref]
        spec = content.spec
        return FoundSlot(
            ref=ref,
            release=spec.release,
            run=spec.run,
            commit=spec.commit,
            spec=_hash(spec),
            replicas=spec.config.service.web_replicas or 1,
            well=content.alive and content.ready if spec.web else self._works_beside(ref),
            created=1000.0,
            image=spec.image,
            remote=spec.remote,
            made=None if self.forgetful else made_of(remembered(spec)),
        )

    def _tells(self, ref: SlotRef) -> bool:
        """With schedules alone, its newest job tells."""
        if not runs_by_schedule_alone(self.contents[ref].spec.config):
            return True
        jobs = sorted(self.scheduled.get(environment_key(ref), {}).values(), key=lambda one: one.started)
        return bool(jobs) and jobs[-1].release == self.contents[ref].spec.release

    def _works_beside(self, ref: SlotRef) -> bool:
        if runs_by_schedule_alone(self.contents[ref].spec.config):
            return True
        return any(one.works for one in self.beside.get(ref, {}).values())

    def spec_hash(self, spec: SlotSpec, replica: int) -> str:  # noqa: ARG002
        with self.call("spec_hash", spec):
            return _hash(spec)


def _hash(spec: SlotSpec) -> str:
    return hashlib.sha256(repr(replace(spec, run=0)).encode()).hexdigest()[:16]
