"""What `service` says of a container, seen from inside it on a real Docker Engine."""

from __future__ import annotations

from dataclasses import replace

import docker
from tests.conftest import Bench

LOOK = "exec 2>&1; pwd; df -m /dev/shm | tail -n 1; echo PORT=$PORT"


def look(
    bench: Bench, client: docker.DockerClient, script: str, **service: object
) -> tuple[list[str], list[str]]:
    """What the script prints in the serving container, and in a command's."""
    spec = replace(bench.spec(**service), with_port=True)
    bench.deploy(spec)
    [replica] = bench.engine.replicas(spec.ref)
    serving = client.containers.get(replica.name).exec_run(["sh", "-c", script]).output.decode().splitlines()
    result = bench.engine.command(spec, "look", ("sh", "-c", script), {}, bench.events.append, bench.watch())
    return serving, result.output.splitlines()


def test_a_container_is_given_what_the_service_says(bench: Bench, docker_client: docker.DockerClient) -> None:
    for lines in look(bench, docker_client, LOOK, shm=96 << 20, working_dir="/srv/app"):
        there, shm, port = lines
        assert there == "/srv/app"
        assert shm.split()[1] == "96"
        assert port == "PORT=8080"
