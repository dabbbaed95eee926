"""ports.Inspection on real engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.config.engines import where_of
from pipeline.ports.inspection import ClusterInfo, DockerInfo

if TYPE_CHECKING:
    from pipeline.adapters.kubernetes.calls import Calls


class EngineInspection:
    """``calls``: the connection to a context and namespace of a cluster."""

    def __init__(self, calls: Callable[[str, str], Calls]) -> None:
        self._calls = calls

    def docker(self, host: str = "") -> DockerInfo:
        from pipeline.adapters.docker_api.client import client, translate

        with translate():
            info = client(host=host).info()
        live_restore = bool(info.get("LiveRestoreEnabled"))
        return DockerInfo(info["ServerVersion"], info["NCPU"], info["MemTotal"], live_restore)

    def cluster(self, key: str) -> ClusterInfo:
        from pipeline.adapters.kubernetes.permissions import examine

        where = where_of(key)
        return examine(self._calls(where.kubernetes or "", where.namespace))
