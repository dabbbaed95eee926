"""The real service notifies receivers, whatever is killed or hangs meanwhile."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator

import pytest

import docker
from tests.support.developer import web
from tests.support.ports import free_ports
from tests.support.receiver import OK, PATH, Receiver, hangs, receiver, says
from tests.support.service import Service, running
from tests.support.waiting import until

KEY = "the messages' secret"
FIRST = free_ports(2)
CHAT, SLOW = FIRST, FIRST + 1
CONFIG = f"""
notify:
  - {{url: 'http://127.0.0.1:{CHAT}{PATH}', when: [live, failed, reverted, held]}}
  - {{url: 'http://127.0.0.1:{SLOW}{PATH}', when: [live]}}
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s}}
    environments: {{dev: , live: }}
"""


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG, PUSHLIVE_NOTIFY_SECRET=KEY) as one:
        yield one


def ids(one: Receiver) -> list[object]:
    return list(dict.fromkeys(body["id"] for body in one.bodies()))


def test_fault_49_a_receiver_that_was_down_gets_its_messages_after_a_kill_of_the_service(
    service: Service,
) -> None:
    service.push(web("version 1"), "Nobody listens")  # the receivers are down
    assert service.run("hello#1")["outcome"] == "live"
    until(lambda: len(service.ask("GET", "/api/status")["undelivered"]) == 2)
    doctor = service.pushlive("doctor", code=None).text
    assert f"http://127.0.0.1:{CHAT}/… (" in doctor
    assert "connection refused" in doctor
    said = service.pushlive("status").text
    assert "does not accept messages" in said
    service.kill()
    service.up()
    with receiver(says(OK), CHAT) as one, receiver(says(OK), SLOW) as other:
        until(lambda: one.requests and other.requests, 60)
        assert ids(one) == ids(other) == ["hello#1/live"]
        head, _, body = one.requests[0].partition(b"\r\n\r\n")
        signature = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
        assert f"X-Pushlive-Signature-256: sha256={signature}" in head.decode()
        assert json.loads(body)["url"] == f"http://{service.listen}/runs/hello/1"
        until(lambda: service.ask("GET", "/api/status")["undelivered"] == [])
    for text in (doctor, said, service.output, service.log("hello#1"), str(service.show("hello#1"))):
        assert "s3cr3t" not in text


def test_fault_49_a_receiver_that_hangs_delays_no_run(service: Service) -> None:
    with receiver(says(OK), CHAT) as one, receiver(hangs, SLOW) as slow:
        service.push(web("version 2"), "Somebody hangs")
        until(lambda: slow.requests)
        service.push(web("version 3"), "While somebody hangs")
        assert service.releases() == {"dev": 3, "live": 3}
        service.pushlive("revert", "hello", "--reason", "slow")
        until(lambda: len(ids(one)) == 4, 30)
        assert service.releases()["live"] == 2
        last = one.bodies()[-2:]
        assert [body["event"] for body in last] == ["held", "reverted"]
        assert ids(one)[:2] == ["hello#2/live", "hello#3/live"]
        assert ids(one)[3] == "hello#4/live"
        assert ids(slow) == ["hello#2/live"]  # again and again, under its one id
