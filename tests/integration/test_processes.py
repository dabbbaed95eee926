"""Processes beside the web one, on the real Engine."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

import docker
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, DoesNotFit, RequestError
from pipeline.ports.scheduled import Job
from tests.conftest import Bench
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

WORK = "trap 'echo over; exit 0' TERM; echo at work; while :; do sleep 0.1; done"
WORKER = {"command": ("sh", "-c", WORK), "stop": 5.0, "settle": 0.2}


def states(bench: Bench) -> dict[str, str]:
    """The state of each process container, by the end of its name."""
    return {one.name.partition("live-")[2]: one.state for one in bench.engine.processes(bench.ref())}


def at_work(bench: Bench, spec: SlotSpec) -> None:
    bench.engine.start_processes(spec, bench.watch())
    bench.engine.processes_ready(spec, bench.events.append, bench.watch())


def test_a_slot_s_processes_have_its_settings_and_places_after_its_web_replicas(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    spec = bench.spec(replicas=2, env={"A": "b"}, processes={"worker": {**WORKER, "replicas": 2}})
    bench.deploy(spec)
    assert bench.engine.missing_processes(spec) == tuple(
        f"{name} is missing"
        for name in (name_of(bench, "blue-r1-worker-1"), name_of(bench, "blue-r1-worker-2"))
    )
    at_work(bench, spec)
    assert states(bench) == {"blue-r1-worker-1": "running", "blue-r1-worker-2": "running"}
    assert bench.engine.missing_processes(spec) == ()
    assert len(bench.engine.replicas(spec.ref)) == 2  # they are none of the web replicas
    found = docker_client.api.inspect_container(name_of(bench, "blue-r1-worker-2"))
    assert "A=b" in found["Config"]["Env"]
    assert found["HostConfig"]["Memory"] == 128 << 20
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    [network] = found["NetworkSettings"]["Networks"].values()
    assert network["IPAddress"].endswith(address_end(bench, 5))


def address_end(bench: Bench, place: int) -> str:
    return f".{64 * (bench.index % 4) + place}"


def name_of(bench: Bench, end: str) -> str:
    [network] = {one.name.partition("-live-")[0] for one in bench.engine.replicas(bench.ref())}
    return f"{network}-live-{end}"


def test_the_old_ones_end_by_themselves_before_the_new_ones_start(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    blue, green = (
        bench.spec(slot, number, processes={"worker": WORKER}) for slot, number in (("blue", 1), ("green", 2))
    )
    bench.deploy(blue)
    at_work(bench, blue)
    bench.deploy(green)
    with pytest.raises(RequestError, match="blue-r1-worker-1 still runs"):
        bench.engine.start_processes(green, bench.watch())
    bench.engine.stop_processes(blue.ref)
    at_work(bench, green)
    assert states(bench) == {"blue-r1-worker-1": "exited", "green-r2-worker-1": "running"}
    assert bench.engine.process_logs(blue.ref, "worker", 9) == ("at work", "over")
    old, new = (
        docker_client.api.inspect_container(one.name)["State"] for one in bench.engine.processes(bench.ref())
    )
    assert moment(old["FinishedAt"]) <= moment(new["StartedAt"])
    bench.engine.stop(blue.ref)
    assert states(bench) == {"green-r2-worker-1": "running"}


def moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp[:26])


def test_one_that_exits_is_said_with_its_last_lines(bench: Bench) -> None:
    dies = {**WORKER, "command": ("sh", "-c", "echo no queue; exit 3"), "settle": 5.0}
    spec = bench.spec(processes={"worker": dies})
    bench.deploy(spec)
    with pytest.raises(AppFailed, match="worker-1: it exited with code 3") as failed:
        at_work(bench, spec)
    assert failed.value.evidence[-1] == "no queue"


def test_a_ready_command_is_waited_for_and_one_that_never_succeeds_is_said(bench: Bench) -> None:
    late = {**WORKER, "command": ("sh", "-c", f"sleep 0.5; touch /tmp/there; {WORK}")}
    spec = bench.spec(processes={"worker": {**late, "ready": {"run": ("test", "-e", "/tmp/there")}}})
    bench.deploy(spec)
    at_work(bench, spec)
    never = bench.spec(ready=0.5, processes={"worker": {**WORKER, "ready": {"run": ("ls", "/nothing")}}})
    with pytest.raises(AppFailed, match=r"is not ready after .* ls /nothing exited with 1") as failed:
        at_work(bench, never)
    assert any("/nothing" in line for line in failed.value.evidence)


def test_a_killed_one_is_started_by_docker_and_a_removed_one_by_the_keeper(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    spec = bench.spec(processes={"worker": {**WORKER, "replicas": 2}})
    bench.deploy(spec)
    at_work(bench, spec)
    one, two = (found.name for found in bench.engine.processes(bench.ref()))
    pid = docker_client.api.inspect_container(one)["State"]["Pid"]
    docker_client.api.exec_start(docker_client.api.exec_create(one, ["kill", "-9", "-1"])["Id"])
    docker_client.api.remove_container(two, force=True)
    assert bench.engine.missing_processes(spec) == (f"{two} is missing",)
    bench.engine.restore_processes(spec)
    assert bench.engine.missing_processes(spec) == ()
    until(lambda: docker_client.api.inspect_container(one)["State"]["Pid"] not in (0, pid))


def test_processes_need_memory_but_not_beside_those_that_end_first(bench: Bench) -> None:
    half = bench.engine._api.memory() // 2
    blue, green = (
        bench.spec(slot, number, memory=half // 8, processes={"worker": {**WORKER, "replicas": 6}})
        for slot, number in (("blue", 1), ("green", 2))
    )
    bench.deploy(blue)
    at_work(bench, blue)
    bench.engine.fits(green)
    with pytest.raises(DoesNotFit, match="12 × "):
        bench.engine.fits(
            bench.spec("green", 2, memory=half // 4, processes={"worker": {**WORKER, "replicas": 11}})
        )


def test_a_job_runs_once_and_its_output_and_exit_code_are_found(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    spec = bench.spec(env={"WORD": "mail"})
    bench.deploy(spec)
    job, argv = Job("mail", 1_800_000_000), ("sh", "-c", "echo $WORD sent; exit 3")
    for _ in range(2):  # the second one finds it
        bench.engine.start_job(spec, job, argv, bench.watch())
    until(lambda: all(one.exit_code is not None for one in bench.engine.jobs(spec.ref)))
    [found] = bench.engine.jobs(spec.ref)
    assert (found.job, found.release, found.exit_code) == (job, 1, 3)
    assert found.started <= found.ended
    bench.engine.start_job(spec, job, argv, bench.watch())  # a stale keeper's
    assert bench.engine.job_output(spec.ref, job, 9) == ("mail sent",)
    assert bench.engine.processes(spec.ref) == ()
    assert len(bench.engine.replicas(spec.ref)) == 1
    bench.engine.forget_job(spec.ref, job)
    assert bench.engine.jobs(spec.ref) == ()


def test_an_address_that_was_taken_meanwhile_is_passed_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, argv = bench.spec(), ("sleep", "60")
    bench.deploy(spec)
    api = bench.engine._api
    network = api.network
    # As it was before the others started.
    monkeypatch.setattr(api, "network", lambda name: (found := network(name)) and {**found, "Containers": {}})
    for at in (1_800_000_000, 1_800_000_060):
        bench.engine.start_job(spec, Job("mail", at), argv, bench.watch())
    assert [one.exit_code for one in bench.engine.jobs(spec.ref)] == [None, None]
    told: list[Event] = []
    bench.engine.restart_slot(spec, "a1", told.append, bench.watch())
    assert len(told) == 1


def test_a_job_outlives_its_slot_and_one_that_was_only_created_is_started(
    bench: Bench, docker_client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue, green = bench.spec("blue", 1), bench.spec("green", 2)
    bench.deploy(blue)
    job, argv = Job("mail", 1_800_000_060), ("sh", "-c", "trap 'echo over; exit 1' TERM; sleep 60 & wait")
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.adapters.docker.scheduled.start", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.engine.start_job(blue, job, argv, bench.watch())
    assert bench.engine.jobs(blue.ref) == ()
    bench.engine.start_job(blue, job, argv, bench.watch())
    bench.deploy(green)
    bench.engine.stop(blue.ref)
    [found] = bench.engine.jobs(green.ref)
    assert (found.job, found.release, found.exit_code) == (job, 1, None)
    bench.engine.end_job(green.ref, job)
    assert next(one.exit_code for one in bench.engine.jobs(green.ref)) == 1
    assert bench.engine.job_output(green.ref, job, 9) == ("over",)


def killed(*_: object) -> None:
    """Stands for SIGKILL between the creation of a container and its start."""
    raise KeyboardInterrupt


CONFIG = """\
pipelines:
  hello:
    service:
      memory: 128MiB
      stop: 1s
      processes:
        worker: {command: [sh, /work], stop: 5s, settle: 1s}
        mail: {cron: "0 0 29 2 *", zone: Europe/Dublin, command: [echo, sent]}
    environments: {live: {bake: 0}}
  crew:
    service:
      web: false
      memory: 128MiB
      processes: {hand: {command: [sh, /work], stop: 5s, settle: 500ms}}
    environments: {live: {bake: 0}}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def release(version: str, script: str = WORK) -> dict[str, str | None]:
    files = web(version)
    dockerfile = str(files["Dockerfile"]).replace("CMD", "COPY work /work\nCMD")
    return {**files, "Dockerfile": dockerfile, "work": f"{script}\n"}


def workers(service: Service) -> dict[str, str]:
    found: list[Any] = service.engine.containers(
        all=True, filters={"label": [f"pushlive.instance={service.instance}", "pushlive.process=worker"]}
    )
    return {one["Labels"]["pushlive.release"]: one["State"] for one in found}


def test_workers_follow_the_switch_a_failure_and_a_revert(service: Service) -> None:
    service.push(release("one"), "One")
    assert workers(service) == {"1": "running"}
    inside = service.pushlive("exec", "hello", "live", "--process", "worker", "--", "cat", "/proc/1/cmdline")
    assert "/work" in inside.out
    other = service.pushlive("exec", "hello", "live", "--process", "wrk", "--", "id", code=4)
    assert "has no process 'wrk'" in other.err
    assert "It has: worker." in other.err
    copied = service.pushlive(
        "cp", "hello", "live:/work", str(service.folder / "w"), "--process", "wrk", code=4
    )
    assert "has no process 'wrk'" in copied.err
    service.push(release("two"), "Two")
    assert workers(service) == {"1": "exited", "2": "running"}
    said = service.push(release("three", "echo lost its queue; exit 4"), "Three")
    assert "worker-1: it exited with code 4" in said
    assert "lost its queue" in said
    assert service.releases()["live"] == 2
    assert workers(service)["2"] == "running"
    assert workers(service)["3"] == "exited"
    assert service.page() == "two\n"
    service.pushlive("revert", "hello", "--env", "live", "--to", "r1")
    until(lambda: service.releases()["live"] == 1 and workers(service).get("1") == "running", seconds=30)
    assert workers(service)["2"] == "exited"


def test_the_commands_of_the_guide(service: Service) -> None:
    page = (ROOT / "docs" / "guides" / "processes.md").read_text()
    (block,) = re.findall(r"```sh\n(.*?)```", page, re.S)
    cron, status, logs = (shlex.split(line)[1:] for line in block.splitlines())
    until(lambda: "mail" in service.pushlive(*cron).out)
    assert "0 0 29 2 * Europe/Dublin · next" in service.pushlive(*cron).out
    assert "r1" in service.pushlive(*status).out
    assert "at work" in service.pushlive(*logs).out


def test_a_worker_that_restarts_again_and_again_is_said(
    service: Service, docker_client: docker.DockerClient
) -> None:
    def worker() -> dict[str, Any]:
        [entry] = json.loads(service.pushlive("status", "hello", "--json").out)["pipelines"]
        [environment] = entry["environments"]
        [found] = environment["processes"]
        return dict(found)

    until(lambda: worker()["running"] == 1, seconds=30)
    assert "live: worker 1 of 1 · mail has not run yet" in service.pushlive("status", "hello").out
    label = [f"pushlive.instance={service.instance}", "pushlive.process=worker"]
    [name] = [one["Names"][0][1:] for one in service.engine.containers(filters={"label": label})]
    for count in range(1, 4):
        kill = docker_client.api.exec_create(name, ["kill", "-9", "-1"])
        docker_client.api.exec_start(kill["Id"])
        until(lambda: restarted(docker_client, name) == count, seconds=30)  # noqa: B023
    until(lambda: worker()["state"] == "down", seconds=30)
    assert "live: worker: " in (text := service.pushlive("status", "hello").out)
    assert "restarted 3 times  → `pushlive logs hello live --process worker`" in text
    checked = service.pushlive("doctor", code=1).out
    assert "worker of r" in checked
    assert "restarted 3 times." in checked


def restarted(docker_client: docker.DockerClient, name: str) -> int:
    found = docker_client.api.inspect_container(name)
    # One that Docker is about to start again counts as running.
    return int(found["RestartCount"]) if found["State"]["Status"] == "running" else -1


def test_a_pipeline_without_a_web_process_goes_live_is_replaced_and_taken_back(service: Service) -> None:
    def hands() -> dict[str, str]:
        label = [f"pushlive.instance={service.instance}", "pushlive.pipeline=crew"]
        found: list[Any] = service.engine.containers(all=True, filters={"label": label})
        assert all(one["Labels"]["pushlive.process"] == "hand" for one in found)
        return {one["Labels"]["pushlive.release"]: one["State"] for one in found}

    said = service.push(release("one"), "One", "crew")
    assert "no web process" in said, said
    assert hands() == {"1": "running"}
    for number, more in enumerate(((), ("--process", "hand"))):
        copy = service.folder / f"copy-{number}"
        service.pushlive("cp", "crew", "live:/work", str(copy), *more)
        assert copy.read_text() == f"{WORK}\n"
    assert "/work" in service.pushlive("exec", "crew", "live", "--", "cat", "/proc/1/cmdline").out
    service.push(release("two"), "Two", "crew")
    assert hands() == {"1": "exited", "2": "running"}
    said = service.push(release("three", "echo lost its queue; exit 4"), "Three", "crew")
    assert "hand-1: it exited with code 4" in said
    assert hands()["2"] == "running"
    service.pushlive("revert", "crew", "--env", "live", "--to", "r1")
    until(lambda: service.releases("crew")["live"] == 1 and hands().get("1") == "running", seconds=30)
    assert hands()["2"] == "exited"
    again = service.pushlive("restart", "crew", "live").out
    assert "hand-1 was restarted" in again
    assert hands()["1"] == "running"
    assert "no web process" in service.pushlive("status", "crew").out
    assert "has no web process" in service.pushlive("open", "crew", "live", code=None).err
    until(lambda: not service.environments("crew")["live"]["problem"])
