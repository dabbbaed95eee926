"""A release that answers a share of its requests with errors is taken back by `judge: act`, and told by `observe`; what
runs meanwhile has a cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest

import docker
from tests.support.ports import free_ports
from tests.support.receiver import OK, PATH, receiver, says
from tests.support.service import Service, get, running
from tests.support.waiting import until

pytestmark = pytest.mark.long  # errors have to be spread over three minutes before anything is said of them

PORT = free_ports(1)
CONFIG = f"""
notify: [{{url: 'http://127.0.0.1:{PORT}{PATH}', when: [worse, reverted, held]}}]
costs: {{machines: {{here: 744}}}}
pipelines:
  hello:
    service: {{memory: 128MiB, stop: 1s}}
    environments: {{live: {{judge: act, bake: 0}}}}
  seen:
    service: {{memory: 128MiB, stop: 1s}}
    environments: {{live: {{judge: observe, bake: 0}}}}
"""
SERVER = """\
import http.server

class Answers(http.server.BaseHTTPRequestHandler):
    count = 0

    def do_GET(self):
        Answers.count += 1
        status = 500 if FAILS and self.path != "/" and Answers.count % 5 == 0 else 200
        self.send_response(status)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"VERSION"[-3:])

    def log_message(self, *_):
        pass

http.server.HTTPServer(("0.0.0.0", 8080), Answers).serve_forever()
"""
DOCKERFILE = 'FROM python:3.11-slim\nCOPY server.py /\nCMD ["python", "/server.py"]\n'


def app(*, fails: bool) -> dict[str, str | None]:
    text = SERVER.replace("FAILS", str(fails)).replace("VERSION", " r2" if fails else " r1")
    return {"Dockerfile": DOCKERFILE, "server.py": text}


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def answers(service: Service, name: str) -> dict[str, Any]:
    return service.environments(name)["live"]["answers"] or {}


def trial(service: Service, name: str) -> dict[str, Any] | None:
    """What followed for r2."""
    found: list[dict[str, Any]] = service.show(f"{name}#2")["run"]["trials"]
    return next(iter(found), None)


@contextmanager
def asked(service: Service) -> Iterator[None]:
    """Both applications are asked ten times a second."""
    over = Event()
    urls = [service.environments(name)["live"]["url"] + "/page" for name in ("hello", "seen")]

    def ask(url: str) -> None:
        while not over.wait(0.1):
            get(url)

    threads = [Thread(target=ask, args=(url,), daemon=True) for url in urls]
    for one in threads:
        one.start()
    try:
        yield
    finally:
        over.set()
        for one in threads:
            one.join(30)


def test_a_release_that_answers_with_errors_is_taken_back_or_only_told(service: Service) -> None:
    names = ("hello", "seen")
    with receiver(says(OK), PORT) as told:
        for name in names:
            service.push(app(fails=False), "The good one", name=name)
        with asked(service):
            until(lambda: all(answers(service, name).get("requests", 0) >= 250 for name in names), 180)
            for name in names:
                service.push(app(fails=True), "The bad one", name=name)
            until(lambda: all(trial(service, name) for name in names), 400)
            until(lambda: service.run("hello#3")["outcome"], 60)
        taken, seen = trial(service, "hello"), trial(service, "seen")
        assert taken is not None
        assert seen is not None
        assert (taken["state"], taken["revert"]) == ("taken back", "hello#3")
        assert "than r1 (0 %)" in taken["reason"]
        assert seen["state"] == "observed"
        assert seen["would"] == "With `judge: act` it would have been taken back to r1"
        assert service.releases("seen")["live"] == 2
        assert service.page(path="/page") == " r1"
        run = service.run("hello#3")
        assert (run["kind"], run["outcome"], run["by"]) == ("revert", "live", "judge")
        held = service.environments()["live"]["hold"]
        assert (held["by"], held["reason"]) == ("judge", taken["reason"])
        assert service.environments("seen")["live"]["hold"] is None
        until(lambda: len(told.bodies()) >= 4, 30)
        events = sorted((one["pipeline"], one["event"]) for one in told.bodies())
        assert events == [("hello", "held"), ("hello", "reverted"), ("hello", "worse"), ("seen", "worse")]
    status = service.pushlive("status").out
    assert "live is held: r2: errors " in status
    assert "With `judge: act` it would have been taken back to r1" in status
    assert "was taken back by hello#3: errors " in service.pushlive("show", "hello#2").out
    has_a_cost(service)


def has_a_cost(service: Service) -> None:
    """Minutes have passed, and more than one look."""
    answer = json.loads(service.pushlive("cost", "--json").out)
    lines = answer["lines"]
    by = {(one["pipeline"], one["purpose"]): one for one in lines}
    for name in ("hello", "seen"):
        assert by[name, "serving"]["core_hours"] > 0
        assert by[name, "serving"]["gib_hours"] > 0
        assert by[name, "warm"]["gib_hours"] > 0
    assert by["", "system"]["cost"] > 0
    assert by["", "idle"]["cost"] > by["hello", "serving"]["cost"] > 0
    assert "hello     live         serving" in service.pushlive("cost").out
    load = next(one for one in answer["replicas"] if one["pipeline"] == "hello")
    assert load["measured"] > 0
    assert 0 < load["highest_memory"] <= load["memory"]
    assert 0 < load["busy"] <= 2 * load["cpu"]
    assert load["serving"] is None  # before a day was measured
