"""A slot on the real Docker Engine: its containers' settings, and that they start quickly."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

import docker
from pipeline.adapters.http.probe import HttpProbe
from pipeline.adapters.workload import CAP_DROP
from pipeline.config.settings import Settings
from pipeline.errors import AppFailed
from tests.conftest import Bench


def test_a_container_has_limits_labels_and_variables(
    bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    spec = bench.spec(replicas=2, cpu=0.5, env={"GREETING": "hi", "PUSHLIVE_RELEASE": "mine"})
    bench.deploy(spec)
    names = [r.name for r in bench.engine.replicas(spec.ref)]
    assert names == [f"{settings.instance}-{bench.name}-live-blue-r1-{n}" for n in (1, 2)]
    found = docker_client.api.inspect_container(names[1])
    host = found["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 128 << 20
    assert host["NanoCpus"] == 500_000_000
    assert host["Init"] is True
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert {cap.removeprefix("CAP_") for cap in host["CapDrop"]} == set(CAP_DROP)
    assert host["LogConfig"]["Config"]["max-size"]
    labels = found["Config"]["Labels"]
    assert labels["pushlive.instance"] == settings.instance
    assert labels["pushlive.commit"] == spec.commit
    body = HttpProbe().get(bench.engine.public(spec), "/?text", 5).body.decode()
    assert body == f"hi release=r1 environment=live commit={spec.commit} version=1\n"


def test_a_strict_container_has_no_capabilities(bench: Bench) -> None:
    look = (
        "exec 2>&1; id -u; grep CapBnd /proc/self/status; touch /x; touch /tmp/x && echo wrote /tmp; exit 0"
    )
    spec = bench.spec(security="strict")
    bench.deploy(spec)
    assert HttpProbe().get(bench.engine.public(spec), "/healthz", 5).status == 200
    result = bench.engine.command(spec, "look", ("sh", "-c", look), {}, bench.events.append, bench.watch())
    assert result.output.splitlines() == [
        "65534",
        "CapBnd:\t0000000000000000",
        "touch: /x: Read-only file system",
        "wrote /tmp",
    ]


def test_strict_refuses_an_image_that_runs_as_root_before_it_creates_anything(
    bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    rooted = docker_client.images.build(
        fileobj=io.BytesIO(f"FROM {bench.image}\nUSER root\n".encode()),
        labels={"pushlive.instance": settings.instance},
        rm=True,
    )[0].id
    spec = replace(bench.spec(security="strict"), image=str(rooted))
    bench.engine.prepare(spec.ref, ())
    with pytest.raises(AppFailed, match="the image runs as root, and `security: strict`"):
        bench.engine.start(spec, bench.watch())
    with pytest.raises(AppFailed, match="the image runs as root"):
        bench.engine.command(spec, "x", ("true",), {}, bench.events.append, bench.watch())
    assert bench.engine.replicas(spec.ref) == ()
    assert bench.engine.command_runs(spec.ref) == frozenset()
    bench.deploy(replace(bench.spec(), image=str(rooted)))  # allowed without `strict`


def test_logs_of_several_replicas_come_in_order_with_their_number(bench: Bench) -> None:
    say = "echo first; sleep 2; echo second; exec httpd -f -h /www -p 8080"
    spec = bench.spec(command=("sh", "-c", say), replicas=2)
    bench.deploy(spec)
    lines = bench.engine.logs(spec.ref, 10)
    assert sorted(lines) == ["1: first", "1: second", "2: first", "2: second"]
    assert {line[3:] for line in lines[:2]} == {"first"}
    assert bench.engine.logs(spec.ref, 1)[0].endswith("second")


def test_fault_39_one_of_two_replicas_removed_by_hand_is_restored_beside_the_other(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    spec = bench.spec(replicas=2)
    bench.deploy(spec)
    first, second = bench.engine.replicas(spec.ref)
    kept = docker_client.api.inspect_container(second.name)["Id"]
    docker_client.api.remove_container(first.name, force=True)
    assert bench.engine.restore(spec) is True
    assert [r.state for r in bench.engine.replicas(spec.ref)] == ["running", "running"]
    assert docker_client.api.inspect_container(second.name)["Id"] == kept
    assert bench.engine.serving(spec.ref) == "blue"
