"""After restarts of the proxy or the machine, traffic goes to the right containers."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

import docker
from pipeline.adapters.docker.engine import DockerEngine
from pipeline.adapters.docker_api.labels import INSTANCE
from pipeline.adapters.haproxy import liveness
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Route
from pipeline.errors import EngineAway, TryAgain
from pipeline.ports.clock import SystemClock
from tests.conftest import Bench
from tests.support.load import Load, environment_of
from tests.support.waiting import PATIENCE, until


def pid_of(client: docker.DockerClient, settings: Settings) -> int:
    return int(client.api.inspect_container(f"{settings.instance}-proxy")["State"]["Pid"])


def send(client: docker.DockerClient, settings: Settings, number: int) -> None:
    """Sends the proxy a signal from outside Docker, as the kernel would."""
    os.kill(pid_of(client, settings), number)


def test_fault_34_a_proxy_killed_after_a_switch_comes_back_on_the_new_slot(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    engine, blue, green = bench.engine, bench.spec("blue", 1), bench.spec("green", 2)
    bench.deploy(blue)
    bench.deploy(green)
    before = pid_of(docker_client, settings)
    send(docker_client, settings, signal.SIGKILL)
    # Docker restarts it; the service does nothing
    until(lambda: pid_of(docker_client, settings) not in (0, before))
    answer = ask(engine.public(green))
    assert answer in engine.public(green).expect
    assert engine.serving(green.ref) == "green"
    # the warm slot is still exposed
    assert ask(engine.preview(blue)) in engine.preview(blue).expect


def ask(route: Route) -> str:
    """The server that answers, as soon as one does."""
    end = time.monotonic() + 10
    while True:
        try:
            return HttpProbe().get(route, "/healthz", 2).served_by
        except TryAgain:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_fault_34_a_removed_proxy_is_restored(bench: Bench, proxy: Proxy) -> None:
    spec = bench.spec()
    bench.deploy(spec)
    proxy.stop()
    bench.engine.prepare(spec.ref, ())
    assert ask(bench.engine.public(spec)) in bench.engine.public(spec).expect


def test_fault_34_a_hanging_control_socket_is_given_up_and_used_again(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    engine, blue, green = bench.engine, bench.spec("blue", 1), bench.spec("green", 2)
    bench.deploy(blue)
    engine.start(green, bench.watch())
    engine.ready(green, bench.events.append, bench.watch())
    engine.expose(green)
    send(docker_client, settings, signal.SIGSTOP)
    began = time.monotonic()
    try:
        with pytest.raises(TryAgain, match="socket"):
            engine.switch(green)
        assert time.monotonic() - began < 5 * PATIENCE
    finally:
        send(docker_client, settings, signal.SIGCONT)
    until(lambda: engine.serving(green.ref) in ("blue", "green"))
    engine.switch(green)
    assert ask(engine.public(green)) in engine.public(green).expect


def test_fault_34_a_switch_whose_answer_is_late_is_seen(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    engine, blue, green = bench.engine, bench.spec("blue", 1), bench.spec("green", 2)
    bench.deploy(blue)
    bench.deploy(green)
    send(docker_client, settings, signal.SIGSTOP)
    timer = threading.Timer(1.0, send, (docker_client, settings, signal.SIGCONT))
    timer.start()
    engine.switch(blue)
    timer.join()
    assert engine.serving(blue.ref) == "blue"


def test_fault_54_a_paused_proxy_is_resumed(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient, proxy: Proxy
) -> None:
    engine, spec = bench.engine, bench.spec()
    bench.deploy(spec)
    before, name = pid_of(docker_client, settings), f"{settings.instance}-proxy"
    docker_client.api.pause(name)
    with pytest.raises(EngineAway, match="is paused"):
        proxy.examine()
    assert proxy.repair() == [f"the proxy {name} was paused: it was resumed"]
    assert ask(engine.public(spec)) in engine.public(spec).expect
    docker_client.api.pause(name)
    assert engine.serving(spec.ref) == "blue"  # nothing is asked of a proxy that stays paused
    assert pid_of(docker_client, settings) == before
    assert "answers" in proxy.examine()


def test_fault_54_a_proxy_that_hangs_is_restarted_and_one_that_only_takes_no_commands_is_not(
    bench: Bench,
    settings: Settings,
    docker_client: docker.DockerClient,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, spec = bench.engine, bench.spec()
    bench.deploy(spec)
    before = pid_of(docker_client, settings)
    monkeypatch.setattr(liveness, "SILENT", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(Control, "answers", lambda _: False)
        with pytest.raises(EngineAway, match="control socket"):
            proxy.repair(by_hand=True)
    assert pid_of(docker_client, settings) == before
    send(docker_client, settings, signal.SIGSTOP)
    with pytest.raises(EngineAway, match="neither commands nor requests"):
        proxy.repair()
    assert "was restarted" in " ".join(proxy.repair())
    assert pid_of(docker_client, settings) not in (0, before)
    assert ask(engine.public(spec)) in engine.public(spec).expect


def test_fault_46_after_a_reboot_no_request_reaches_another_environment(
    engine: DockerEngine,
    app_image: str,
    settings: Settings,
    docker_client: docker.DockerClient,
    proxy: Proxy,
) -> None:
    count = 4
    benches = [Bench(engine, app_image, f"reboot{n}", 20 + n) for n in range(count)]
    specs = [one.spec("blue", n + 1, env={"GREETING": one.name}) for n, one in enumerate(benches)]
    try:
        for one, spec in zip(benches, specs, strict=True):
            one.deploy(spec)
        loads = [Load(settings.port_range[one.index], environment_of).fresh(1) for one in benches]
        for load in loads:
            load.__enter__()
        reboot(docker_client, settings)
        proxy.ensure()
        for one in benches:
            until(lambda one=one: ask(engine.public(one.spec())))
        for load in loads:
            until(lambda load=load: load.answers.total() > 30, 30)
            load.__exit__()
        for one, load in zip(benches, loads, strict=True):
            assert set(load.answers) == {one.name}
        for spec in specs:
            assert engine.restore(spec) is False
    finally:
        for one in benches:
            engine.remove(one.ref())


def reboot(client: docker.DockerClient, settings: Settings) -> None:
    """Stops every container of the instance and starts them in reverse order, as Docker may after a reboot."""
    mine = {"label": f"{INSTANCE}={settings.instance}"}
    ids = [one["Id"] for one in client.api.containers(filters=mine)]
    for one in ids:
        client.api.stop(one, timeout=1)
    for one in reversed(ids):
        client.api.start(one)


def test_fault_51_a_proxy_whose_folder_was_moved_away_still_tells_its_routes(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient, proxy: Proxy, tmp_path: Path
) -> None:
    bench.deploy(bench.spec("blue", 1))
    before, pid = proxy.routes(bench.index), pid_of(docker_client, settings)
    assert before is not None
    assert before.active == "blue"
    elsewhere = settings.model_copy(
        update={"data": tmp_path}
    )  # the data folder is lost, and a new one is empty
    again = Proxy(lambda: docker_client, elsewhere, SystemClock())
    assert again.routes(bench.index) == before
    assert (tmp_path / "proxy" / "state.json").exists()
    assert pid_of(docker_client, settings) == pid  # it serves as before
