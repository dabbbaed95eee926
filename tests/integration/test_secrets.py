"""Secrets on the real service: in containers, nowhere else, and restored by a revert."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import docker
from pipeline.runtime.embedded_store import url
from tests.support.developer import web
from tests.support.service import PUSHLIVE, Done, Service, running
from tests.support.waiting import until

FIRST, SECOND = "first-Secret/of+ours", "second-Secret/of+ours"
CONFIG = """
pipelines:
  hello:
    service: {memory: 128MiB, stop: 1s, secrets: [PASSWORD], release: [sh, -c, 'echo "migrating with $PASSWORD"']}
    smoke: [{run: [sh, -c, 'echo "$PASSWORD" | base64']}]
    environments: {dev: , live: {secrets: [LIVE_ONLY]}}
"""
# The application shows what it was given to whoever asks for it, and prints it.
APP = 'echo "starting with $PASSWORD"; echo "$PASSWORD" >/www/given; exec httpd -f -p 0.0.0.0:8080 -h /www'


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None) -> Iterator[Service]:
    with running(docker_client, CONFIG) as one:
        yield one


def put(service: Service, value: str, *words: str) -> Done:
    """``pushlive secret set``, with the value on its standard input."""
    done = subprocess.run(
        [*PUSHLIVE, "secret", "set", *words], env=service.environ, cwd=service.folder, text=True,
        input=f"{value}\n", capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def variables(service: Service, environment: str = "live") -> dict[str, str]:
    """The environment of the container that serves there."""
    active = service.environments()[environment]["slot"]
    [one] = [
        c
        for c in service.containers(environment=environment)
        if c["Config"]["Labels"]["pushlive.slot"] == active
    ]
    return dict(entry.split("=", 1) for entry in one["Config"]["Env"])


def store_dump(service: Service) -> str:
    client = redis.Redis.from_url(url(service.data), decode_responses=True)
    read = {
        "string": client.get, "hash": client.hgetall, "set": client.smembers, "stream": client.xrange,
        "list": lambda key: client.lrange(key, 0, -1), "zset": lambda key: client.zrange(key, 0, -1),
        "none": client.get,  # it has expired since the scan
    }  # fmt: skip
    with client:
        return "\n".join(repr(read[client.type(key)](key)) for key in client.scan_iter("*"))


def test_a_missing_secret_stops_the_run_before_the_build(service: Service) -> None:
    said = service.push(web(command=APP), "One")
    assert "PASSWORD for dev, PASSWORD for live, LIVE_ONLY for live" in said
    assert "pushlive secret set hello PASSWORD --env dev" in said
    run = service.run("hello#1")
    assert (run["outcome"], run["failure"]["whose"], run["release"]) == ("failed", "configuration", None)
    assert [step["step"] for step in run["steps"]] == []
    told = service.pushlive("plan").text
    assert "PASSWORD is not set" in told


def test_a_secret_reaches_the_containers_and_nothing_else(service: Service) -> None:
    said = put(service, FIRST, "hello", "PASSWORD")
    assert "version 1 of PASSWORD is set for every environment" in said.out
    put(service, "only-in-live", "hello", "LIVE_ONLY", "--env", "live")
    assert (service.data / "secrets.key").stat().st_mode & 0o777 == 0o600
    pushed = service.push(web("version 2", command=APP), "Two")
    assert service.run()["outcome"] == "live", service.log("hello#2")
    assert variables(service)["PASSWORD"] == FIRST
    assert variables(service)["LIVE_ONLY"] == "only-in-live"
    assert "LIVE_ONLY" not in variables(service, "dev")
    assert service.page(path="/given") == f"{FIRST}\n"
    log = service.log("hello#2")
    assert "migrating with •••" in log
    printed = service.pushlive("logs", "hello", "--app").out
    assert "starting with •••" in printed
    texts = {
        "git": pushed, "log": log, "printed": printed, "store": store_dump(service), "up": service.output,
        "show": json.dumps(service.show("hello#2")), "list": service.pushlive("secret", "list", "hello").text,
        "logs": "".join(path.read_text() for path in service.data.rglob("*.log")),
    }  # fmt: skip
    for where, text in texts.items():
        assert FIRST not in text, where
        assert "only-in-live" not in text, where
        assert "Zmlyc3QtU2VjcmV0L29mK291c" not in text, where  # base64, as the check printed it
    for one in service.containers() + service.containers(environment="dev"):
        del one["Config"]["Env"]
        assert FIRST not in json.dumps(one)
    [image] = {one["Image"] for one in service.containers()}
    assert FIRST not in json.dumps([service.engine.inspect_image(image), service.engine.history(image)])


def test_fault_21_a_secret_in_a_cut_line_of_build_output_is_masked(service: Service) -> None:
    """A repository that has it all the same: 8 KiB of a line are one piece, and the value lies across its end."""
    # And an application's line that the Engine keeps in two entries, with the value across both.
    long = "head -c 16379 /dev/zero | tr '\\0' x; echo \"$PASSWORD\"; "
    files = web("version 3", command=long + APP)
    line = f"{'x' * (8192 - 7)}{FIRST} and on"
    files["Dockerfile"] = str(files["Dockerfile"]).replace("COPY", "COPY leak /leak\nRUN cat /leak\nCOPY", 1)
    service.push({**files, "leak": line + "\n"}, "Three")
    run = service.run()
    log = service.log(run["id"])
    assert run["outcome"] == "live", log
    shown = "".join(text.partition("│ ")[2] for text in log.splitlines() if "│ " in text)
    assert FIRST not in shown
    assert "•••" in shown
    assert FIRST not in store_dump(service)
    printed = service.pushlive("logs", "hello", "--app").out
    assert "x" * 16379 + "•••\n" in printed
    assert FIRST[5:] not in printed


def test_a_rotated_secret_goes_live_by_a_deploy_and_a_revert_restores_the_old_one(service: Service) -> None:
    before = service.releases()["live"]
    put(service, SECOND, "hello", "PASSWORD")
    done = service.pushlive("deploy", "hello")
    assert "reused" in done.text
    assert service.page(path="/given") == f"{SECOND}\n"
    started = {one["Id"] for one in service.containers()}
    assert "reverted in" in service.pushlive("revert", "hello").text
    assert service.releases()["live"] == before
    assert service.page(path="/given") == f"{FIRST}\n"
    assert {one["Id"] for one in service.containers()} == started  # the warm slot had the old one
    told = service.pushlive("secret", "versions", "hello", "PASSWORD").out
    assert "v2" in told.splitlines()[1]


def test_recreated_containers_get_their_version_or_the_newest_if_it_is_revoked(service: Service) -> None:
    [one] = [c for c in service.containers() if f"PASSWORD={FIRST}" in c["Config"]["Env"]]
    service.engine.remove_container(one["Id"], force=True)
    until(lambda: serves(service, FIRST), 30)
    service.pushlive("secret", "rm", "hello", "PASSWORD", "--version", "1")
    service.pushlive("resume", "hello")
    release = service.releases()["live"]
    done = service.pushlive("revert", "hello", "--to", f"r{service.releases()['dev']}")
    assert service.page(path="/given") == f"{SECOND}\n", done.text
    done = service.pushlive("revert", "hello", "--to", f"r{release}")
    assert "version 1 of the secret PASSWORD was revoked by" in done.text
    assert service.page(path="/given") == f"{SECOND}\n"


def serves(service: Service, value: str) -> bool:
    try:
        return service.page(path="/given") == f"{value}\n"
    except (AssertionError, OSError):
        return False


def test_a_key_that_others_can_read_is_refused_and_reported(service: Service) -> None:
    key = Path(service.data / "secrets.key")
    key.chmod(0o644)
    doctor = service.pushlive("doctor", code=1).out
    assert "is accessible to other users" in doctor
    assert "chmod 600" in doctor
    service.pushlive("resume", "hello")
    service.pushlive("deploy", "hello", code=1)
    failure = service.run()["failure"]
    assert (failure["whose"], "is accessible to other users" in failure["message"]) == ("engine", True)
    key.chmod(0o600)
    assert "✓ secrets" in service.pushlive("doctor", code=None).out
