"""The proxy asks every replica for its health page, and takes one that does not answer out of rotation."""

from __future__ import annotations

import http.client
import threading
from typing import Any

import docker
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.http.probe import HttpProbe
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import Answer, ReplicaHealth, SlotSpec
from tests.conftest import Bench
from tests.support.ports import free_port
from tests.support.waiting import until

# It answers 400 under any other name than its own, as many frameworks do, and 503 on demand.
PICKY = """\
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/health.cgi <<'SCRIPT'
#!/bin/sh
status="200 OK"
[ "$HTTP_HOST" = "$NAME" ] && [ "$HTTP_X_FORWARDED_PROTO" = http ] || status="400 Bad Request"
[ -e /tmp/ill ] && status="503 Service Unavailable"
printf 'Status: %s\\r\\nContent-Type: text/plain\\r\\n\\r\\n%s\\n' "$status" "$status"
SCRIPT
chmod +x /tmp/www/cgi-bin/health.cgi
exec httpd -f -p 8080 -h /tmp/www
"""


def picky(bench: Bench, **more: Any) -> SlotSpec:
    health, name = "/cgi-bin/health.cgi?full", f"{bench.name}-live.localhost"
    values = {"command": ("sh", "-c", PICKY), **more}
    return bench.spec(health=health, env={"NAME": name}, **values)


def healthy(bench: Bench, spec: SlotSpec) -> list[bool]:
    return [one.healthy for one in bench.engine.health(spec)]


def run(client: docker.DockerClient, replica: ReplicaHealth, command: str) -> None:
    """Runs it in the replica's container."""
    done = client.containers.get(replica.name).exec_run(["sh", "-c", command])
    assert done.exit_code == 0, done.output


HANG, GO_ON = "kill -STOP $(pidof httpd)", "kill -CONT $(pidof httpd)"


def ask(bench: Bench, spec: SlotSpec) -> Answer:
    return HttpProbe().get(bench.engine.public(spec), "/healthz", 65)


def test_fault_57_a_replica_that_accepts_and_never_answers_gets_no_requests_until_it_answers(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    spec = bench.spec(replicas=2)
    bench.deploy(spec)
    silent, _ = bench.engine.health(spec)
    run(docker_client, silent, HANG)
    until(lambda: healthy(bench, spec) == [False, True], 20)
    found = bench.engine.health(spec)[0]
    assert (found.name, found.said) == (silent.name, "GET /healthz got no answer within 5 s")
    answers = [ask(bench, spec) for _ in range(32)]
    assert {answer.status for answer in answers} == {200}
    assert {answer.served_by for answer in answers} == {bench.engine.public(spec).expect[1]}
    run(docker_client, silent, GO_ON)
    until(lambda: healthy(bench, spec) == [True, True], 20)
    served = set[str]()
    until(lambda: served.add(ask(bench, spec).served_by) or len(served) == 2)


def test_fault_57_all_replicas_that_hang_are_still_tried(
    bench: Bench, docker_client: docker.DockerClient
) -> None:
    spec = bench.spec(replicas=2)
    bench.deploy(spec)
    both = bench.engine.health(spec)
    for one in both:
        run(docker_client, one, HANG)
    until(lambda: healthy(bench, spec) == [False, False], 20)
    answers: list[Answer] = []
    visitor = threading.Thread(target=lambda: answers.append(ask(bench, spec)))
    visitor.start()
    until(lambda: bench.engine.open_sessions(spec.ref) == 1)
    for one in both:
        run(docker_client, one, GO_ON)
    visitor.join(20)
    assert [answer.status for answer in answers] == [200]
    until(lambda: healthy(bench, spec) == [True, True], 20)


def test_fault_57_a_health_page_that_says_503_is_told_and_the_last_replica_keeps_serving(
    bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    spec = picky(bench)
    bench.deploy(spec)
    until(lambda: bench.engine.health(spec))
    [one] = bench.engine.health(spec)
    run(docker_client, one, "touch /tmp/ill")
    until(lambda: healthy(bench, spec) == [False], 20)
    [one] = bench.engine.health(spec)
    assert one.said == "GET /cgi-bin/health.cgi?full answered 503"
    assert ask(bench, spec).status == 404  # the application's own answer: it has no such page
    run(docker_client, one, "rm /tmp/ill")
    until(lambda: healthy(bench, spec) == [True], 20)


def test_fault_53_a_dead_replica_beside_one_whose_checks_fail_costs_no_request(
    bench: Bench, docker_client: docker.DockerClient, settings: Settings
) -> None:
    outlived = PICKY.replace("exec httpd -f", "httpd") + "exec sleep 1d\n"
    spec = picky(bench, replicas=2, command=("sh", "-c", outlived))
    bench.deploy(spec)
    dead, ill = bench.engine.health(spec)
    run(docker_client, ill, "touch /tmp/ill")
    run(docker_client, dead, "kill $(pidof httpd)")
    until(lambda: healthy(bench, spec) == [False, False], 20)
    assert {said for one in bench.engine.health(spec) if "refuses" in (said := one.said)}
    answers = [ask(bench, spec) for _ in range(20)]
    assert {answer.status for answer in answers} == {404}  # the application's own: it has no such page
    assert {answer.served_by for answer in answers} == {bench.engine.public(spec).expect[1]}
    assert {posted(settings.port_range[bench.index]) for _ in range(20)} == {501}  # busybox's own


def posted(port: int) -> int:
    """The status of the answer to a POST, which no proxy may repeat once it was sent."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/healthz", b"x" * 5000)
    status = connection.getresponse().status
    connection.close()
    return status


def test_fault_57_a_proxy_that_was_restarted_asks_for_the_same_page_under_the_same_name(
    bench: Bench, proxy: Proxy, docker_client: docker.DockerClient, settings: Settings
) -> None:
    spec = picky(bench, replicas=2)
    bench.deploy(spec)
    docker_client.api.restart(f"{settings.instance}-proxy", timeout=5)
    proxy.ensure()
    ill, _ = bench.engine.health(spec)
    run(docker_client, ill, "touch /tmp/ill")
    until(lambda: healthy(bench, spec) == [False, True], 20)
    run(docker_client, ill, "rm /tmp/ill")
    until(lambda: healthy(bench, spec) == [True, True], 20)


def test_fault_57_servers_of_which_no_health_page_is_known_are_asked_whether_they_answer(
    bench: Bench, proxy: Proxy, docker_client: docker.DockerClient
) -> None:
    spec = picky(bench)  # nothing but 404 and 400 for who does not know better
    bench.deploy(spec)
    [(address, port)] = proxy.servers(bench.index, "blue")
    proxy.set_servers(bench.index, "blue", [])
    proxy.set_servers(bench.index, "blue", [(address, port)])
    until(lambda: checks(proxy, bench)["check_status"] == "L7OK", 20)
    assert [one.healthy for one in proxy.health(bench.index, "blue", "").values()] == [True]
    bench.engine.renew_checks(spec)
    assert proxy.checks_as(bench.index, "blue", bench.engine._check(spec))


def test_the_first_check_that_fails_takes_no_new_server_out(bench: Bench, proxy: Proxy) -> None:
    bench.engine.prepare(bench.ref(), ())
    proxy.set_servers(bench.index, "blue", [("127.0.0.1", free_port())])  # nothing listens there
    until(lambda: checks(proxy, bench)["status"] == "DOWN", 20)
    assert int(checks(proxy, bench)["chkfail"]) >= 3


def checks(proxy: Proxy, bench: Bench) -> dict[str, str]:
    """What HAProxy says of the first server of blue."""
    return proxy._control.server_stats(f"e{bench.index}-blue")[1]
