"""A release that passed its checks and stops working: `status`, `doctor` and a notification say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import docker
from tests.support.developer import web
from tests.support.ports import free_ports
from tests.support.receiver import OK, PATH, Receiver, receiver, says
from tests.support.service import Service, get, running
from tests.support.waiting import until

PORT = free_ports(1)
CONFIG = f"""
notify: [{{url: 'http://127.0.0.1:{PORT}{PATH}'}}]
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s, liveness: {{restart: 20s}}}}
    environments: {{live: {{bake: 0}}}}
  pair:
    service: {{memory: 128MiB, stop: 1s, health: /healthz, replicas: 2}}
    environments: {{live: {{bake: 0}}}}
  hungry:
    service: {{memory: 128MiB, stop: 1s}}
    environments: {{live: {{bake: 0}}}}
  trial:
    service: {{memory: 128MiB, stop: 1s}}
    environments: {{live: {{bake: 5m}}}}
"""
# It serves until a file appears; then it exits a second after each start, or fills its memory.
LOOPS = (
    "httpd -p 0.0.0.0:8080 -h /www; while [ ! -e /crash ]; do sleep 0.1; done; sleep 1; echo lost it; "
    "[ -e /fill ] && exec tail /dev/zero; exit 3"
)

# The Engine may not hear of the reason on a busy machine.
MEMORY = r"ran out of memory and was killed|was killed \(exit code 137\), by .* memory limit"

# Once the queue of connections that a hung application does not accept is full, that is what the checks meet.
SILENT = r"(GET \S+ got no answer within 5 s|it accepts no connections)"


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def health(service: Service, name: str = "hello") -> dict[str, Any]:
    found: dict[str, Any] = service.environments(name)["live"]["health"]
    return found


def let_it_crash(client: docker.DockerClient, containers: list[dict[str, str]], how: str = "") -> None:
    for one in containers:
        client.containers.get(one["Id"]).exec_run(f"touch {how} /crash")


def events(one: Receiver) -> list[object]:
    return [body["event"] for body in one.bodies()]


def test_a_release_that_crash_loops_after_its_checks_is_said_to_be_down(
    service: Service, docker_client: docker.DockerClient
) -> None:
    with receiver(says(OK), PORT) as told:
        service.push(web("version 1", command=LOOPS), "The good one")
        service.push(web("version 2", command=LOOPS), "The bad one")
        until(lambda: (health(service) or {}).get("state") == "up", 30)
        let_it_crash(docker_client, service.containers(release="2"))
        until(lambda: health(service)["state"] == "down", 60)
        status = service.pushlive("status").out
        assert "✗ live: r2 is down since " in status
        assert "restarted" in status
        assert "pushlive logs hello --app --env live" in status
        doctor = service.pushlive("doctor", code=1).out
        [line] = [line for line in doctor.splitlines() if "r2 is down since " in line]
        assert line.startswith("✗ hello/live")
        assert "exited with code 3" in line
        for wrong in ("docker rm", "within seconds", "has the address"):
            assert wrong not in doctor
        assert "`pushlive revert hello --env live --to r1` goes back." in doctor
        assert "lost it" in service.pushlive("logs", "hello", "--app", "--env", "live").out
        until(lambda: "down" in events(told), 30)
        service.pushlive("revert", "hello", "--env", "live", "--reason", "r2 crashes")
        until(lambda: "up" in events(told), 30)
        assert service.page() == "version 1\n"
        assert [event for event in events(told) if event in ("down", "up")] == ["down", "up"]
        assert health(service)["state"] == "up"


def test_a_warm_release_that_runs_out_of_memory_is_not_ready_for_a_revert(
    service: Service, docker_client: docker.DockerClient
) -> None:
    service.pushlive("resume", "hello", "--env", "live")
    service.push(web("version 3"), "The next one")
    assert service.environments()["live"]["revert"]["how"] == "warm"
    let_it_crash(docker_client, service.containers(release="1"), how="/fill")
    until(lambda: not service.environments()["live"]["revert"]["ready"], 60)
    status = service.pushlive("status").out
    assert "not ready: r1 is warm, but does not work (" in status
    assert re.search(MEMORY, status), status
    assert health(service)["state"] == "up"
    assert "✓ hello/live" in service.pushlive("doctor").out


def test_a_release_that_runs_out_of_memory_while_it_serves_is_said_to_be_down_for_that(
    service: Service, docker_client: docker.DockerClient
) -> None:
    with receiver(says(OK), PORT) as told:
        service.push(web("version 1", command=LOOPS), "It leaks", name="hungry")
        until(lambda: (health(service, "hungry") or {}).get("state") == "up", 30)
        let_it_crash(docker_client, service.containers("hungry"), how="/fill")
        until(lambda: health(service, "hungry")["state"] == "down", 60)
        for said in (service.pushlive("status").out, service.pushlive("doctor", code=1).out):
            [line] = [line for line in said.splitlines() if "r1 is down since " in line]
            assert re.search(MEMORY, line), line
        key = 'environment="live",pipeline="hungry"'
        assert scraped(service)[f"pushlive_environment_down{{{key}}}"] == 1
        memory = f"pushlive_environment_out_of_memory{{{key}}}"
        until(lambda: scraped(service)[memory] == ("ran out" in health(service, "hungry")["text"]), 30)
        until(lambda: "down" in events(told), 30)
        [down] = [body for body in told.bodies() if body["event"] == "down"]
        assert re.search(MEMORY, str(down["text"])), down
        service.push(web("version 2"), "It leaks no more", name="hungry")
        until(lambda: "up" in events(told), 30)
        assert health(service, "hungry")["text"] == ""
        assert scraped(service)[memory] == 0


def scraped(service: Service) -> dict[str, float]:
    """Each sample of ``/metrics`` by its name and labels."""
    status, text = get(f"http://{service.listen}/metrics", Authorization=f"Bearer {service.token}")
    assert status == 200, text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_fault_57_a_replica_that_never_answers_is_shown_and_so_is_an_application_that_hangs(
    service: Service, docker_client: docker.DockerClient
) -> None:
    service.push(web(**{"www/healthz": "ok"}), "Two replicas", name="pair")
    until(lambda: (health(service, "pair") or {}).get("state") == "up", 30)
    names = [one["Name"][1:] for one in service.containers("pair")]

    def signal(name: str, word: str) -> None:
        assert (
            docker_client.containers.get(name)
            .exec_run(["sh", "-c", f"kill -{word} $(pidof httpd)"])
            .exit_code
            == 0
        )

    signal(names[0], "STOP")
    until(lambda: health(service, "pair")["state"] == "degraded", 40)
    found = f"{names[0]}: {SILENT}"
    assert re.search(
        f"! live: r1: only 1 of 2 replicas serves; {found}; since ", service.pushlive("status").out
    )
    assert re.search(found, service.pushlive("doctor", code=1).out)
    assert {service.page(name="pair") for _ in range(32)} == {"version 1\n"}
    signal(names[1], "STOP")
    until(lambda: health(service, "pair")["state"] == "down", 60)
    text = health(service, "pair")["text"]
    assert re.search(rf"{SILENT}\. Requests are tried there all the same\.$", text), text
    for name in names:
        signal(name, "CONT")
    until(lambda: health(service, "pair")["serving"] == 2, 40)
    assert service.page(name="pair") == "version 1\n"


def test_fault_65_a_release_that_hangs_after_its_checks_is_said_to_be_down_and_started_again(
    service: Service, docker_client: docker.DockerClient
) -> None:
    (serving,) = service.containers(release="3")
    docker_client.containers.get(serving["Id"]).exec_run("killall -STOP httpd")
    until(lambda: health(service)["state"] == "down", 90)
    assert "r3 is down since " in service.pushlive("status").out
    doctor = service.pushlive("doctor", code=1).out
    [line] = [line for line in doctor.splitlines() if "r3 is down since " in line]
    assert re.search(SILENT, line), line
    assert health(service)["restarts"] == 0
    until(lambda: health(service)["revived"] == 1 and health(service)["serving"] == 1, 90)
    assert service.page() == "version 3\n"
    assert "did not answer and was started again once" in service.pushlive("status").out
    [same] = service.containers(release="3")
    assert same["Id"] == serving["Id"]


def test_fault_62_a_release_that_crash_loops_soon_after_its_switch_is_taken_back(
    service: Service, docker_client: docker.DockerClient
) -> None:
    service.push(web("version 1"), "The good one", name="trial")
    said = service.push(web("version 2", command=LOOPS), "The bad one", name="trial")
    assert "is live" in said
    until(lambda: (health(service, "trial") or {}).get("state") == "up", 30)
    assert "r2 is watched: " in service.pushlive("status", "trial").out
    let_it_crash(docker_client, service.containers("trial", release="2"))
    until(lambda: service.releases("trial")["live"] == 1, 90)
    status = service.pushlive("status", "trial").out
    why = r"live is held: r2 failed .* after its switch: .*exited with code 3; .*restarted.* \(bake\)"
    assert re.search(why, status), status
    shown = service.pushlive("show", "trial#2").out
    assert "live: r2 was taken back by trial#3: r2 failed " in shown
    until(lambda: service.page(name="trial") == "version 1\n", 10)
    audit = service.pushlive("audit", "trial").out
    assert re.search(r"bake.*revert.*trial#3", audit), audit

    def states() -> set[str]:
        return {one["state"] for one in service.environments("trial")["live"]["slots"].values()}

    until(lambda: states() == {"serving", "failed"}, 90)  # it does not crash on while its slot is kept
    until(
        lambda: {one["State"]["Status"] for one in service.containers("trial", release="2")} == {"exited"},
        30,
    )
