"""The service's own image and its composition on the real Engine."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import docker
from tests.conftest import sweep
from tests.support.developer import web
from tests.support.paths import ROOT
from tests.support.service import SECRET, Service, get
from tests.support.waiting import until

CONFIG = """\
pipelines:
  hello:
    service: {memory: 128MiB, cpu: 500m, drain: 2s, stop: 1s}
    environments: {dev: {}, live: {}}
"""


def compose_command() -> list[str]:
    """`docker compose`, or the older docker-compose; scripts/setup --dev installs one of them."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


class Composed(Service):
    """The same service, its parts in containers."""

    def __init__(self, folder: Path, api: docker.APIClient, image: str) -> None:
        super().__init__(folder, api, CONFIG, {"IMAGE": image, "STORE_IMAGE": image, "SECRETS": str(folder)})
        del self.environ["PUSHLIVE_GITHUB_SECRET"], self.environ["PUSHLIVE_CONFIG"]
        (folder / "github").write_text(SECRET + "\n")
        (folder / "gitea").write_text(secrets.token_hex() + "\n")
        self.data.mkdir(mode=0o700)
        (self.data / "pipelines.yaml").write_text(CONFIG)
        self._base = [*compose_command(), "-p", self.instance, "-f", str(ROOT / "docker" / "compose.yaml")]

    def compose(self, *arguments: str) -> str:
        """What it printed; an AssertionError where it failed."""
        done = subprocess.run(
            [*self._base, *arguments], env=self.environ, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def up(self) -> None:
        self.compose("up", "-d", "--no-build")
        until(lambda: (self.data / "token").exists() and self._answers(), 40)

    def inside(self, *arguments: str) -> str:
        """The command line as it is used on a server."""
        return self.compose("exec", "-T", "web", "pushlive", *arguments)

    def part(self, name: str) -> dict[str, Any]:
        """What the Engine says of one of the composition's containers."""
        filters = {
            "label": [f"com.docker.compose.project={self.instance}", f"com.docker.compose.service={name}"]
        }
        (found,) = self.engine.containers(all=True, filters=filters)
        return dict(self.engine.inspect_container(found["Id"]))

    def healthy(self) -> bool:
        return all(
            self.part(one)["State"]["Health"]["Status"] == "healthy" for one in ("web", "worker", "store")
        )

    def left(self) -> list[str]:
        """Everything on the Engine that is the service's or the composition's."""
        api, found = self.engine, []
        for label in (f"pushlive.instance={self.instance}", f"com.docker.compose.project={self.instance}"):
            mine = {"label": label}
            found += [str(one["Names"]) for one in api.containers(all=True, filters=mine)]
            found += [str(one["Name"]) for one in api.networks(filters=mine)]
            found += [str(one["Name"]) for one in api.volumes(filters=mine)["Volumes"] or []]
        return found

    def close(self) -> None:
        self.compose("down", "--timeout", "40")
        self.compose("run", "--rm", "--no-deps", "worker", "pushlive", "down", "--all")


@pytest.fixture(scope="module")
def composed(docker_client: docker.DockerClient, base_images: None) -> Iterator[Composed]:
    built = subprocess.run([ROOT / "scripts" / "image"], capture_output=True, text=True, timeout=600)
    assert built.returncode == 0, built.stdout + built.stderr
    folder = Path(tempfile.mkdtemp(prefix="pl-"))  # short: a Unix socket is in it
    one = Composed(folder, docker_client.api, built.stdout.split()[-1])
    try:
        one.up()
        yield one
    finally:
        one.compose("down", "--timeout", "5")
        sweep(docker_client, one.instance)
        shutil.rmtree(folder, ignore_errors=True)


def test_the_composition_takes_a_push_live(composed: Composed) -> None:
    output = composed.push(web("version 1"))
    assert composed.run("hello#1")["outcome"] == "live", output
    assert "r1 ready" in output
    assert composed.page("live") == "version 1\n"
    assert "hello" in composed.inside("status")
    composed.push(web("version 2"))
    assert composed.page("live") == "version 2\n"


def test_the_command_line_in_the_container_reverts(composed: Composed) -> None:
    composed.inside("revert", "hello", "--reason", "a look back")
    assert composed.page("live") == "version 1\n"
    composed.inside("resume", "hello")


def wheel(composed: Composed, folder: Path) -> None:
    """Builds the package's wheel there, without a network, by the tools of the service's image."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("pipeline", "webhooks", "workers"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    mounted = ("--volume", f"{folder}:/out", "--workdir", "/out/source", composed.environ["IMAGE"])
    command = ["docker", "run", "--rm", "--network", "none", *mounted, "pip", "wheel", *options]
    subprocess.run([*command, "--wheel-dir", "/out", "."], check=True, capture_output=True, timeout=120)
    shutil.rmtree(source)


def test_a_bundle_is_verified_in_a_container_that_has_nothing_but_our_wheel(composed: Composed) -> None:
    """Python's own image, no network, and none of the libraries that the service needs. The reverted release has two
    runs, and records of what people did."""
    folder = composed.folder / "evidence"
    folder.mkdir()
    wheel(composed, folder)
    composed.pushlive("evidence", "hello", "r1", "-o", str(folder / "r1"))
    (folder / "key.pem").write_text(composed.pushlive("evidence", "key").out)
    record = json.loads((folder / "r1" / "records" / "run-1.json").read_text())
    assert [one["name"] for one in record["bases"]] == ["busybox:1.36"]
    assert (record["run"]["outcome"], record["log"] is not None) == ("live", True)
    assert (folder / "r1" / "records" / "run-3.json").exists()
    (act,) = (folder / "r1" / "records").glob("act-*.json")
    assert json.loads(act.read_text())["act"]["act"] == "resume"
    shutil.copytree(folder / "r1", folder / "changed")
    with (folder / "changed" / "records" / act.name).open("a") as record:
        record.write("\n")
    script = (
        "pip install --quiet --no-deps --no-index --root-user-action=ignore --disable-pip-version-check *.whl\n"
        "pip list --format=freeze --disable-pip-version-check | cut -d= -f1\n"
        "for one in r1 changed; do pushlive evidence verify $one --key key.pem; echo $?; done\n"
    )
    mounted = ("--volume", f"{folder}:/evidence:ro", "--workdir", "/evidence", "python:3.11-slim")
    command = ["docker", "run", "--rm", "--network", "none", *mounted, "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    *installed, good, _, right, bad, wrong = done.stdout.splitlines()
    assert installed == ["pip", "pushlive", "setuptools", "wheel"], done
    assert (good.startswith("✓ hello r1: signed by this key"), right) == (True, "0")
    assert (bad, wrong) == (f"✗ records/{act.name} was changed", "1")


def test_every_part_becomes_healthy(composed: Composed) -> None:
    until(composed.healthy, 60)


def test_builds_are_limited_from_inside_the_container(composed: Composed) -> None:
    checks = {one["name"]: one for one in json.loads(composed.inside("doctor", "--json"))["checks"]}
    driver = composed.engine.info()["CgroupDriver"]
    assert ("not limited" in checks["builds"]["text"]) == (driver != "cgroupfs")


def test_secrets_come_from_files_and_are_in_no_environment(composed: Composed) -> None:
    body = json.dumps({"zen": "Design for failure."}).encode()
    signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "ping",
        "X-GitHub-Delivery": secrets.token_hex(),
        "X-Hub-Signature-256": f"sha256={signature}",
    }
    assert composed.http("POST", "/hooks/github", body, headers)[0] == 200
    wrong = {**headers, "X-Hub-Signature-256": f"sha256={'0' * 64}"}
    assert composed.http("POST", "/hooks/github", body, wrong)[0] == 401
    for name in ("web", "worker", "store"):
        assert SECRET not in json.dumps(composed.part(name))


def test_killed_parts_are_restarted_and_lose_nothing(composed: Composed) -> None:
    before = composed.releases()
    for name in ("store", "web", "worker"):
        # The process itself, as a crash would end it: one that `docker kill` ends is not started again.
        subprocess.run(["kill", "-9", str(composed.part(name)["State"]["Pid"])], check=True)
    until(composed._answers, 40)
    assert composed.releases() == before
    composed.push(web("version 3"))
    assert composed.page("live") == "version 3\n"


def test_down_touches_no_traffic_and_down_all_leaves_nothing(composed: Composed) -> None:
    url = composed.environments()["live"]["url"]
    composed.compose("down", "--timeout", "40")
    assert get(url) == (200, "version 3\n")
    composed.up()
    assert composed.releases()["live"] is not None
    composed.close()
    assert composed.left() == []
