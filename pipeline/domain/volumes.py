"""Data that outlives releases: who has it, and what an engine knows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.domain.engine_types import SlotSpec

OwnerKind = Literal["pipeline", "accessory"]
DATA = "data"  # the name of the volume of an accessory


@dataclass(frozen=True, order=True)
class VolumeRef:
    """A volume of an environment. ``owner``: the name of the pipeline or the accessory that has it."""

    owner: str
    environment: str
    name: str
    kind: OwnerKind = "pipeline"

    def __str__(self) -> str:
        return f"{self.owner}/{self.environment}/{self.name}"


@dataclass(frozen=True)
class StoredVolume:
    """A volume that exists. ``stored_as``: its name on the engine; ``size``: bytes, None if no one knows; ``users``:
    names of the containers or pods that have it, running or not."""

    ref: VolumeRef
    stored_as: str
    size: int | None = None
    users: tuple[str, ...] = ()


def volumes_of(spec: SlotSpec) -> tuple[VolumeRef, ...]:
    """The volumes that a release's containers have, in the order of the configuration."""
    return tuple(
        VolumeRef(spec.ref.pipeline, spec.ref.environment, name) for name in spec.config.service.volumes
    )
