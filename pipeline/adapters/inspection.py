"""``ports.Inspection`` of real engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.engines import where_of
from pipeline.config.promotion.shift import Shift
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Share
from pipeline.domain.environment import SLOTS
from pipeline.domain.naming import service_name
from pipeline.errors import ConfigError, EngineFailed
from pipeline.ports.clock import SystemClock
from pipeline.ports.inspection import ClusterInfo, DockerInfo, NodeSize

if TYPE_CHECKING:
    from pipeline.adapters.haproxy.proxy import Proxy
    from pipeline.adapters.kubernetes.api.kube_api import KubeApi


class EngineInspection:
    """``kube_api``: the connection to a context and namespace of a cluster; ``repositories``: the built-in git
    server's folder; ``proxy_of``: the proxy of the Docker Engine with that ``Where.key``."""

    def __init__(
        self,
        kube_api: Callable[[str, str], KubeApi],
        repositories: Path,
        proxy_of: Callable[[str], Proxy],
        settings: Settings | None = None,
    ) -> None:
        self._kube_api, self._repositories, self._proxy_of = kube_api, repositories, proxy_of
        self._settings = settings or Settings()

    def docker(self, host: str = "") -> DockerInfo:
        from pipeline.adapters.docker_api.api import DockerApi
        from pipeline.adapters.docker_api.client import client

        info = DockerApi(partial(client, host=host)).info()
        live_restore = bool(info.get("LiveRestoreEnabled"))
        return DockerInfo(info["ServerVersion"], info["NCPU"], info["MemTotal"], live_restore)

    def networks(self, names: tuple[str, ...], host: str = "") -> dict[str, str]:
        from pipeline.adapters.docker.networks import unfit
        from pipeline.adapters.docker_api.api import DockerApi
        from pipeline.adapters.docker_api.client import client

        return unfit(DockerApi(partial(client, host=host)), names)

    def proxy(self, key: str) -> str:
        return self._proxy_of(key).examine()

    def public_url(self) -> str:
        from pipeline.adapters.http import own_address

        return own_address.ask(self._settings)

    def cluster(self, key: str) -> ClusterInfo:
        from pipeline.adapters.kubernetes.permissions import inspect_cluster

        where = where_of(key)
        return inspect_cluster(self._kube_api(where.kubernetes or "", where.namespace))

    def largest_node(self, key: str) -> NodeSize | None:
        from pipeline.adapters.kubernetes.capacity import largest_node

        where = where_of(key)
        return largest_node(self._kube_api(where.kubernetes or "", where.namespace))

    def undivided(self, key: str, pipeline: str, environment: str, shift: Shift) -> str:
        from pipeline.adapters.kubernetes.gateway.http_routes import HttpRoutes
        from pipeline.adapters.kubernetes.gateway.weights import backends_of

        where = where_of(key)
        api = self._kube_api(where.kubernetes or "", where.namespace)
        share = Share(SLOTS[0], shift.steps[0])
        try:
            backends = backends_of(api.namespace, service_name(pipeline, environment))
            HttpRoutes(api, SystemClock()).check(shift.route, backends, share)
        except (ConfigError, EngineFailed) as error:
            return f"{error.message} {error.advice}".strip()
        return ""

    def sleepless(self, key: str) -> str:
        from pipeline.adapters.kubernetes.sleep import account

        where = where_of(key)
        why = account.problem(self._kube_api(where.kubernetes or "", where.namespace))
        return f"{why}. {account.ADVICE}" if why else ""

    def repository(self, name: str) -> str:
        from pipeline.adapters.git.push_check import check_push

        folder = self._repositories / f"{name}.git"
        return (
            check_push(folder, self._settings.git_fsck_ignore)
            if folder.exists()
            else "nothing was pushed to it yet"
        )
