"""Volumes on a cluster: there are none yet, and the configuration refuses them there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.domain.volumes import StoredVolume, VolumeRef
from pipeline.errors import RequestError
from pipeline.ports.clock import Watch

NONE = "There are no volumes on a cluster."


class KubeVolumes(EngineBase):
    """See ``ports.Volumes``."""

    def volume_name(self, ref: VolumeRef) -> str:
        return f"{self._instance}-{ref.owner}-{ref.environment}-{ref.name}"

    def ensure_volume(self, ref: VolumeRef) -> None:  # noqa: ARG002
        raise RequestError(NONE)

    def volumes(self, *, sizes: bool = False) -> Iterable[StoredVolume]:  # noqa: ARG002
        return ()

    def remove_volume(self, ref: VolumeRef) -> None:
        pass

    def export_volume(self, ref: VolumeRef, watch: Watch) -> Generator[bytes]:  # noqa: ARG002
        raise RequestError(NONE)

    def import_volume(
        self,
        ref: VolumeRef,  # noqa: ARG002
        tar: Iterable[bytes],  # noqa: ARG002
        watch: Watch,  # noqa: ARG002
        end: Callable[[], None] = lambda: None,  # noqa: ARG002
    ) -> None:
        raise RequestError(NONE)
