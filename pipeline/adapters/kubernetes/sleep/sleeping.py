"""Environments that sleep on a cluster: not yet."""

from __future__ import annotations

from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import ConfigError
from pipeline.ports.clock import Watch
from pipeline.ports.sleep.sleeping import Activity


class KubeSleeping:
    """See ``ports.sleep.Sleeping``."""

    def can_sleep(self, ref: SlotRef) -> None:
        raise ConfigError(
            f"{ref.pipeline}/{ref.environment}: environments on a cluster cannot be put to sleep yet.",
            advice="Remove `sleep_after` there.",
        )

    def activity(self, ref: SlotRef) -> Activity | None:  # noqa: ARG002
        return None

    def await_request(self, ref: SlotRef, seconds: float) -> None:  # noqa: ARG002
        self.can_sleep(ref)

    def end_sleeping(self, spec: SlotSpec) -> None:
        self.can_sleep(spec.ref)

    def wake(self, spec: SlotSpec, watch: Watch) -> None:  # noqa: ARG002
        self.can_sleep(spec.ref)

    def awaits_request(self, ref: SlotRef) -> bool:  # noqa: ARG002
        return False

    def is_wanted(self, ref: SlotRef) -> bool:  # noqa: ARG002
        return False

    def still_awake(self, spec: SlotSpec) -> tuple[str, ...]:  # noqa: ARG002
        return ()
