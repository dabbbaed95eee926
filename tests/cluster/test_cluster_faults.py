"""What goes wrong with and around a cluster, tried on the whole real service, with its exact rights, under requests of
which none may be lost: docs/faults.md."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import docker
from tests.cluster.scene import NAMES, ClusterScene, cluster_scene, trying
from tests.cluster.test_cluster import local
from tests.faults.traps import Trap

pytestmark = [local, pytest.mark.timeout(280)]

# Where a worker dies on a run's way, and who dies.
KILLS = (
    Trap("builder.push", "before", "job"),
    Trap("builder.push", "after", "worker"),
    Trap("engine.command", "inside", "both"),  # the release command
    Trap("engine.command", "after", "job"),
    Trap("engine.start", "inside", "worker"),
    Trap("engine.ready", "inside", "both"),
    Trap("engine.expose", "after", "job"),
    Trap("engine.command", "inside", "worker", 2),  # a check's
    Trap("engine.switch", "before", "both"),
    Trap("engine.switch", "inside", "job"),
    Trap("engine.switch", "after", "worker"),
    Trap("probe.get", "before", "both", 4),  # to verify
)


@pytest.fixture(scope="module")
def scene(
    docker_client: docker.DockerClient,
    base_images: None,
    kubeconfig: Path,
    registry: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ClusterScene]:
    with cluster_scene(docker_client, kubeconfig, registry, tmp_path_factory.mktemp("faults")) as one:
        yield one


def test_fault_33_a_worker_killed_at_any_step_on_a_cluster(scene: ClusterScene) -> None:
    """Another one goes on with the run: it is live once, and no release command has run twice."""

    def kill(number: int) -> None:
        for trap in KILLS[number :: len(NAMES)]:
            with trying(scene, NAMES[number]) as trial:
                one, caught = trial.trapped(trap)
                trial.taken_over(one, caught.at)
                trial.pushed()

    with ThreadPoolExecutor(len(NAMES)) as pool:
        list(pool.map(kill, range(len(NAMES))))
