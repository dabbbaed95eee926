"""Accessories on a cluster."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.domain.accessories import (
    AccessoryRef,
    AccessorySpec,
    AccessoryState,
    Attachment,
    FoundAccessory,
)
from pipeline.errors import ConfigError
from pipeline.ports.clock import Watch


class KubeAccessories(EngineBase):
    """See ``ports.Accessories``. `pushlive check` refuses them on a cluster."""

    def keep_accessory(self, spec: AccessorySpec, watch: Watch) -> bool:  # noqa: ARG002
        raise _refused(spec.ref)

    def replace_accessory(self, spec: AccessorySpec, watch: Watch) -> None:  # noqa: ARG002
        raise _refused(spec.ref)

    def halt_accessory(self, ref: AccessoryRef) -> None:
        raise _refused(ref)

    def remove_accessory(self, ref: AccessoryRef) -> None:
        """There is none."""

    def detach_accessory(self, ref: AccessoryRef, attachment: Attachment) -> None:
        """There is none."""

    def restart_accessory(self, spec: AccessorySpec, watch: Watch) -> None:  # noqa: ARG002
        raise _refused(spec.ref)

    def accessory_state(self, ref: AccessoryRef) -> AccessoryState:
        return AccessoryState(ref.id, "missing")

    def accessory_unready(self, spec: AccessorySpec) -> str:
        return f"{spec.ref.id} does not exist"

    def accessory_output(self, ref: AccessoryRef, lines: int) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def accessory_hash(self, spec: AccessorySpec) -> str:  # noqa: ARG002
        return ""

    def accessories(self) -> Iterable[AccessoryRef]:
        return ()

    def accessories_found(self) -> Iterable[FoundAccessory]:
        return ()


def _refused(ref: AccessoryRef) -> ConfigError:
    return ConfigError(f"the accessory {ref.id} would be on a cluster, where none can run.")
