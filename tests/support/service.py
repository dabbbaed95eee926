"""A whole service of a test module's own: ``pushlive up`` with its data, instance, ports and subnet, and what a
developer and a maintainer do with it (real ``git push``, the command line, the API, requests to the applications).
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import docker
from tests.conftest import sweep
from tests.support.developer import Files, Repository
from tests.support.paths import ROOT
from tests.support.ports import free_ports, free_subnet
from tests.support.waiting import until

PUSHLIVE = (sys.executable, "-m", "pipeline.cli")
SECRET = "the webhook's secret"
PLACES = 32  # environments of one service: as many as its subnet has room for


class Done(NamedTuple):
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class Service:
    """The service and its surroundings; ``running`` makes one and takes everything away at the end. ``command``
    is what starts it."""

    def __init__(
        self,
        folder: Path,
        api: docker.APIClient,
        config: str,
        more: Mapping[str, str],
        command: tuple[str, ...] = (*PUSHLIVE, "up"),
    ) -> None:
        self.folder, self.command = folder, command
        self.engine: Any = api  # what types there are for it know little
        self.instance = f"i{os.getpid()}-{secrets.token_hex(2)}"
        first = free_ports(PLACES + 3)
        self.ports = range(first, first + PLACES)
        self.listen, self.proxy, preview = (f"127.0.0.1:{first + PLACES + n}" for n in range(3))
        self.data = folder / "data"
        self.config = folder / "pipelines.yaml"
        self.config.write_text(config.replace("FOLDER", str(folder)))
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PUSHLIVE_", "GIT_"))}
        self.environ = {
            **clean,
            "PYTHONPATH": str(ROOT),
            "PUSHLIVE_DATA": str(self.data),
            "PUSHLIVE_CONFIG": str(self.config),
            "PUSHLIVE_INSTANCE": self.instance,
            "PUSHLIVE_LISTEN": self.listen,
            "PUSHLIVE_PROXY_HTTP": self.proxy,
            "PUSHLIVE_PREVIEW_PORT": preview.partition(":")[2],
            "PUSHLIVE_PORTS": f"{self.ports[0]}-{self.ports[-1]}",
            "PUSHLIVE_SUBNETS": free_subnet(api.networks()),
            "PUSHLIVE_GITHUB_SECRET": SECRET,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": os.devnull,
            **{name: text.replace("FOLDER", str(folder)) for name, text in more.items()},
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._repositories: dict[str, Repository] = {}

    # ── the service itself ───────────────────────────────────────────────────

    @property
    def output(self) -> str:
        """What ``pushlive up`` and its children have said so far."""
        return (self.folder / "up.log").read_text(errors="replace")

    def up(self, ready: int = 200) -> None:
        """Returns once it answers, ``/healthz`` with that status."""
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environ, cwd=self.folder, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until(lambda: self._answers(ready), 40)

    def _answers(self, ready: int = 200) -> bool:
        assert self.process is None or self.process.poll() is None, self.output
        with suppress(OSError, http.client.HTTPException):
            return self.api("GET", "/healthz")[0] == ready
        return False

    def end(self) -> None:
        """Ctrl-C, and its patience."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)

    def job(self) -> int:
        """The process that carries a run now: a worker's child."""
        assert self.process
        up = self.process.pid
        children = [pid for pid in descendants(up) if parent(pid) == up]
        (workers,) = [pid for pid in children if b"workers" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        (found,) = [pid for pid in descendants(workers) if parent(parent(pid)) == workers]
        return found

    def kill(self) -> None:
        """SIGKILL of every process of the service at once: the supervisor, web, workers and store."""
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)  # so that it starts nobody anew meanwhile
        for pid in [*descendants(self.process.pid), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def close(self) -> None:
        self.end()
        subprocess.run([*PUSHLIVE, "down", "--all"], env=self.environ, capture_output=True, timeout=120)

    # ── the command line and the API ─────────────────────────────────────────

    @property
    def token(self) -> str:
        return (self.data / "token").read_text().strip()

    def pushlive(
        self, *arguments: str, code: int | None = 0, cwd: Path | None = None, **environ: str
    ) -> Done:
        """One command; an AssertionError where its exit code is another one (None: whatever it is)."""
        done = subprocess.run(
            [*PUSHLIVE, *arguments], env={**self.environ, **environ}, cwd=cwd or self.folder, text=True,
            capture_output=True, timeout=120,
        )  # fmt: skip
        found = Done(done.returncode, done.stdout, done.stderr)
        assert code in (None, found.code), f"{arguments} ended with {found.code}:\n{found.text}"
        return found

    def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded JSON of one call."""
        headers = {"Content-Type": "application/json"}
        if path != "/healthz":
            headers["Authorization"] = f"Bearer {self.token}"
        return self.http(method, path, None if body is None else json.dumps(body).encode(), headers)

    def http(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, Any]:
        status, _, text = self.request(method, path, body, headers)
        return status, json.loads(text or b"null")

    def request(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body."""
        connection = http.client.HTTPConnection(self.listen, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The same, where it must succeed."""
        status, answer = self.api(method, path, body)
        assert 200 <= status < 300, answer
        return answer

    # ── pushes and runs ──────────────────────────────────────────────────────

    def repository(self, name: str = "hello") -> Repository:
        """The developer's clone of that repository, made at first."""
        if name not in self._repositories:
            url = f"http://ann:{self.token}@{self.listen}/git/{name}.git"
            self._repositories[name] = Repository(self.folder / f"clone-{name}", url, self.environ)
        return self._repositories[name]

    def push(self, files: Files, message: str = "A change", name: str = "hello", *more: str) -> str:
        """A commit and a real ``git push`` to main; what it printed."""
        one = self.repository(name)
        one.commit(files, message)
        return one.git("push", *more, "pushlive", "main")

    def show(self, run: str = "hello") -> dict[str, Any]:
        """The run (``hello#3``; ``hello``: the latest) with timing and release."""
        name, _, number = run.partition("#")
        found: dict[str, Any] = self.ask("GET", f"/api/runs/{name}/{number or 'latest'}")
        return found

    def run(self, run: str = "hello") -> dict[str, Any]:
        found: dict[str, Any] = self.show(run)["run"]
        return found

    def runs(self, name: str = "hello") -> list[dict[str, Any]]:
        """Oldest first."""
        found: list[dict[str, Any]] = self.ask("GET", f"/api/runs?pipeline={name}&limit=200")["runs"]
        return found[::-1]

    def wait(self, run: str, *states: str, seconds: float = 60) -> dict[str, Any]:
        """The run once it is in one of the states (default: ended)."""
        until(lambda: self.run(run)["state"] in (states or ("ended",)), seconds)
        return self.run(run)

    def reached(self, run: str, stage: str, seconds: float = 30) -> None:
        """Waits until the run is in that stage."""
        until(lambda: self.run(run)["stage"] == stage, seconds)

    def log(self, run: str) -> str:
        name, _, number = run.partition("#")
        url = f"http://{self.listen}/api/runs/{name}/{number}/log"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return str(answer.read().decode())

    # ── what runs ────────────────────────────────────────────────────────────

    def environments(self, name: str = "hello") -> dict[str, dict[str, Any]]:
        status = self.ask("GET", f"/api/status?pipeline={name}")
        return {one["name"]: one for one in status["pipelines"][0]["environments"]}

    def releases(self, name: str = "hello") -> dict[str, int | None]:
        """The release that serves in each environment."""
        return {key: one["release"] for key, one in self.environments(name).items()}

    def page(self, environment: str = "live", path: str = "/", name: str = "hello") -> str:
        """The body on the environment's stable port; an AssertionError where it is not 200."""
        status, body = get(self.environments(name)[environment]["url"] + path)
        assert status == 200, f"{body}\n{self._found(name, environment)}"
        return body

    def _found(self, name: str, environment: str) -> str:
        """What there is of it, for those who have nothing but a failed test's output."""
        containers = [
            (one["Name"], one["State"], one["NetworkSettings"]["Networks"])
            for one in self.containers(name, environment)
        ]
        folder = self.data / "proxy"
        files = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
        state = (folder / "state.json").read_text() if "state.json" in files else ""
        log = subprocess.run(
            ["docker", "logs", "--tail", "60", f"{self.instance}-proxy"], capture_output=True, text=True
        )
        status = self.pushlive("status", name).out
        return "\n".join([status, *map(str, containers), str(files), state, log.stdout, self.output[-3000:]])

    def containers(self, name: str = "hello", environment: str = "live", **labels: str) -> list[Any]:
        """What ``docker inspect`` says of each of its containers, running or not, without commands."""
        wanted = {"instance": self.instance, "pipeline": name, "environment": environment, **labels}
        filters = {"label": ["pushlive.replica", *(f"pushlive.{k}={v}" for k, v in wanted.items())]}
        found = self.engine.containers(all=True, filters=filters)
        inspected = []
        for one in found:
            with suppress(docker.errors.NotFound):  # it went away in between
                inspected.append(self.engine.inspect_container(one["Id"]))
        return inspected


def get(url: str, **headers: str) -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def descendants(pid: int) -> list[int]:
    """All processes below that one, from /proc."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@contextmanager
def running(
    client: docker.DockerClient,
    config: str,
    command: tuple[str, ...] = (*PUSHLIVE, "up"),
    *,
    down: bool = True,
    **environ: str,
) -> Iterator[Service]:
    """A service with that pipelines.yaml; ``environ``: further settings. In both FOLDER stands for its folder.
    ``down``: removes its applications with `pushlive down --all`; without it only what is on this Engine is removed."""
    folder = Path(tempfile.mkdtemp(prefix="pl-"))  # short: a Unix socket is in it
    one = Service(folder, client.api, config, environ, command)
    try:
        one.up()
        yield one
    finally:
        if down:
            one.close()
        else:
            one.end()
        sweep(client, one.instance)
        shutil.rmtree(folder, ignore_errors=True)
