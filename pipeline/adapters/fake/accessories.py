"""Accessories in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

from pipeline.adapters.fake.engine_state import EMPTY, EngineState
from pipeline.adapters.fake.script import require
from pipeline.domain.accessories import (
    AccessoryRef,
    AccessorySpec,
    AccessoryState,
    Attachment,
    FoundAccessory,
    made_of,
    remembered,
)
from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Watch


@dataclass
class FakeAccessory:
    """``spec``: what it was made from; ``attached``: pipelines that reach it."""

    spec: AccessorySpec
    attached: tuple[str, ...] = ()
    places: tuple[Attachment, ...] = ()  # the same, whole
    secrets: dict[str, Secret] = field(default_factory=dict)
    alive: bool = True
    sick: str = ""  # why it is not ready
    image: str = ""  # what it really has, if someone changed it
    content: bytes = b"all that it has"  # what `dump_accessory` returns, and `load_accessory` replaces
    made: int = 1  # how often its container was made


class FakeAccessories(EngineState):
    """Refuses one without an environment that uses it, and to restart one that does not exist. ``remembers_nothing``:
    containers do not say what they were made from, as those of an earlier version."""

    remembers_nothing = False

    def keep_accessory(self, spec: AccessorySpec, watch: Watch) -> bool:
        with self.call("keep_accessory", spec, watch=watch):
            require(bool(spec.attached), "an accessory that nothing uses")
            names = tuple(one.pipeline for one in spec.attached)
            found = self.running.get(spec.ref)
            if spec.config.volume:
                self.stored.setdefault(spec.ref.volume, EMPTY)
            if found is None:
                self._insist_on_room(spec.config.memory, spec.ref.id, spec.ref)
                self.running[spec.ref] = FakeAccessory(spec, names, spec.attached, spec.reveal())
                return True
            acted = not found.alive or found.attached != names
            found.alive, found.attached, found.places = True, names, spec.attached
            return acted

    def provide_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        with self.call("provide_accessory", spec, watch=watch):
            self._insist_on_room(spec.config.memory, spec.ref.id, spec.ref)

    def replace_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        with self.call("replace_accessory", spec, watch=watch):
            found = self.running.get(spec.ref)
            if found is None or _hash(found.spec) != _hash(spec):
                self._insist_on_room(spec.config.memory, spec.ref.id, spec.ref)
                names = tuple(one.pipeline for one in spec.attached)
                made = found.made + 1 if found else 1
                self.running[spec.ref] = FakeAccessory(spec, names, spec.attached, spec.reveal(), made=made)
            self.running[spec.ref].alive = True

    def halt_accessory(self, ref: AccessoryRef) -> None:
        with self.call("halt_accessory", ref):
            if ref in self.running:
                self.running[ref].alive = False

    def remove_accessory(self, ref: AccessoryRef) -> None:
        with self.call("remove_accessory", ref):
            self.running.pop(ref, None)

    def detach_accessory(self, ref: AccessoryRef, attachment: Attachment) -> None:
        with self.call("detach_accessory", ref, attachment):
            if found := self.running.get(ref):
                found.places = tuple(one for one in found.places if one.pipeline != attachment.pipeline)
                found.attached = tuple(one.pipeline for one in found.places)

    def restart_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        with self.call("restart_accessory", spec, watch=watch):
            require(spec.ref in self.running, "restart of an accessory that does not exist")
            self.running[spec.ref].alive = True

    def accessory_state(self, ref: AccessoryRef) -> AccessoryState:
        with self.call("accessory_state", ref):
            found = self.running.get(ref)
            if found is None:
                return AccessoryState(ref.id, "missing")
            state = "running" if found.alive else "exited"
            return AccessoryState(
                ref.id, state, _hash(found.spec), image=found.image or found.spec.config.image
            )

    def accessory_unready(self, spec: AccessorySpec) -> str:
        with self.call("accessory_unready", spec):
            found = self.running.get(spec.ref)
            if found is None:
                return f"{spec.ref.id} does not exist"
            return found.sick if found.alive else f"{spec.ref.id} is exited"

    def accessory_output(self, ref: AccessoryRef, lines: int) -> tuple[str, ...]:
        with self.call("accessory_output", ref, lines):
            return self.printed[-lines:] if ref in self.running else ()

    def dump_accessory(self, ref: AccessoryRef, argv: tuple[str, ...], watch: Watch) -> Generator[bytes]:
        with self.call("dump_accessory", ref, argv, watch=watch):
            content = self._insist_on_accessory(ref).content
            yield content[:3]
            self._insist_on_success(argv)
            yield content[3:]

    def load_accessory(
        self, ref: AccessoryRef, argv: tuple[str, ...], pieces: Iterable[bytes], size: int, watch: Watch
    ) -> None:
        with self.call("load_accessory", ref, argv, watch=watch):
            found, content = self._insist_on_accessory(ref), b"".join(pieces)
            require(len(content) == size, f"{len(content)} bytes of {size}")
            self._insist_on_success(argv)
            found.content = content

    def _insist_on_accessory(self, ref: AccessoryRef) -> FakeAccessory:
        found: FakeAccessory | None = self.running.get(ref)
        if found is None or not found.alive:
            raise EngineFailed(f"the accessory {ref.id} does not run.")
        return found

    def _insist_on_success(self, argv: tuple[str, ...]) -> None:
        if argv[0] == "false":
            raise EngineFailed("false exited with 1: it said nothing.")

    def accessory_hash(self, spec: AccessorySpec) -> str:
        with self.call("accessory_hash", spec):
            return _hash(spec)

    def accessories(self) -> Iterable[AccessoryRef]:
        with self.call("accessories"):
            return sorted(self.running, key=lambda ref: ref.id)

    def accessories_found(self) -> Iterable[FoundAccessory]:
        with self.call("accessories_found"):
            return [
                FoundAccessory(
                    ref,
                    _hash(one.spec),
                    one.places,
                    {**{name: Secret(text) for name, text in one.spec.config.env.items()}, **one.secrets},
                    None if self.remembers_nothing else made_of(remembered(one.spec)),
                )
                for ref, one in sorted(self.running.items(), key=lambda pair: pair[0].id)
            ]


def _hash(spec: AccessorySpec) -> str:
    return hashlib.sha256(repr((spec.config, spec.secrets)).encode()).hexdigest()[:16]
