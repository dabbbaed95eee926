"""Failures in a slot are reported precisely and soon, and do not affect traffic."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

import docker
from pipeline.adapters.docker import diagnosis
from pipeline.adapters.docker.containers import network_body
from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.loading import LONGEST_TEXT
from pipeline.config.settings import Settings
from pipeline.deploy.last_lines import advice_of
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import AppFailed, EngineFailed, OutcomeUnknown, TimedOut
from pipeline.ports.clock import SystemClock
from tests.conftest import Bench
from tests.support.waiting import PATIENCE

HTTPD = "httpd -f -h /www -p"


def fails(bench: Bench, spec: SlotSpec, watch: float = 30.0) -> tuple[AppFailed, float]:
    """The error with which the slot fails to become ready, and the seconds until it was raised."""
    bench.engine.prepare(spec.ref, ())
    began = time.monotonic()
    with pytest.raises(AppFailed) as raised:
        bring_up(bench, spec, watch)
    return raised.value, time.monotonic() - began


def bring_up(bench: Bench, spec: SlotSpec, watch: float = 30.0) -> None:
    bench.engine.start(spec, bench.watch())
    bench.engine.ready(spec, bench.events.append, bench.watch(watch))


def shell(*lines: str) -> tuple[str, ...]:
    return ("sh", "-c", "; ".join(lines))


def test_fault_26_an_exit_at_start_is_reported_within_seconds(bench: Bench) -> None:
    error, seconds = fails(bench, bench.spec(command=shell("echo no database >&2", "exit 3")))
    assert "exited with code 3" in str(error)
    assert error.evidence == ("exit code 3", "no database")
    assert seconds < 4 * PATIENCE


def test_fault_26_one_of_two_replicas_that_exits_is_enough(bench: Bench) -> None:
    second = "ip -4 addr show eth0 | sed -n 's/.*inet [0-9.]*[.]\\([0-9]*\\).*/\\1/p'"
    lines = (f"[ $(( $({second}) % 32 )) != 3 ] || {{ sleep 0.3; exit 9; }}", f"exec {HTTPD} 8080")
    error, _ = fails(bench, bench.spec(command=shell(*lines), replicas=2))
    assert "live-blue-r1-2" in str(error)
    assert "code 9" in str(error)


def test_fault_26_too_little_memory_is_named(bench: Bench) -> None:
    error, _ = fails(
        bench, bench.spec(command=shell("dd if=/dev/zero of=/dev/null bs=200M"), memory=16 << 20)
    )
    assert "it was killed" in str(error)
    assert "(exit code 137)" in str(error)
    assert "aise `memory` in pipelines.yaml" in error.advice


def test_too_many_processes_are_named_with_the_key_of_their_limit(bench: Bench) -> None:
    spawn = "for one in $(seq 60); do sleep 9 & done"
    error, _ = fails(bench, bench.spec(command=shell(spawn, "exit 1"), pids=40))
    assert "raise `pids`" in advice_of(error.evidence), error.evidence


def test_the_longest_variable_that_check_lets_pass_reaches_the_application(bench: Bench) -> None:
    for more, code in (0, 5), (1, None):
        command = shell("exit $((${#X} % 7))")
        value = "x" * (LONGEST_TEXT - len("X=") - 1 + more)
        error, _ = fails(bench, bench.spec(command=command, env={"X": value}))
        assert (f"exited with code {len(value) % 7}" in str(error)) == (code is not None), error


def test_a_command_is_process_1_only_without_init(bench: Bench) -> None:
    command = shell("[ $$ = 1 ] || exit 7", f"exec {HTTPD} 8080")
    error, _ = fails(bench, bench.spec(command=command))
    assert "exited with code 7" in str(error)
    spec = bench.spec(command=command, init=False, health="/")
    bench.engine.start(spec, bench.watch())
    assert bench.engine.replicas(spec.ref)[0].state == "running"
    (replica,) = bench.engine.ready(spec, print, bench.watch())
    assert replica.state == "running"


def test_fault_26_a_command_that_cannot_be_executed_is_named(bench: Bench) -> None:
    error, _ = fails(bench, bench.spec(command=("/no/such/program",)))
    assert "cannot be executed" in str(error) or "exited with code 127" in str(error)
    assert "/no/such/program" in " ".join(error.evidence)


def test_an_application_on_another_port_is_explained(bench: Bench) -> None:
    error, seconds = fails(bench, bench.spec(command=shell(f"{HTTPD} 9090")), watch=2.0)
    assert "listens on port 9090, not on 8080" in str(error)
    assert "`port: 9090`" in error.advice
    assert seconds < 5 * PATIENCE


def test_an_application_that_settles_on_another_port_fails_before_the_deadline(bench: Bench) -> None:
    error, seconds = fails(bench, bench.spec(command=shell(f"{HTTPD} 9090"), ready=60.0), watch=60)
    assert "listens on port 9090" in str(error)
    assert seconds < 15 * PATIENCE


def test_an_application_on_a_loopback_address_only_is_explained(bench: Bench) -> None:
    error, _ = fails(bench, bench.spec(command=shell(f"{HTTPD} 127.0.0.1:8080")), watch=2.0)
    assert "127.0.0.1:8080 only" in str(error)
    assert "0.0.0.0:8080" in error.advice


def test_an_application_on_ipv6_alone_is_explained_before_the_deadline(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    page = "frontend f\\n bind [::]:8080 v6only\\n mode http\\n timeout client 5s\\n http-request return status 200\\n"
    command = shell(f"printf '{page}' >/tmp/h.cfg", "exec haproxy -db -f /tmp/h.cfg")
    image = docker_client.images.get(settings.proxy_image).id
    spec = replace(bench.spec(command=command, memory=128 << 20, ready=60.0), image=image)
    error, seconds = fails(bench, spec, watch=60)
    assert "it listens on port 8080 over IPv6 alone" in error.message
    assert error.advice == "Let the application listen on 0.0.0.0:8080."
    assert seconds < 20 * PATIENCE


def test_an_application_that_listens_on_no_port_is_explained(bench: Bench) -> None:
    error, _ = fails(bench, bench.spec(command=shell("echo thinking", "sleep 60"), ready=1.0))
    assert "listens on no port at all" in str(error)
    assert "thinking" in error.evidence


def test_the_status_of_an_unhealthy_application_is_in_the_error(bench: Bench) -> None:
    error, _ = fails(bench, bench.spec(health="/nothing/here", ready=1.0))
    assert "GET /nothing/here answered 404" in str(error)


def test_the_diagnosis_needs_no_access_to_the_processes(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    spec = bench.spec(command=shell(f"{HTTPD} 9090"))
    bench.engine.prepare(spec.ref, ())
    bench.engine.start(spec, bench.watch())
    api = DockerApi(lambda: docker_client)
    found = api.container(bench.engine.replicas(spec.ref)[0].name)
    assert found
    from_helper = diagnosis._from_helper(api, settings, found["Id"])
    assert any(one.port == 9090 and not one.loopback for one in diagnosis.listeners(from_helper))
    assert diagnosis.listeners(from_helper) == diagnosis.listeners(diagnosis._from_proc(found))


def test_fault_31_a_process_that_ignores_sigterm_is_killed_in_time(bench: Bench) -> None:
    spec = bench.spec(
        command=shell("trap '' TERM", f"({HTTPD} 8080 &)", "while :; do sleep 1; done"), stop=1.0
    )
    bench.engine.prepare(spec.ref, ())
    bench.engine.start(spec, bench.watch())
    bench.engine.ready(spec, bench.events.append, bench.watch())
    began = time.monotonic()
    bench.engine.stop(spec.ref)
    assert 0.9 < time.monotonic() - began < 4 * PATIENCE
    assert bench.engine.replicas(spec.ref) == ()


def test_fault_32_a_network_that_is_not_ours_is_a_clear_error(
    bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    name = network_body(settings, bench.ref())["Name"]
    foreign = docker_client.networks.create(name, labels={"pushlive.instance": "somebody else"})
    try:
        with pytest.raises(EngineFailed, match="another owner"):
            bench.engine.prepare(bench.ref(), ())
    finally:
        foreign.remove()


def test_fault_32_addresses_in_use_are_named(
    bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    body = network_body(settings, bench.ref())
    pool = docker.types.IPAMPool(subnet=body["IPAM"]["Config"][0]["Subnet"])
    ipam = docker.types.IPAMConfig(pool_configs=[pool])
    foreign = docker_client.networks.create(f"{settings.instance}-foreign", ipam=ipam)
    try:
        with pytest.raises(EngineFailed, match="PUSHLIVE_SUBNETS"):
            bench.engine.prepare(bench.ref(), ())
    finally:
        foreign.remove()


def test_fault_32_a_container_name_in_use_is_a_clear_error(
    bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    spec = bench.spec()
    bench.engine.prepare(spec.ref, ())
    name = f"{settings.instance}-{bench.name}-live-blue-r1-1"
    foreign = docker_client.api.create_container(bench.image, name=name)
    try:
        with pytest.raises(EngineFailed, match=name):
            bench.engine.start(spec, bench.watch())
    finally:
        docker_client.api.remove_container(foreign["Id"])


def test_fault_36_a_missing_image_is_reported_before_anything_starts(bench: Bench) -> None:
    spec = replace(bench.spec(), image="sha256:" + "0" * 64)
    bench.engine.prepare(spec.ref, ())
    with pytest.raises(EngineFailed, match="not on this machine"):
        bench.engine.start(spec, bench.watch())


def test_fault_33_a_command_removed_in_the_middle_has_an_unknown_outcome(
    bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    spec = bench.spec()
    bench.engine.prepare(spec.ref, ())
    with pytest.raises(TimedOut):
        command(bench, spec, 0.6, "sleep 20")
    name = f"{settings.instance}-{bench.name}-live-blue-r1-command-migrate"
    events: list[object] = []

    def remove(event: object) -> None:
        events.append(event)
        docker_client.api.remove_container(name, force=True)

    docker_client.api.remove_container(name, force=True)
    with pytest.raises(OutcomeUnknown):
        bench.engine.command(spec, "migrate", shell("echo begun", "sleep 20"), {}, remove, bench.watch())
    assert len(events) == 1


def test_fault_33_a_command_is_awaited_by_the_next_call(bench: Bench) -> None:
    spec = bench.spec()
    bench.engine.prepare(spec.ref, ())
    with pytest.raises(TimedOut):
        command(bench, spec, 0.6, "sleep 2; echo done; exit 5")
    began = time.monotonic()
    result = command(bench, spec, 10, "echo never run")
    assert (result.exit_code, result.output) == (5, "done\n")
    assert time.monotonic() - began < 4 * PATIENCE


def command(bench: Bench, spec: SlotSpec, seconds: float, *lines: str):
    return bench.engine.command(spec, "migrate", shell(*lines), {}, bench.events.append, bench.watch(seconds))


def test_two_environments_with_the_same_joined_name_are_kept_apart(
    bench: Bench, engine: DockerEngine
) -> None:
    bench.engine.prepare(bench.ref(), ())
    twin = SlotRef(bench.name, "live", bench.index + 1, "blue")
    with pytest.raises(EngineFailed, match="is served by"):
        engine.prepare(twin, ())


def test_an_engine_that_does_not_answer_is_named(bench: Bench, settings: Settings) -> None:
    def nowhere() -> docker.DockerClient:
        return docker.DockerClient(base_url="tcp://127.0.0.1:1", version="1.41")

    lost = DockerEngine(nowhere, bench.engine._proxy, settings, HttpProbe(), SystemClock())
    with pytest.raises(Exception, match="Docker") as raised:
        lost.replicas(bench.ref())
    assert type(raised.value).__name__ in ("TryAgain", "EngineFailed")


def test_fault_23_a_container_that_was_stopped_is_told_from_one_that_died(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    """Docker restarts one that died by itself; one that was stopped, as together with the daemon, says nothing against
    the application."""
    spec = bench.spec()
    bench.engine.prepare(spec.ref, ())
    bring_up(bench, spec)
    (one,) = bench.engine.replicas(spec.ref)
    assert not one.stopped
    docker_client.api.stop(one.name, timeout=0)
    (one,) = bench.engine.replicas(spec.ref)
    assert (one.state, one.stopped) == ("exited", True)
    docker_client.api.start(one.name)
    (one,) = bench.engine.replicas(spec.ref)
    assert (one.state, one.stopped) == ("running", False)


def test_a_container_that_ended_by_itself_before_it_was_ready_was_not_stopped(bench: Bench) -> None:
    spec = bench.spec(command=shell("exit 3"))
    fails(bench, spec)
    (one,) = bench.engine.replicas(spec.ref)
    assert (one.state, one.exit_code, one.stopped) == ("exited", 3, False)
