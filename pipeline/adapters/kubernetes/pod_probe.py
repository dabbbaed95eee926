"""Requests to one pod, ready or not: straight to its address from a pod of the cluster, through a forwarded port from
anywhere else."""

from __future__ import annotations

from urllib.parse import urlsplit

from pipeline.adapters.http.probe import HttpProbe
from pipeline.adapters.kubernetes.api import port_forward
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.domain.engine_types import Answer, Route


class PodProbe(HttpProbe):
    """A Probe whose routes lead to ``http://POD:PORT``; POD is its address inside the cluster, else its name."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    def get(self, route: Route, path: str, timeout: float) -> Answer:
        if self._api.cluster.inside:
            return super().get(route, path, timeout)
        parts = urlsplit(route.url)
        return port_forward.get(
            self._api, parts.hostname or "", parts.port or 80, path, dict(route.headers), timeout
        )
