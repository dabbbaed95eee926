"""What sleeps is woken by requests, in the real proxy and on the real Engine."""

from __future__ import annotations

import http.client
import shlex
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import docker
from pipeline.adapters.haproxy.files import drops_to
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import AppFailed
from pipeline.lib.sockets import listening
from tests.conftest import Bench
from tests.integration.test_in_turn import COUNTS
from tests.support.developer import web
from tests.support.load import Load
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until
from workers.waker import SOCKET

CLIENTS = 20
BROWSER = {"Accept": "text/html,application/xhtml+xml"}


def ask(
    port: int, method: str = "GET", path: str = "/?text", body: bytes = b"", **headers: str
) -> tuple[int, str, str]:
    """The status, the header Retry-After, and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body=body or None, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers.get("Retry-After", ""), answer.read().decode()
    connection.close()
    return found


def to_sleep(bench: Bench, spec: SlotSpec, seconds: float = 30.0) -> None:
    bench.engine.await_request(spec.ref, seconds)
    assert bench.engine.drain(spec.ref, 5, bench.watch()) == 0
    bench.engine.end_sleeping(spec)
    assert bench.engine.still_awake(spec) == ()


@contextmanager
def service(
    bench: Bench, settings: Settings, spec: SlotSpec, told: list[bytes], *, wakes: bool = True
) -> Iterator[None]:
    """What hears of requests, and wakes at the first."""
    over = threading.Event()

    def wake() -> None:
        bench.engine.wake(spec, bench.watch())
        bench.engine.switch(spec)

    def loop() -> None:
        with listening(settings.data / "proxy", SOCKET, drops_to(settings)) as server:
            server.settimeout(0.1)
            heard.set()
            while not over.is_set():
                try:
                    one, _ = server.accept()
                except TimeoutError:
                    continue
                with one:
                    told.append(one.recv(16))
                    one.sendall(b"ok\n")
                if wakes and len(told) == 1:
                    threading.Thread(target=wake, daemon=True).start()

    heard = threading.Event()
    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    heard.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join(10)


def test_many_first_requests_wake_it_once_and_none_fails(bench: Bench, settings: Settings) -> None:
    engine, spec = bench.engine, bench.spec(command=COUNTS)
    bench.deploy(spec)
    port, told = settings.port_range[bench.index], list[bytes]()
    before = [one.name for one in engine.replicas(spec.ref)]
    mark = engine.activity(spec.ref)
    to_sleep(bench, spec)
    answers: Counter[str] = Counter()

    def client(number: int) -> None:
        if number % 2:
            answers[ask(port, "POST", "/cgi-bin/count.cgi", b"x" * (1 << 18))[2].strip()] += 1
        else:
            answers[str(ask(port)[0])] += 1

    with service(bench, settings, spec, told):
        clients = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(CLIENTS)]
        for one in clients:
            one.start()
        for one in clients:
            one.join(60)
    assert answers == {"200": CLIENTS // 2, str(1 << 18): CLIENTS // 2}
    assert set(told) == {b"e%d\n" % bench.index}
    assert len(told) < CLIENTS / 2, "each of them told it"
    assert engine.serving(spec.ref) == spec.ref.slot
    assert [one.name for one in engine.replicas(spec.ref)] == before
    assert engine.activity(spec.ref) != mark


def test_a_browser_gets_a_page_and_others_a_time_when_to_come_again(bench: Bench, settings: Settings) -> None:
    spec, port = bench.spec(), settings.port_range[bench.index]
    bench.deploy(spec)
    to_sleep(bench, spec, 4.0)
    with service(bench, settings, spec, [], wakes=False):
        status, again, body = ask(port, **BROWSER)
        assert (status, again) == (503, "2")
        assert '<meta http-equiv="refresh" content="2">' in body
        assert "is being woken" in body
        status, again, body = ask(port, "POST", "/", b"a", **BROWSER)
        assert (status, again) == (503, "5")
        assert "takes longer than requests may wait" in body


def test_without_the_service_it_says_so_at_once(bench: Bench, settings: Settings) -> None:
    spec, port = bench.spec(), settings.port_range[bench.index]
    bench.deploy(spec)
    to_sleep(bench, spec)
    status, again, body = ask(port)
    assert (status, again) == (503, "30")
    assert "the service that wakes it does not run" in body
    status, again, body = ask(port, **BROWSER)
    assert (status, again) == (503, "10")
    assert "the service that wakes it does not run" in body
    with service(bench, settings, spec, []):
        assert ask(port)[0] == 200


def test_a_connection_that_is_open_is_activity(bench: Bench, settings: Settings) -> None:
    engine, spec = bench.engine, bench.spec()
    bench.deploy(spec)
    first = engine.activity(spec.ref)
    assert engine.activity(spec.ref) == first
    port = settings.port_range[bench.index]
    one = threading.Thread(target=ask, args=(port, "GET", "/cgi-bin/slow.cgi?2"), daemon=True)
    one.start()
    until(lambda: (found := engine.activity(spec.ref)) is not None and found.open == 1, 20)
    one.join(20)
    assert first is not None
    assert (found := engine.activity(spec.ref)) is not None
    assert found.mark != first.mark


def test_what_was_removed_while_it_slept_is_made_again(
    bench: Bench, settings: Settings, docker_client: docker.DockerClient
) -> None:
    engine, spec = bench.engine, bench.spec()
    bench.deploy(spec)
    to_sleep(bench, spec)
    for one in engine.replicas(spec.ref):
        docker_client.containers.get(one.name).remove(force=True)
    engine.wake(spec, bench.watch())
    engine.switch(spec)
    assert ask(settings.port_range[bench.index])[0] == 200


def test_what_ends_while_it_is_woken_is_not_waited_for(bench: Bench) -> None:
    once = "test -e /tmp/again && exit 3; touch /tmp/again; exec httpd -f -p 0.0.0.0:8080 -h /www"
    spec = bench.spec(command=("sh", "-c", once))
    bench.deploy(spec)
    to_sleep(bench, spec)
    with pytest.raises(AppFailed, match="it exited with code 3"):
        bench.engine.wake(spec, bench.watch())


CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s, drain: 5s, health: /, processes: {work: {command: [sleep, "1d"], stop: 0}}}
    environments: {dev: {sleep_after: 1m}, live: {bake: 0}}
"""


@pytest.fixture(scope="module")
def whole(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        one.push(web("one"), "One")
        yield one


def port_of(whole: Service) -> int:
    return int(whole.environments()["dev"]["url"].rpartition(":")[2])


def running_in_dev(whole: Service) -> int:
    labels = [f"pushlive.instance={whole.instance}", "pushlive.environment=dev"]
    return len(whole.engine.containers(filters={"label": labels}))


def test_a_whole_service_sleeps_and_wakes_with_twenty_clients_at_once(whole: Service) -> None:
    until(lambda: running_in_dev(whole) == 2, 30)
    for line in commands_of("sleeping"):
        whole.pushlive(*line)
    assert running_in_dev(whole) == 2
    port = port_of(whole)
    with Load(port, str.strip, pause=0.01).fresh(4, "/") as load:
        until(load.reached(20), 20)
        whole.pushlive("sleep", "hello", "dev")
        until(load.reached(40), 60)
    assert load.failures == [], "requests that came while it fell asleep woke it again"
    until(lambda: not whole.environments()["dev"]["asleep"], 30)
    whole.pushlive("sleep", "hello", "dev")
    assert running_in_dev(whole) == 0
    assert "asleep" in whole.pushlive("status", "hello").out
    answers = list[int]()
    clients = [
        threading.Thread(target=lambda: answers.append(ask(port, path="/")[0])) for _ in range(CLIENTS)
    ]
    for one in clients:
        one.start()
    for one in clients:
        one.join(60)
    assert answers == [200] * CLIENTS
    until(lambda: running_in_dev(whole) == 2, 30)
    assert whole.environments()["dev"]["asleep"] is None


def test_a_service_that_was_killed_wakes_it_once_it_runs_again(whole: Service) -> None:
    port = port_of(whole)
    whole.pushlive("sleep", "hello", "dev")
    whole.kill()
    status, _, body = ask(port)
    assert (status, "does not run" in body) == (503, True)
    whole.up()
    until(lambda: ask(port, path="/")[0] == 200, 60)
    assert running_in_dev(whole) >= 1


def test_a_revert_of_what_sleeps_does_not_start_it(whole: Service) -> None:
    whole.push(web("two"), "Two")
    port = port_of(whole)
    assert "two" in ask(port, path="/")[2]
    whole.pushlive("sleep", "hello", "dev")
    said = whole.pushlive("revert", "hello", "--env", "dev").out
    assert "r2 sleeps and is not woken" in said
    assert "r2 slept" not in said
    status, _, body = ask(port, path="/")
    assert (status, "one" in body) == (200, True)
    until(lambda: running_in_dev(whole) == 2, 30)
    assert whole.environments()["dev"]["release"] == 1


def commands_of(guide: str) -> list[list[str]]:
    page = (ROOT / "docs" / "guides" / f"{guide}.md").read_text().replace("shop", "hello")
    lines = page.rpartition("```\n")[0].rpartition("```\n")[2].splitlines()
    return [shlex.split(line)[1:] for line in lines]
