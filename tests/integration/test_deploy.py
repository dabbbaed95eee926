"""Blue-green in an environment: what its containers are given, and that no request is lost."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from pipeline.adapters.haproxy.config import backend
from tests.support.developer import sample, web
from tests.support.load import Load, environment_of, release_of
from tests.support.service import Service, get, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {port: 8080, health: /healthz, cpu: 250m, memory: 64MiB, stop: 2s, env: {GREETING: one}}
    environments:
      dev: {env: {GREETING: two}}
      live: {host: hello.example.com, replicas: 2, drain: 10s}
  other:
    service: {health: /healthz, memory: 64MiB, stop: 1s, env: {GREETING: three}}
    environments: {live: }
  brief:
    service: {memory: 128MiB, stop: 1s, keep_warm: 1s, drain: 1s}
    environments: {live: }
  greedy:
    service: {memory: 1000GiB}
    environments: {live: }
  ports:
    service: {memory: 128MiB, stop: 1s, ready: 2s}
    environments: {live: }
"""
NEWCOMER = "  newcomer: {service: {memory: 128MiB, stop: 1s}, environments: {live: }}\n"


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        one.push(sample("1"), "One")
        one.push(sample("2"), "Two")
        yield one


def port(service: Service, environment: str = "live", name: str = "hello") -> int:
    return int(service.environments(name)[environment]["url"].rpartition(":")[2])


def active(service: Service, name: str = "hello") -> list[Any]:
    return service.containers(name, slot=service.environments(name)["live"]["slot"])


# ── what a container is given ────────────────────────────────────────────────


def test_containers_have_the_configured_limits_and_addresses(service: Service) -> None:
    containers = active(service)
    assert len(containers) == 2
    subnet = service.environ["PUSHLIVE_SUBNETS"].rpartition(".")[0].rpartition(".")[0]
    for one in containers:
        host = one["HostConfig"]
        assert (host["Memory"], host["MemorySwap"], host["NanoCpus"]) == (64 << 20, 64 << 20, 250_000_000)
        assert host["Init"] is True
        assert host["RestartPolicy"]["Name"] in ("always", "unless-stopped")
        assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
        assert not host["PortBindings"]  # only the proxy is reached from outside
        assert one["Config"]["StopTimeout"] == 2
        (network,) = one["NetworkSettings"]["Networks"].values()
        assert network["IPAMConfig"]["IPv4Address"] == network["IPAddress"]
        assert network["IPAddress"].startswith(subnet)
    assert len({one["Name"] for one in containers}) == 2


def test_containers_have_labels_and_variables_of_their_release(service: Service) -> None:
    run = service.run("hello#2")
    for one in active(service):
        labels, env = one["Config"]["Labels"], one["Config"]["Env"]
        assert labels["pushlive.instance"] == service.instance
        assert labels["pushlive.pipeline"] == "hello"
        assert labels["pushlive.environment"] == "live"
        assert (labels["pushlive.release"], labels["pushlive.run"]) == ("2", "2")
        assert labels["pushlive.commit"] == run["commit"]
        for entry in (
            "GREETING=one",
            "PUSHLIVE_RELEASE=r2",
            "PUSHLIVE_ENVIRONMENT=live",
            f"PUSHLIVE_COMMIT={run['commit']}",
        ):
            assert entry in env
    line = service.page("dev", "/?text")
    assert line.startswith("two release=r2 environment=dev")


# ── the ways to it ───────────────────────────────────────────────────────────


def test_each_host_name_leads_to_its_environment(service: Service) -> None:
    for host in ("hello-live.localhost", "hello.example.com"):
        status, body = get(f"http://{service.proxy}/?text", Host=host)
        assert (status, environment_of(body)) == (200, "one")
    status, body = get(f"http://{service.proxy}/?text", Host="hello-dev.localhost")
    assert (status, environment_of(body)) == (200, "two")
    assert get(f"http://{service.proxy}/", Host="nobody.example.com")[0] in (404, 503)


def test_the_idle_slot_is_reached_only_by_the_preview_route(service: Service) -> None:
    live = service.environments()["live"]
    (idle,) = [slot for slot in live["slots"] if slot != live["slot"]]
    header = backend(port(service) - service.ports[0], idle)
    preview = f"http://127.0.0.1:{service.environ['PUSHLIVE_PREVIEW_PORT']}/?text"
    status, body = get(preview, Host="hello-live.localhost", **{"X-Pushlive-Slot": header})
    assert (status, release_of(body)) == (200, "r1")
    for url in (live["url"], f"http://{service.proxy}"):
        status, body = get(f"{url}/?text", Host="hello-live.localhost", **{"X-Pushlive-Slot": header})
        assert (status, release_of(body)) == (200, "r2")


def test_before_the_first_deploy_the_route_answers_503_with_a_reason(service: Service) -> None:
    said = service.push(web(command="exit 3"), "Never started", "brief")
    assert "exited with code 3" in said
    for url in (f"http://127.0.0.1:{port(service, name='brief')}/", f"http://{service.proxy}/"):
        status, body = get(url, Host="brief-live.localhost")
        assert status == 503
        assert "brief-live" in body


def test_a_port_in_use_is_named_before_anything_starts(docker_client: docker.DockerClient) -> None:
    with tempfile.TemporaryDirectory(prefix="pl-") as folder, socket.socket() as taken:
        one = Service(Path(folder), docker_client.api, CONFIG, {})
        taken.bind(("127.0.0.1", one.ports[3]))
        taken.listen()
        done = one.pushlive("up", code=None)
        one.close()
    assert done.code not in (0, None)
    assert str(one.ports[3]) in done.text
    mine = {"label": f"pushlive.instance={one.instance}"}
    assert not docker_client.api.containers(all=True, filters=mine)


# ── what does not start is not switched to ───────────────────────────────────


def test_fault_26_an_exit_at_start_is_reported_within_seconds(service: Service) -> None:
    said = service.push(web(command="sh -c 'echo no database; exit 7'"), "Exits", "ports")
    assert "exited with code 7" in said
    assert "no database" in said
    (start,) = [step for step in service.run("ports")["steps"] if step["step"] == "start"]
    assert start["seconds"] < 5
    assert service.releases("ports") == {"live": None}


def test_an_application_on_another_port_is_told_which(service: Service) -> None:
    said = service.push(web(port=9090), "Another port", "ports")
    assert "it listens on port 9090, not on 8080" in said
    assert "`port: 9090`" in said


def test_an_application_on_loopback_only_is_told_so(service: Service) -> None:
    said = service.push(web(command="httpd -f -p 127.0.0.1:8080 -h /www"), "Loopback", "ports")
    assert "it listens on 127.0.0.1:8080 only" in said
    assert "Let the application listen on 0.0.0.0:8080" in said


def test_a_release_that_does_not_fit_into_memory_is_refused_before_anything_starts(service: Service) -> None:
    said = service.push(web(), "Too large", "greedy")
    assert "1 × 1000.0 GiB" in said or "1 × 1000 GiB" in said
    assert "do not fit beside" in said
    assert service.containers("greedy") == []


def test_the_old_slot_is_kept_warm_and_then_stopped(service: Service) -> None:
    service.push(web("version 1"), "One", "brief")
    service.push(web("version 2"), "Two", "brief")
    until(lambda: len(service.containers("brief")) == 1, 20)
    (left,) = service.containers("brief")
    assert left["Config"]["Labels"]["pushlive.slot"] == service.environments("brief")["live"]["slot"]
    assert service.page(name="brief") == "version 2\n"


# ── nobody notices ───────────────────────────────────────────────────────────


def test_fault_30_pushes_reverts_and_a_new_pipeline_lose_no_request(service: Service) -> None:
    load = Load(port(service), release_of, "hello-live.localhost")
    load.kept_alive(3).fresh(2).kept_alive(1, "/cgi-bin/slow.cgi?1").fresh(1, "/cgi-bin/slow.cgi?2")
    with load:
        until(load.reached(20), 20)
        service.push(sample("3"), "Three")  # takes the slot of r1 away from its last requests
        until(load.reached(20), 20)
        service.push(sample("4"), "Four")
        until(load.reached(20), 20)
        service.pushlive("revert", "hello")
        service.config.write_text(CONFIG + NEWCOMER)
        service.push(web("the newcomer"), "New", "newcomer")
        until(load.reached(20), 20)
        service.pushlive("resume", "hello")
    assert load.failures == []
    assert {"r2", "r3", "r4"} <= set(load.answers)
    assert service.page(name="newcomer") == "the newcomer\n"


def test_fault_39_a_live_container_removed_by_hand_is_found_and_restored(service: Service) -> None:
    before = active(service)
    service.engine.remove_container(before[0]["Id"], force=True)
    assert service.page(path="/?text")  # the other replica answers
    until(lambda: [one["State"]["Status"] for one in active(service)] == ["running"] * 2, 20)


def test_fault_46_after_a_reboot_no_answer_comes_from_another_environment(service: Service) -> None:
    service.push(sample("1"), "Other", "other")
    wanted = {
        port(service): "one",
        port(service, "dev"): "two",
        port(service, name="other"): "three",
    }
    service.end()
    mine = {"label": f"pushlive.instance={service.instance}"}
    names = sorted(one["Names"][0][1:] for one in service.engine.containers(filters=mine))
    over, answers, misrouted = threading.Event(), Counter[str](), []

    def keep_asking() -> None:
        while not over.wait(0.005):
            for number, greeting in wanted.items():
                try:
                    status, body = get(f"http://127.0.0.1:{number}/?text")
                except OSError:
                    continue
                if status == 200:
                    answers[greeting] += 1
                    if environment_of(body) != greeting:
                        misrouted.append(f"{greeting}: {body}")

    asking = threading.Thread(target=keep_asking)
    for name in names:
        service.engine.stop(name, timeout=1)
    asking.start()
    try:
        for name in reversed(names):
            service.engine.start(name)
        service.up()
        before = answers.copy()
        until(lambda: all(answers[one] > before[one] + 20 for one in wanted.values()), 30)
    finally:
        over.set()
        asking.join()
    assert misrouted == []
