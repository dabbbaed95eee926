"""What tests on real parts share. Every session has its own instance name, ports and addresses, so that many
may go on at once on one machine, and takes away whatever carries its instance's label at the end."""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from docker.errors import APIError, NotFound
from hypothesis import settings as hypothesis_settings

import docker
from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.docker_api.client import client
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.adapters.kubernetes.api.client import connect
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.events import Event
from pipeline.ports.clock import SystemClock
from tests.cluster import where
from tests.support import clusterbench
from tests.support.bench import EngineBench
from tests.support.installation import own_settings
from tests.support.paths import ROOT
from tests.support.ports import free_subnet
from tests.support.specs import SAMPLE, slot_spec

# How long one example takes says how busy the machine is.
hypothesis_settings.register_profile("any machine", deadline=None)
hypothesis_settings.load_profile("any machine")

# A shell starts what it puts into the background with Ctrl-C ignored, which every process of a session would inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.support.order"]
PORTS = 24  # loopback ports, so environments at once, of one session


@pytest.fixture(scope="session")
def instance() -> str:
    return f"t{os.getpid()}-{secrets.token_hex(2)}"


@pytest.fixture(scope="session")
def docker_client(instance: str) -> Iterator[docker.DockerClient]:
    """The Engine. Whatever carries the instance's label is removed at the end."""
    one = client()
    yield one
    sweep(one, instance)
    one.close()


def sweep(one: docker.DockerClient, instance: str) -> None:
    """Removes the instance's containers, networks, volumes and images."""
    mine = {"label": f"pushlive.instance={instance}"}
    for container in one.api.containers(all=True, filters=mine):
        with suppress(NotFound, APIError):
            one.api.remove_container(container["Id"], force=True, v=True)
    for network in one.api.networks(filters=mine):
        with suppress(NotFound, APIError):
            one.api.remove_network(network["Id"])
    for volume in one.api.volumes(filters=mine)["Volumes"] or ():
        with suppress(NotFound, APIError):
            one.api.remove_volume(volume["Name"])
    for image in one.api.images(filters=mine):
        with suppress(NotFound, APIError):
            one.api.remove_image(image["Id"], force=True)


@pytest.fixture(scope="session")
def base_images() -> None:
    """busybox:1.36 and haproxy:2.6 are here (scripts/images)."""
    subprocess.run([ROOT / "scripts" / "images"], check=True, capture_output=True, text=True)


@pytest.fixture(scope="session")
def app_image(docker_client: docker.DockerClient, instance: str, base_images: None) -> str:
    """The sample application's image id."""
    labels = {"pushlive.instance": instance}
    path = str(ROOT / "docker" / "sample")
    image, _ = docker_client.images.build(path=path, tag=f"{instance}-app:1", labels=labels, rm=True)
    return str(image.id)


@pytest.fixture(scope="session")
def settings(
    tmp_path_factory: pytest.TempPathFactory,
    instance: str,
    docker_client: docker.DockerClient,
    base_images: None,
) -> Settings:
    subnets = free_subnet(docker_client.api.networks())
    return own_settings(tmp_path_factory.mktemp("data"), instance, PORTS, subnets=subnets)


@pytest.fixture(scope="session")
def proxy(settings: Settings, docker_client: docker.DockerClient) -> Iterator[Proxy]:
    one = Proxy(lambda: docker_client, settings, SystemClock())
    one.ensure()
    yield one
    one.stop()


@pytest.fixture(scope="session")
def engine(settings: Settings, proxy: Proxy, docker_client: docker.DockerClient) -> DockerEngine:
    return DockerEngine(lambda: docker_client, proxy, settings, HttpProbe(), SystemClock())


@pytest.fixture(scope="session")
def there(
    docker_client: docker.DockerClient,
    app_image: str,
    instance: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[object]:
    """Another machine's Docker Engine, see tests/support/remote_engine.py."""
    from tests.support.remote_engine import remote_engine

    with remote_engine(docker_client, app_image, tmp_path_factory.mktemp("there"), instance) as one:
        yield one


_numbers = itertools.count()


@dataclass
class Bench(EngineBench):
    """One environment of its own on the real Engine, with what tests say over and over."""

    engine: DockerEngine
    image: str
    name: str
    index: int
    hosts: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)

    def ref(self, slot: str = "blue") -> SlotRef:
        return SlotRef(self.name, "live", self.index, slot)

    def spec(self, slot: str = "blue", release: int = 1, run: int = 1, **service: object) -> SlotSpec:
        values = {**SAMPLE, **service}
        return slot_spec(self.ref(slot), release, run, image=self.image, hosts=self.hosts, **values)


@pytest.fixture
def bench(engine: DockerEngine, app_image: str) -> Iterator[Bench]:
    """An environment of one's own; removed afterwards."""
    number = next(_numbers)
    one = Bench(engine, app_image, f"app{number}", number % (PORTS - 1))  # the next index is there, too
    yield one
    engine.remove(one.ref())


def scripts_cluster(*words: str) -> str:
    """What it printed; an AssertionError with what it said where it failed."""
    command = [ROOT / "scripts" / "cluster", *words]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert not done.returncode, f"scripts/cluster {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def push(one: docker.DockerClient, image: str, repository: str, login: dict[str, str] | None = None) -> str:
    """Puts the image into the repository; answers REPOSITORY@DIGEST."""
    one.api.tag(image, repository, "1")
    said = list(one.api.push(repository, "1", stream=True, decode=True, auth_config=login))
    one.api.remove_image(f"{repository}:1")
    digests = [line["aux"]["Digest"] for line in said if "Digest" in line.get("aux", {})]
    assert digests, said
    return f"{repository}@{digests[0]}"


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A real cluster's: the one that PUSHLIVE_TEST_KUBECONFIG names, else that of `scripts/cluster up`. KUBECONFIG
    names it for as long as the session lasts."""
    given = os.environ.get("PUSHLIVE_TEST_KUBECONFIG")
    if not given:
        scripts_cluster("up")
    path = Path(given) if given else where.KUBECONFIG
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(path))
        yield path


@pytest.fixture(scope="session")
def registry(kubeconfig: Path) -> str:
    """A registry that the Engine pushes to and the cluster pulls from, ``localhost:15000``."""
    given = os.environ.get("PUSHLIVE_TEST_REGISTRY")
    if not given and os.environ.get("PUSHLIVE_TEST_KUBECONFIG"):
        pytest.fail(
            "PUSHLIVE_TEST_REGISTRY has to name a registry that this cluster can pull from, HOST:PORT"
        )
    return given or f"localhost:{where.REGISTRY}"


@pytest.fixture(scope="session")
def pushed_app(docker_client: docker.DockerClient, app_image: str, registry: str, instance: str) -> str:
    """The sample application's image by digest, in the registry."""
    return push(docker_client, app_image, f"{registry}/{instance}")


@pytest.fixture(scope="session")
def namespace(kubeconfig: Path, instance: str) -> Iterator[str]:
    """A namespace of the session's own on the cluster; removed at the end."""
    api = KubeApi(lambda: connect("", ""))
    clusterbench.make_namespace(api, instance)
    yield instance
    clusterbench.end_namespace(api, instance)


@pytest.fixture(scope="session")
def gateway(namespace: str, kubeconfig: Path) -> Iterator[object]:
    """A Gateway in that namespace, and what passes its requests on; see tests/support/gateway_api.py."""
    from tests.support.gateway_api import gateway

    with gateway(namespace, kubeconfig) as one:
        yield one


@pytest.fixture
def cluster_bench(namespace: str, instance: str, pushed_app: str) -> Iterator[clusterbench.ClusterBench]:
    """An environment of one's own on the cluster; removed afterwards."""
    one = clusterbench.make(instance, namespace, pushed_app)
    yield one
    one.engine.remove(one.ref())
