"""Fixtures that several tests on the cluster share."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import docker
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from tests.cluster.gateway import Gateway
from tests.cluster.scene import create_account, kubeconfig_for
from tests.support import clusterbench
from tests.support.clusterbench import ClusterBench
from tests.support.service import Service, running
from tests.support.waiting import until


@dataclass(frozen=True)
class Installed:
    """``service``: with exactly the permissions that docker/kubernetes grants, in a namespace of its own; ``api``: as
    the namespace's administrator has it; ``gateway``: between the service and the API server; ``config``: its
    pipelines.yaml."""

    service: Service
    api: KubeApi
    gateway: Gateway
    config: str


@pytest.fixture(scope="session")
def installed(
    docker_client: docker.DockerClient,
    base_images: None,
    kubeconfig: Path,
    registry: str,
    pushed_app: str,
    instance: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., AbstractContextManager[Installed]]:
    """The whole service with its environments on the cluster: ``installed(NAME, CONFIG, WORD=text)``. ``REGISTRY``,
    ``SPACE`` and the words given are replaced in the configuration."""

    @contextmanager
    def started(name: str, config: str, **words: str) -> Iterator[Installed]:
        space = f"{instance}-{name}"
        api = KubeApi(lambda: connect("", space))
        clusterbench.make_namespace(api, space)
        try:
            token = create_account(api)
            with Gateway(kubeconfig) as gateway:
                own = tmp_path_factory.mktemp("kube") / "config"
                own.write_text(kubeconfig_for(gateway.url, token))
                for word, text in {"REGISTRY": registry, "SPACE": space, **words}.items():
                    config = config.replace(word, text)
                environ = {"KUBECONFIG": str(own), "PUSHLIVE_VOLUME_IMAGE": pushed_app}
                with running(docker_client, config, down=False, **environ) as service:
                    yield Installed(service, api, gateway, config)
        finally:
            clusterbench.end_namespace(api, space)

    return started


@pytest.fixture
def own(namespace: str, instance: str, pushed_app: str) -> Iterator[ClusterBench]:
    """An environment in a namespace of its own, for rules that would disturb other tests."""
    name = f"{instance}-{secrets.token_hex(2)}"
    one = clusterbench.make(instance, name, pushed_app)
    clusterbench.make_namespace(one.api, name)
    until(lambda: clusterbench.kubectl(name, "get", "serviceaccounts", "-o", "name"))
    yield one
    clusterbench.end_namespace(one.api, name)
