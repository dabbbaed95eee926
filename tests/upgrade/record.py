"""Records a fixture: what one version of Pushlive leaves behind, for later versions to take up.

    scripts/setup; python -m tests.upgrade.record                # this checkout's own version
    python -m tests.upgrade.record --checkout ../older --python ../older/.venv/bin/python

It runs a real service of that version on the Docker Engine (and on the test cluster, see tests/upgrade/README.md), lets
every kind of record come into being, and writes tests/upgrade/fixtures/VERSION.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

import docker
from pipeline.adapters.docker_api.client import client as docker_client
from tests.support.paths import ROOT
from tests.support.service import descendants
from tests.support.waiting import until
from tests.upgrade import record_cluster
from tests.upgrade.installation import FIXED, FOLDER, INSTANCE, RECEIVER, Installation, at_the_fixed_place
from tests.upgrade.tap import Tap, tapped

HERE = Path(__file__).parent
ENGINE = "/var/run/docker.sock"
TOLD = r"^POST .*/(containers/create|networks/create|containers/[^/]+/(start|update))$"
# The host's name stands in records of who works where: a made-up one.
RENAMED = "import os, socket, sys; socket.sethostname('recorder'); os.execv(sys.argv[1], sys.argv[1:])"
CONFIG = f"""\
notify:
  - url: http://127.0.0.1:{RECEIVER}/made-up
    when: [failed, waiting, reverted, held, superseded]
pipelines:
  hello:
    service:
      memory: 16MiB
      stop: 1s
      keep_warm: 3650d
      env: {{GREETING: hello}}
      secrets: [PASSWORD]
      release: [/app, migrate]
    smoke:
      - {{get: /, contains: version, retry: 0s}}
      - {{tcp: 8080}}
      - {{run: [/app, check]}}
    environments:
      dev: {{}}
      qa: {{replicas: 2, security: standard, cpu: 250m}}
      live: {{host: hello.example.com, secrets: [LIVE_ONLY]}}
  gate:
    service: {{memory: 16MiB, stop: 1s, keep_warm: 3650d}}
    environments: {{live: {{promote: manual}}}}
  shop:
    service: {{memory: 16MiB, stop: 1s, keep_warm: 3650d, command: [/app, serve]}}
    environments: {{live: {{replicas: 2}}}}
  late:
    service: {{memory: 16MiB, stop: 1s, keep_warm: 3650d}}
    environments: {{live: }}
"""
QUESTIONS = {
    "status": ("status", "--json"),
    "runs": ("runs", "--json", "--limit", "100"),
    "tokens": ("token", "list", "--json"),
    "audit": ("audit", "--json", "--limit", "500"),
    "verify": ("audit", "--verify", "--json"),
    "secrets": ("secret", "list", "hello", "--json"),
    "versions": ("secret", "versions", "hello", "PASSWORD", "--json"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--to", type=Path, help="another folder, to try it out")
    parser.add_argument("--only", choices=("docker", "kubernetes"))
    chosen = parser.parse_args()
    checkout, python = chosen.checkout.absolute(), str(Path(chosen.python).absolute())
    version = re.search(r'^version = "(.+)"', (checkout / "pyproject.toml").read_text(), re.MULTILINE)[1]
    target = chosen.to or HERE / "fixtures" / version
    if target.exists() and any(target.iterdir()):
        parser.error(f"{target} is there already, and fixtures are never changed. Is the version a new one?")
    target.mkdir(parents=True, exist_ok=True)
    client = docker_client()
    if chosen.only != "kubernetes":
        with at_the_fixed_place(client):
            record(client, checkout, python, target)
    if chosen.only != "docker":
        with at_the_fixed_place(client):
            write(target / "kubernetes.json", record_cluster.record(client, checkout, python))
    keep_shapes(checkout, python, target)


def record(client: docker.DockerClient, checkout: Path, python: str, target: Path) -> None:
    """A service with environments on the Engine."""
    (FOLDER / "pipelines.yaml").write_text(CONFIG)
    with tapped(f"{FOLDER}/engine.sock", ENGINE, TOLD) as tap:
        service = Installation(client, checkout, python, DOCKER_HOST=f"unix://{FOLDER}/engine.sock")
        service.command = ("unshare", "--uts", python, "-c", RENAMED, python, "-m", "pipeline.cli", "up")
        service.up()
        try:
            live(service)
            ask(service, target)
            service.pushlive("backup", str(FOLDER / "backup.tgz"))
            keep_queue(service, target)
            service.kill()
            keep(service, tap, client, target)
        except BaseException:
            print(service.output)  # noqa: T201
            raise
        finally:
            service.close()


# ── what happens in it ───────────────────────────────────────────────────────


def live(service: Installation) -> None:
    """Every kind of record comes into being."""
    for role in ("viewer", "developer", "maintainer"):
        service.pushlive("token", "create", f"a-{role}", "--role", role)
    service.pushlive("token", "create", "to-be-revoked", "--role", "viewer")
    service.pushlive("token", "revoke", "to-be-revoked")
    for value, words in (
        ("made-up-password-one", ()),
        ("made-up-password-two", ()),
        ("made-up-password-live", ("--env", "live")),
    ):
        service.pushlive("secret", "set", "hello", "PASSWORD", *words, text=f"{value}\n")
    service.pushlive("secret", "set", "hello", "LIVE_ONLY", text="made-up-value\n")
    service.pushlive("secret", "rm", "hello", "PASSWORD", "--version", "1")

    for number in (1, 2, 3):
        push(service, "hello", f"version {number}")
    service.pushlive("revert", "hello", "--reason", "the second one was better")
    service.pushlive("secret", "set", "hello", "PASSWORD", text="made-up-password-three\n")
    push(service, "hello", "broken 4")
    assert service.run("hello")["outcome"] == "failed", service.run("hello")
    assert service.releases() == {"dev": 3, "qa": 3, "live": 2}

    clone(service, "gate", "version 1").git("push", "pushlive", "main")
    service.wait("gate", "waiting")
    service.pushlive("promote", "gate")
    clone(service, "gate", "version 2").git("push", "pushlive", "main")
    service.wait("gate#2", "waiting")

    for number in (1, 2):
        push(service, "shop", f"version {number}")
    push(service, "late", "version 1")
    freeze_workers(service)
    for number in (2, 3):
        pushing = clone(service, "late", f"version {number}").started("push", "pushlive", "main")
        until(lambda number=number: len(service.runs("late")) == number, 20)
        os.killpg(pushing.pid, signal.SIGKILL)
        pushing.communicate()
    assert service.run("late#2")["outcome"] == "superseded", service.run("late#2")
    assert service.run("late#3")["state"] == "queued"


def clone(service: Installation, name: str, version: str) -> Any:
    """The developer's clone with that version committed."""
    one = service.repository(name)
    program = one.folder / "app"
    if not program.exists():
        subprocess.run(
            ["cc", "-Os", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-builtin", "-s",
             "-Wl,--build-id=none", "-Wl,-z,noseparate-code", HERE / "app.c", "-o", program], check=True,
        )  # fmt: skip
    dockerfile = 'FROM scratch\nCOPY app version /\nUSER 10001\nCMD ["/app", "serve"]\n'
    one.commit({"Dockerfile": dockerfile, "version": f"{version}\n"}, version)
    return one


def push(service: Installation, name: str, version: str) -> None:
    clone(service, name, version).git("push", "pushlive", "main")
    service.wait(name)


def freeze_workers(service: Installation) -> None:
    """From now on nobody takes up what is due: it stays in the queue."""
    assert service.process
    for pid in descendants(service.process.pid):
        with suppress(OSError):  # it has ended meanwhile
            if b"workers" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGSTOP)


# ── what is kept of it ───────────────────────────────────────────────────────


def ask(service: Installation, target: Path) -> None:
    """What people and scripts are told."""
    answers: dict[str, Any] = {}
    for name, words in QUESTIONS.items():
        answers[name] = json.loads(service.pushlive(*words).out)
    answers["GET /api/status"] = service.ask("GET", "/api/status")
    for name in ("hello", "gate", "shop", "late"):
        answers[f"GET /api/runs?pipeline={name}"] = service.ask("GET", f"/api/runs?pipeline={name}&limit=200")
        for run in service.runs(name):
            path = f"/api/runs/{name}/{run['number']}"
            answers[f"GET {path}"] = service.ask("GET", path)
    answers["log hello#1"] = service.log("hello#1")
    answers["show hello#5"] = json.loads(service.pushlive("show", "hello#5", "--json", code=None).out)
    write(target / "answers.json", answers)


def keep_queue(service: Installation, target: Path) -> None:
    """The RQ jobs as they are in the queue."""
    client = redis.Redis.from_url(f"unix://{service.data}/store/valkey.sock")
    key = f"rq:queue:{INSTANCE}-work"
    jobs = [job.decode() for job in client.lrange(key, 0, -1)]
    assert jobs, "nothing is queued"
    kept: dict[str, Any] = {"queue": key, "jobs": {}}
    for job in jobs:
        fields = client.hgetall(f"rq:job:{job}")
        kept["jobs"][job] = {
            name.decode(): base64.b64encode(value).decode() for name, value in fields.items()
        }
    write(target / "queue.json", kept)
    client.close()


def keep(service: Installation, tap: Tap, client: docker.DockerClient, target: Path) -> None:
    """The data folder, the backup, the images, and what the Engine was told."""
    shutil.copyfile(FOLDER / "backup.tgz", target / "backup.tgz")
    shutil.copyfile(FOLDER / "pipelines.yaml", target / "pipelines.yaml")
    write(target / "settings.json", FIXED)
    left_out = re.compile(
        r"data/(up\.lock|store/valkey\.(sock|log)|store/server\.lock|proxy/(admin|last|other)\.sock|hooks/.*)$"
    )
    with tarfile.open(target / "data.tar.gz", "w:gz") as archive:
        archive.add(service.data, "data", filter=lambda member: _plain(member, left_out))
    proxy = {path.name: path.read_text() for path in sorted((service.data / "proxy").iterdir()) if path.is_file()
             and path.suffix in (".map", ".cfg", ".json")}  # fmt: skip
    write(target / "proxy.json", proxy)
    mine = {"label": f"pushlive.instance={INSTANCE}"}
    names = [one["Names"][0].lstrip("/") for one in client.api.containers(all=True, filters=mine)]
    images = sorted({tag for image in client.api.images(name=f"{INSTANCE}/*") for tag in image["RepoTags"]})
    write(
        target / "engine.json",
        {
            "containers": sorted(names),
            "requests": [
                one._asdict() | {"path": re.sub(r"^/v[0-9.]+", "", one.path)} for one in tap.requests
            ],
            "restart": {
                name: client.api.inspect_container(name)["HostConfig"]["RestartPolicy"] for name in names
            },
            "images": images,
            "uid": os.getuid(),
        },
    )
    saved = subprocess.run(["docker", "save", *images], capture_output=True, check=True).stdout
    (target / "images.tar.gz").write_bytes(gzip.compress(saved, mtime=0))


def _plain(member: tarfile.TarInfo, left_out: re.Pattern[str]) -> tarfile.TarInfo | None:
    """Without what a start makes anew, and without this machine's users."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return None if left_out.match(member.name) else member


def keep_shapes(checkout: Path, python: str, target: Path) -> None:
    """The stored types, as that version has them."""
    done = subprocess.run(
        [python, "-m", "tests.upgrade.shapes"], cwd=checkout, env={**os.environ, "PYTHONPATH": str(checkout)},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        print(f"shapes.json is left as it is: {done.stderr}")  # noqa: T201
    else:
        (target / "shapes.json").write_text(done.stdout)


def write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
