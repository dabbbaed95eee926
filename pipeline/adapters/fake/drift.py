"""Drift in memory."""

from __future__ import annotations

from pipeline.adapters.fake.engine_state import EngineState, SlotContent, same_containers
from pipeline.config.parity.properties import TLS, VERSION, plain
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.parity.by_hand import ByHand
from pipeline.domain.parity.seen import Seen, image


class FakeDrift(EngineState):
    """Refuses to restore in an environment that was not prepared, and to revert the drift of another release."""

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        with self.call("missing", spec):
            current = self.contents.get(spec.ref)
            if current is None or not same_containers(current.spec, spec):
                return ("its containers are missing",)
            found = [
                (current.alive, "its containers have exited"),
                (current.exposed or not spec.web, "the proxy does not know it"),
            ]
            return tuple(text for well, text in found if not well)

    def obstacles(self, spec: SlotSpec) -> tuple[str, ...]:
        with self.call("obstacles", spec):
            return self.blocked.get(spec.ref, ())

    def restore(self, spec: SlotSpec) -> bool:
        with self.call("restore", spec):
            self._require_prepared(spec.ref)
            current = self.contents.get(spec.ref)
            if current and current.alive and current.exposed and same_containers(current.spec, spec):
                return False
            self._require_image(spec)
            secrets, passwords = spec.reveal(), spec.passwords()
            self.contents[spec.ref] = SlotContent(
                spec, ready=True, exposed=True, secrets=secrets, passwords=passwords
            )
            return True

    def drift(self, spec: SlotSpec) -> tuple[ByHand, ...]:
        with self.call("drift", spec):
            return self.changed.get(spec.ref, ())

    def revert_drift(self, spec: SlotSpec) -> None:
        with self.call("revert_drift", spec):
            self._require_content(spec, "revert_drift of another release")
            self.changed.pop(spec.ref, None)

    def seen(self, spec: SlotSpec) -> Seen:
        """Just what the slot was given, and ``found``."""
        with self.call("seen", spec):
            current, around = self.contents.get(spec.ref), {VERSION: plain(self.version)}
            if spec.web:
                around[TLS] = plain("off")
            if current is None or not current.alive or not same_containers(current.spec, spec):
                return Seen({}, around)
            return Seen({"image": image(spec.image), **self.found.get(spec.ref, {})}, around)
