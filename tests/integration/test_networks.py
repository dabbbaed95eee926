"""Networks of others on a real Docker Engine: every container of a release joins them, under its own name alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

import docker
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.addresses import subnet
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.config.settings import Settings
from pipeline.config.workload.accessory import Use
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import ConfigError
from pipeline.ports.scheduled import Job
from pipeline.ports.terminal import Wanted
from tests.conftest import Bench
from tests.support.waiting import until

ASK = ("sh", "-c", "wget -qO- http://store:8080/ 2>&1")


@pytest.fixture
def theirs(docker_client: docker.DockerClient, settings: Settings) -> Iterator[str]:
    """A network of others, with a container that is found as "store" there and answers."""
    name, api = f"a-{settings.instance}-theirs", docker_client.api  # before our own in the order of names
    network = api.create_network(name, driver="bridge")["Id"]
    made = store(docker_client, name, "of others")
    try:
        yield name
        assert docker_client.containers.get(made).status == "running"
    finally:
        api.remove_container(made, force=True)
        api.remove_network(network)


def store(client: docker.DockerClient, network: str, says: str, address: str = "", **labels: str) -> str:
    """A container that is found as "store" in that network; its id."""
    api = client.api
    endpoint = api.create_endpoint_config(aliases=["store"], ipv4_address=address or None)
    command = ["sh", "-c", f"echo {says} > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
    made: str = api.create_container(
        "busybox:1.36", command, name=f"{network}-store", labels=labels,
        networking_config=api.create_networking_config({network: endpoint}),
    )["Id"]  # fmt: skip
    api.start(made)
    return made


def inside(client: docker.DockerClient, network: str) -> set[str]:
    return {one["Name"] for one in client.api.inspect_network(network)["Containers"].values()}


def deployed(bench: Bench, *networks: str) -> SlotSpec:
    worker = {"command": ["sleep", "60"], "settle": "0.2s"}
    spec = bench.spec(networks=networks, processes={"worker": worker})
    bench.deploy(spec)
    bench.engine.start_processes(spec, bench.watch())
    bench.engine.processes_ready(spec, bench.events.append, bench.watch())
    return spec


def test_every_container_of_a_release_joins_and_has_no_name_there_but_its_own(
    theirs: str, bench: Bench, docker_client: docker.DockerClient
) -> None:
    engine, api = bench.engine, docker_client.api
    spec = deployed(bench, theirs)
    [replica], [worker] = engine.replicas(spec.ref), engine.processes(spec.ref)
    assert inside(docker_client, theirs) == {f"{theirs}-store", replica.name, worker.name}
    for name in (replica.name, worker.name):
        found = api.inspect_container(name)
        names = found["NetworkSettings"]["Networks"][theirs]["Aliases"] or []
        assert set(names) <= {found["Id"][:12]}
        assert docker_client.containers.get(name).exec_run(list(ASK)).output == b"of others\n"

    result = engine.command(spec, "look", ASK, {}, bench.events.append, bench.watch())
    engine.forget_command(spec, "look")
    assert result.output == "of others\n"
    job = Job("mail", 1_800_000_000)
    engine.start_job(spec, job, ASK, bench.watch())
    until(lambda: all(one.exit_code is not None for one in engine.jobs(spec.ref)))
    assert engine.job_output(spec.ref, job, 9) == ("of others",)
    engine.forget_job(spec.ref, job)
    session = engine.run_session(spec, Wanted("s1", ASK), bench.watch())
    assert b"".join(piece for _, piece in session.output()) == b"of others\n"
    session.close()
    engine.end_session(spec.ref, "s1")

    for name in (replica.name, worker.name):
        api.disconnect_container_from_network(name, theirs)
    assert engine.missing(spec) == (f"{replica.name} is not in the network {theirs}",)
    assert engine.missing_processes(spec) == (f"{worker.name} is not in the network {theirs}",)
    assert engine.restore(spec)
    engine.restore_processes(spec)
    assert (engine.missing(spec), engine.missing_processes(spec)) == ((), ())
    assert inside(docker_client, theirs) == {f"{theirs}-store", replica.name, worker.name}

    api.remove_container(replica.name, force=True)
    assert engine.restore(spec)
    assert replica.name in inside(docker_client, theirs)
    assert engine.remove(spec.ref) == ""
    assert inside(docker_client, theirs) == {f"{theirs}-store"}


def test_a_network_that_is_missing_or_of_an_environment_starts_nothing_and_ends_nothing(
    bench: Bench, settings: Settings
) -> None:
    spec = bench.spec()
    bench.deploy(spec)
    before, own = bench.engine.replicas(spec.ref), f"{settings.instance}-{bench.name}-live"
    for name, says in (("gone-for-good", "does not exist"), (own, "belongs to an environment of Pushlive")):
        wanted = bench.spec("blue", 3, networks=(name,))
        with pytest.raises(ConfigError, match=f"the network {name} {says}") as refused:
            bench.engine.start(wanted, bench.watch())
        with pytest.raises(ConfigError, match=f"the network {name} {says}"):
            bench.engine.command(wanted, "x", ("true",), {}, bench.events.append, bench.watch())
        assert ("`docker network create gone-for-good`" in refused.value.advice) == (name == "gone-for-good")
    assert bench.engine.replicas(spec.ref) == before


def test_a_name_under_uses_leads_to_the_accessory_whatever_others_have_that_name(
    theirs: str, bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    own, spec = f"{settings.instance}-{bench.name}-live", bench.spec(networks=(theirs,))
    spec = replace(spec, config=spec.config.model_copy(update={"uses": {"store": Use(accessory="store")}}))
    bench.engine.prepare(spec.ref, ())
    address = str(subnet(settings, bench.index).network_address + 29)
    mine = {labels.INSTANCE: settings.instance, labels.ACCESSORY: "store", labels.ACCESSORY_IN: "live"}
    made = store(docker_client, own, "our own", address, **mine)
    try:
        result = bench.engine.command(spec, "look", ASK, {}, bench.events.append, bench.watch())
        bench.engine.forget_command(spec, "look")
        assert result.output == "our own\n"
    finally:
        docker_client.api.remove_container(made, force=True)


@pytest.mark.parametrize("times", [1, 1000])
def test_a_network_that_docker_counts_a_container_in_that_is_gone_is_tried_again_and_named(
    bench: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    spec, api, refused = bench.spec(), bench.engine._api, list[str]()
    bench.deploy(spec)
    remove = api.remove_network

    def refusing(name: str) -> None:
        refused.append(name)
        if len(refused) <= times:
            raise DockerRefused(f"Removing the network {name}", 403, "it has active endpoints")
        remove(name)

    with monkeypatch.context() as patched:
        patched.setattr(api, "remove_network", refusing)
        patched.setattr("pipeline.adapters.docker.slots.COUNTED_WITHIN", 0.5)
        rest = bench.engine.remove(spec.ref)
    own = f"{settings.instance}-{bench.name}-live"
    stays = (
        f"the network {own} stays, because Docker counts a container in it that is gone. To free it, restart"
    )
    assert rest == "" if times == 1 else rest.startswith(stays)
    assert bench.engine.replicas(spec.ref) == ()
    assert (api.network(own) is None) == (times == 1)
