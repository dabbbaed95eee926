"""The service's files are replaced while it runs, as by `git pull` or `pip install -U` in its place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import docker
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s, volumes: {data: /data}}
    smoke: [{run: [sh, -c, 'until [ -e /data/go ] || [ $PUSHLIVE_RELEASE = r1 ]; do sleep 0.2; done'], within: 2m}]
    environments: {live: }
"""
BROKEN = 'raise SystemError("this is not the code that the service was started with")\n'
SAYS = "were replaced while it runs"


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A copy of the package that may be changed."""
    for name in ("pipeline", "webhooks", "workers"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture
def service(docker_client: docker.DockerClient, base_images: None, code: Path) -> Iterator[Service]:
    with running(docker_client, CONFIG, PYTHONPATH=str(code)) as one:
        one.environ["PYTHONPATH"] = str(ROOT)  # of the command line, whose code is read at each command
        yield one


def pushing(service: Service, content: str, run: str) -> subprocess.Popen[str]:
    """A push whose run stops in the middle of live."""
    repository = service.repository()
    repository.commit(web(content), content)
    push = repository.started("push", "pushlive", "main")
    number = int(run.partition("#")[2])
    until(lambda: any(one["number"] == number and one["stage"] == "live" for one in service.runs()), 60)
    return push


def cookie(service: Service) -> dict[str, str]:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    _, headers, _ = service.request("POST", "/login", f"token={service.token}".encode(), form)
    return {"Cookie": headers["Set-Cookie"].partition(";")[0]}


def test_fault_68_what_runs_goes_on_and_people_are_told_until_the_restart(
    service: Service, code: Path
) -> None:
    service.push(web("one"), "One")
    push = pushing(service, "two", "hello#2")
    assert service.ask("GET", "/api/status")["replaced"] == ""

    files = {path: path.read_text() for path in code.rglob("*.py")}
    for path in files:
        path.write_text(BROKEN)
    until(lambda: SAYS in service.ask("GET", "/api/status")["replaced"], 30)
    until(lambda: SAYS in service.output, 30)

    # The run goes on, also in another worker.
    until(lambda: any(step["step"] == "start" for step in service.run("hello#2")["steps"]), 30)
    os.kill(service.job(), signal.SIGKILL)
    service.pushlive("exec", "hello", "live", "--", "touch", "/data/go")
    assert service.wait("hello#2")["outcome"] == "live"

    push.communicate(timeout=60)

    # So do pushes, reverts and whatever else people do.
    assert "live" in service.push(web("three"), "Three")
    assert service.page() == "three\n"
    service.pushlive("revert", "hello", "--reason", "it works")
    assert service.page() == "two\n"
    assert SAYS in service.pushlive("status").err
    doctor = service.pushlive("doctor", code=None).out
    assert SAYS in doctor
    assert "systemctl restart pushlive" in doctor
    for path in ("/", "/runs", "/runs/hello/2", "/runs/hello/2/log"):
        status, _, page = service.request("GET", path, None, cookie(service))
        assert (status, bool(page)) == (200, True), path
        assert path != "/" or SAYS.encode() in page
    assert service.output.count(SAYS) == 1
    until(lambda: "was ended by SIGKILL. Another one goes on with its run" in service.output, 30)
    assert "SystemError" not in service.output
    assert "rq." not in service.output  # nothing in the words of a library

    # An update with a run that is under way: it goes on in the new code.
    service.pushlive("exec", "hello", "live", "--", "rm", "/data/go")
    service.pushlive("resume", "hello")
    second = pushing(service, "four", "hello#5")
    for path, text in files.items():
        path.write_text(text + "# the next version\n")
    until(lambda: SAYS in service.ask("GET", "/api/status")["replaced"], 30)
    service.end()
    second.communicate(timeout=60)
    service.environ["PYTHONPATH"] = str(code)
    service.up()
    service.environ["PYTHONPATH"] = str(ROOT)
    assert service.ask("GET", "/api/status")["replaced"] == ""
    service.pushlive("exec", "hello", "live", "--", "touch", "/data/go")
    assert service.wait("hello#5")["outcome"] == "live"
    assert service.page() == "four\n"
    assert "✓" in service.pushlive("doctor", code=None).out


def test_files_that_were_only_touched_are_no_update(service: Service, code: Path) -> None:
    for path in code.rglob("*.py"):
        path.touch()
    (code / "pipeline" / "notes~").write_text("an editor's\n")
    service.push(web("one"), "One")
    assert service.ask("GET", "/api/status")["replaced"] == ""
