"""What an earlier version left on a machine is taken up by this one: its data folder as it is, its containers as they
run. The tests of this module follow each other.
"""

from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import redis

import docker
from pipeline.runtime.embedded_store import EmbeddedStore, url
from tests.support.paths import ROOT
from tests.support.receiver import OK, Receiver, receiver, says
from tests.support.service import get
from tests.support.waiting import until
from tests.upgrade.fixtures import ALL, VERSIONS, Fixture, lost
from tests.upgrade.installation import FOLDER, INSTANCE, RECEIVER, Installation, at_the_fixed_place
from tests.upgrade.record import QUESTIONS

SHOP = 4  # the index of shop's environment
# Counted up to now, or prose that is made when it is shown: their form is compared alone.
MOVING = {"seconds", "used", "text", "timing"}
DELIVERED = "undelivered"  # what is told of messages that have been taken since


class Visitors(threading.Thread):
    """Ask one address all the while; ``failed`` has what was not a page."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.count, self.failed = url, 0, list[str]()
        self._stop_now = threading.Event()

    def run(self) -> None:
        while not self._stop_now.wait(0.02):
            self.count += 1
            try:
                status, text = get(self.url)
                if status != 200:
                    self.failed.append(f"{status} {text}")
            except OSError as error:
                self.failed.append(str(error))

    def lost(self) -> list[str]:
        """What failed, but for one connection that was opened just when the proxy of before closed its port
        (docs/decisions/0015-handing-the-proxy-over.md)."""
        failed = list(self.failed)
        if resets := [text for text in failed if f"[Errno {errno.ECONNRESET}]" in text]:
            failed.remove(resets[0])
        return failed

    def end(self) -> None:
        self._stop_now.set()
        self.join(10)


class TakenUp:
    """The installation after today's service has started on it."""

    def __init__(self, fixture: Fixture, service: Installation, before: dict[str, Any]) -> None:
        self.fixture, self.service, self.before = fixture, service, before
        self.visitors: Visitors
        self.proxy = ""  # the id of its container
        self.receiver: Receiver
        self.answers: dict[str, Any] = {}

    def running(self) -> dict[str, Any]:
        """What tells that a container was not restarted, by name; without the proxy's."""
        api, proxy = self.service.engine, f"{INSTANCE}-proxy"
        found = [api.inspect_container(name) for name in self.fixture.engine["containers"] if name != proxy]
        return {one["Name"][1:]: (one["Id"], one["State"]["StartedAt"], one["RestartCount"]) for one in found}

    def keeper_rounds(self) -> int:
        with redis.Redis.from_url(url(self.service.data)) as client:
            return int(client.hget(f"{self.service.instance}:keeper-rounds", "count") or 0)


@pytest.fixture(scope="module", params=ALL, ids=VERSIONS)
def taken_up(
    request: pytest.FixtureRequest, docker_client: docker.DockerClient, base_images: None
) -> Iterator[TakenUp]:
    fixture: Fixture = request.param
    with at_the_fixed_place(docker_client), receiver(says(OK), RECEIVER) as told:
        (FOLDER / "pipelines.yaml").write_text((fixture.folder / "pipelines.yaml").read_text())
        with tarfile.open(fixture.folder / "data.tar.gz") as archive:
            archive.extractall(FOLDER, filter="data")
        with_containers(fixture, docker_client)
        service = Installation(docker_client, ROOT, sys.executable, **fixture.read("settings.json"))
        one = TakenUp(fixture, service, {})
        one.before, one.receiver = one.running(), told
        one.proxy = docker_client.api.inspect_container(f"{INSTANCE}-proxy")["Id"]
        one.visitors = Visitors(f"http://127.0.0.1:{service.ports[SHOP]}/")
        until(lambda: serves(one.visitors.url), 20)  # the proxy has seen that its containers are there
        one.visitors.start()
        try:
            age(fixture, service)
            service.up()
            one.answers = ask(service, fixture.read("answers.json"))
            yield one
        finally:
            one.visitors.end()
            service.end()


def with_containers(fixture: Fixture, client: docker.DockerClient) -> None:
    """Networks, images and containers as that version made them, by its own requests."""
    with (fixture.folder / "images.tar.gz").open("rb") as images:
        subprocess.run(["docker", "load"], stdin=images, check=True, capture_output=True)
    for _, body in fixture.created("networks"):
        client.api._post_json(client.api._url("/networks/create"), data=body).raise_for_status()
    bodies = dict(fixture.created("containers"))
    proxy = f"{INSTANCE}-proxy"

    def make(name: str) -> None:
        client.api.create_container_from_config(bodies[name], name)
        client.api.start(name)
        client.api.update_container(name, restart_policy=fixture.engine["restart"][name])

    def serve(name: str) -> None:
        make(name)
        until(lambda: listens(client, name), 20)

    # A proxy that starts first finds nobody there, and takes half a second to find that they are there after all.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(serve, [name for name in fixture.engine["containers"] if name != proxy]))
    make(proxy)


def serves(url: str) -> bool:
    try:
        return get(url)[0] == 200
    except OSError:  # the proxy does not listen yet
        return False


def listens(client: docker.DockerClient, name: str) -> bool:
    """Whether the application in the container accepts connections."""
    networks = client.api.inspect_container(name)["NetworkSettings"]["Networks"]
    try:
        for network in networks.values():
            socket.create_connection((network["IPAddress"], 8080), 1).close()
    except OSError:
        return False
    return True


def age(fixture: Fixture, service: Installation) -> None:
    """Takes away what ends by itself after some days, however old the fixture is; but the queued job comes back."""
    server = EmbeddedStore(service.data)
    server.start()
    with redis.Redis.from_url(url(service.data)) as client:
        for key in client.scan_iter(f"{service.instance}:*"):
            if client.pttl(key) > 0:
                client.delete(key)
        fixture.put_queue(client)
    server.stop()


def ask(service: Installation, recorded: dict[str, Any]) -> dict[str, Any]:
    """The same questions as when it was recorded."""
    found = {name: json.loads(service.pushlive(*words).out) for name, words in QUESTIONS.items()}
    for question in recorded:
        if question.startswith("GET "):
            found[question] = service.ask("GET", question.removeprefix("GET "))
    found["log hello#1"] = service.log("hello#1")
    found["show hello#5"] = json.loads(service.pushlive("show", "hello#5", "--json", code=None).out)
    return found


def still(data: Any) -> Any:
    """Without what is counted up to now, and without the pipeline whose queued run goes on."""
    if isinstance(data, dict):
        rest = {key: value for key, value in data.items() if key != DELIVERED}
        return {key: form(value) if key in MOVING else still(value) for key, value in rest.items()}
    if isinstance(data, list):
        return [still(one) for one in data if not is_late(one)]
    return data


def form(data: Any) -> Any:
    """Keys without values."""
    if isinstance(data, dict):
        return {key: form(value) for key, value in data.items()}
    return [form(one) for one in data] if isinstance(data, list) else None


def is_late(one: Any) -> bool:
    return isinstance(one, dict) and "late" in (one.get("name"), one.get("pipeline"))


# ── nothing has happened to what runs ────────────────────────────────────────


def test_it_answers_as_the_version_before_did(taken_up: TakenUp) -> None:
    for question, before in taken_up.fixture.read("answers.json").items():
        if "late" in question:
            continue
        now = taken_up.answers[question]
        if question == "audit":  # has gone on since
            before, now = sorted_entries(before), sorted_entries(now)[: len(before["entries"])]
        assert lost(still(before), still(now), question) == []


def sorted_entries(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(answer["entries"], key=lambda one: int(one["number"]))


def test_the_run_that_was_queued_goes_live(taken_up: TakenUp) -> None:
    run = taken_up.service.wait("late#3", seconds=40)
    assert run["outcome"] == "live", run
    assert taken_up.service.page(name="late") == "version 3\n"


def test_no_container_was_restarted_and_none_differs(taken_up: TakenUp) -> None:
    looked = json.loads(taken_up.service.pushlive("doctor", "--fix", "--json").out)
    assert looked, looked
    seen = taken_up.keeper_rounds()
    until(lambda: taken_up.keeper_rounds() >= seen + 2, 40)  # it has looked at everything by itself once more
    assert lost(taken_up.before, taken_up.running()) == []
    assert taken_up.visitors.lost() == []
    assert taken_up.visitors.count > 50


def test_the_proxy_was_replaced_by_one_with_todays_configuration(taken_up: TakenUp) -> None:
    """And no visitor's request failed, which the tests before and after this one look at."""
    service = taken_up.service
    assert service.engine.inspect_container(f"{INSTANCE}-proxy")["Id"] != taken_up.proxy
    [check] = [
        one
        for one in json.loads(service.pushlive("doctor", "--json").out)["checks"]
        if one["name"] == "proxy"
    ]
    assert check["ok"]
    assert check["text"].startswith(f"{INSTANCE}-proxy answers commands and requests; its limit of ")
    assert taken_up.visitors.lost() == []


def test_an_undelivered_notification_is_delivered_under_its_id(taken_up: TakenUp) -> None:
    boxes = [value for key, value in taken_up.fixture.store.items() if key.startswith("outbox:")]
    wanted = {json.loads(message)["id"] for box in boxes for message in box}
    assert wanted
    until(lambda: wanted <= {str(body["id"]) for body in taken_up.receiver.bodies()}, 20)


def test_the_first_token_is_still_valid_and_a_revoked_one_is_not_listed(taken_up: TakenUp) -> None:
    names = {one["name"] for one in taken_up.service.ask("GET", "/api/tokens")["tokens"]}
    assert names == {"first", "a-viewer", "a-developer", "a-maintainer"}


# ── it goes on from there ────────────────────────────────────────────────────


def test_a_revert_to_the_warm_slot_is_one_switch(taken_up: TakenUp) -> None:
    service = taken_up.service
    assert service.page(name="shop") == "version 2\n"
    service.pushlive("revert", "shop", "--reason", "to see it")
    run = service.run("shop")
    assert (run["kind"], run["outcome"], run["release"]) == ("revert", "live", 1)
    assert service.page(name="shop") == "version 1\n"
    assert lost(taken_up.before, taken_up.running()) == []
    assert taken_up.visitors.lost() == []


def test_a_run_that_waits_at_a_gate_goes_on_once_it_is_promoted(taken_up: TakenUp) -> None:
    taken_up.service.pushlive("promote", "gate")
    assert taken_up.service.run("gate#2")["outcome"] == "live"
    assert taken_up.service.page(name="gate") == "version 2\n"


def test_a_container_that_is_lost_is_made_again_with_the_secrets_it_had(taken_up: TakenUp) -> None:
    service, name = taken_up.service, "recorded-hello-dev-blue-r3-1"
    service.engine.remove_container(name, force=True)
    until(lambda: service.engine.containers(filters={"name": name}), 20)
    made = service.engine.inspect_container(name)["Config"]["Env"]
    recorded = dict(taken_up.fixture.created("containers"))[name]["Env"]
    assert set(recorded) <= set(made)


def test_a_push_goes_through_every_environment(taken_up: TakenUp) -> None:
    """With the repository, the secrets, the hold and the quarantine of before."""
    service = taken_up.service
    assert service.environments()["live"]["hold"]["reason"] == "the second one was better"
    service.pushlive("resume", "hello")
    clone = service.folder / "clone"
    url = f"http://ann:{quote(service.token)}@{service.listen}/git/hello.git"
    git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    environ = service.environ
    subprocess.run([*git, "clone", "-q", url, clone], check=True, capture_output=True, env=environ)
    (clone / "version").write_text("version 6\n")
    subprocess.run([*git, "commit", "-qam", "Six"], cwd=clone, check=True, capture_output=True, env=environ)
    subprocess.run(
        [*git, "push", "-q", "origin", "main"], cwd=clone, check=True, capture_output=True, env=environ
    )
    run = service.wait("hello")
    assert (run["number"], run["outcome"]) == (6, "live"), run
    assert service.page() == "version 6\n"
    service.pushlive("audit", "--verify")
