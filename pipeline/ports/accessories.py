"""Databases, caches and brokers beside the slots of an environment."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Protocol

from pipeline.domain.accessories import AccessoryRef, AccessorySpec, AccessoryState, Attachment
from pipeline.ports.clock import Watch


class Accessories(Protocol):
    """Runs accessories. Nothing here ever removes a volume, and only ``replace_accessory`` and ``remove_accessory``
    remove a container."""

    def keep_accessory(self, spec: AccessorySpec, watch: Watch) -> bool:
        """Brings it up as it was made, reachable from every environment that it is attached to: creates what is missing
        (image, volume, networks, container), connects and starts it. It may not be ready yet. One that was made from
        another definition stays as it is. Idempotent. True if it changed anything."""

    def provide_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        """What ``replace_accessory`` would need is there then: the image, on an engine that has images. Nothing is
        ended. Raises EngineFailed, DoesNotFit."""

    def replace_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        """Makes it new from this definition, with the same volume. One that is as the spec says stays. Raises
        EngineFailed before anything has ended if the image is not available."""

    def halt_accessory(self, ref: AccessoryRef) -> None:
        """Stops it, within its limit; it stays stopped until ``keep_accessory``. Idempotent."""

    def remove_accessory(self, ref: AccessoryRef) -> None:
        """Stops it, within its limit, and removes its container. Its volume stays. Idempotent."""

    def detach_accessory(self, ref: AccessoryRef, attachment: Attachment) -> None:
        """That environment does not reach it any more, and its address there is free. Idempotent."""

    def restart_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        """Stops it and starts it again."""

    def accessory_state(self, ref: AccessoryRef) -> AccessoryState:
        """How it is now."""

    def accessory_unready(self, spec: AccessorySpec) -> str:
        """Why it is not ready, as its `health` says; "" if it is. Asks once."""

    def accessory_output(self, ref: AccessoryRef, lines: int) -> tuple[str, ...]:
        """Its last lines of output, oldest first."""

    def dump_accessory(self, ref: AccessoryRef, argv: tuple[str, ...], watch: Watch) -> Generator[bytes]:
        """What that command prints in its container, which needs a shell. Close it. Raises EngineFailed if it does not
        run, and at the end unless the command has exited with 0 and all of its output has come."""

    def load_accessory(
        self, ref: AccessoryRef, argv: tuple[str, ...], pieces: Iterable[bytes], size: int, watch: Watch
    ) -> None:
        """Runs that command in its container, which needs a shell and room for them, with the pieces as its input,
        ``size`` bytes. Raises EngineFailed unless the command has exited with 0, and what the pieces raise: the command
        has not been started then."""

    def accessory_hash(self, spec: AccessorySpec) -> str:
        """``AccessoryState.spec`` of one that was made from this definition."""

    def accessories(self) -> Iterable[AccessoryRef]:
        """Every accessory of this instance on the engine, running or not."""
