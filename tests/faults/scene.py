"""A whole service to try faults on: its pipelines, what is asked of them all the while, and what it really has."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from pipeline.adapters.haproxy.control import Control
from pipeline.domain.environment import SLOTS, Environment
from pipeline.domain.events import Event
from pipeline.domain.run import Run
from pipeline.runtime import embedded_store
from pipeline.store import Store
from tests.faults.histories import told
from tests.faults.own_engine import OwnEngine
from tests.faults.traps import FOLDER, clear
from tests.support.developer import web
from tests.support.load import Load
from tests.support.paths import ROOT
from tests.support.remote_repository import RemoteRepository
from tests.support.service import Service, get, running

NAMES = tuple(f"app{number}" for number in range(1, 7))  # pushed to the built-in git server
FEW = NAMES[:3]  # enough where they are tried one after the other: the others must go on serving
AWAY = 5  # more applications, whose repositories are elsewhere: told of by webhooks
SERVICE = "{memory: 16MiB, stop: 1s, ready: 20s, release: [sh, -c, 'echo migrating; sleep 0.3']}"
UP = ("-m", "tests.faults.up")
WORKERS = 4
PAUSE = 0.1  # seconds between two requests of one client
KEEPER, CLOCK = (
    "keeper.pid",
    "clock",
)  # files beside the traps: the keeper's process; how far the clock is off
BAKE = "2m"  # more than any fault takes to be seen
# Serves until a file appears; then it exits a second after each start, or fills its memory.
FRAGILE = (
    "httpd -p 0.0.0.0:8080 -h /www; while [ ! -e /crash ]; do sleep 0.1; done; sleep 1; "
    "[ -e /fill ] && exec tail /dev/zero; exit 3"
)
HEALTH = """#!/bin/sh
[ -e /sick ] && echo 'Status: 500 Internal Server Error' || echo 'Status: 200 OK'
printf 'Content-Type: text/plain\\n\\n'
"""


def away_names(number: int) -> tuple[str, ...]:
    return tuple(f"away{n + 1}" for n in range(number))


def config(away: int, names: tuple[str, ...], service: str = SERVICE, bake: str = "0") -> str:
    """``service``: of the applications of these names; ``bake``: of every one's live."""
    own, lines = service, ["pipelines:"]
    for name in (*names, *away_names(away)):
        source = f'source: {{url: "file://FOLDER/{name}.git"}}, ' if name not in names else ""
        smoke = "smoke: [{get: /, contains: version}]"
        service = own if name in names else "{memory: 16MiB, stop: 1s}"
        lines.append(
            f"  {name}: {{{source}service: {service}, {smoke}, environments: {{live: {{bake: {bake}}}}}}}"
        )
    return "\n".join(lines) + "\n"


def application(version: str) -> dict[str, str | None]:
    """The application's files; building it takes half a second and prints something in between."""
    files = web(version)
    files["Dockerfile"] = str(files["Dockerfile"]).replace("CMD", "RUN echo building; sleep 0.5\nCMD")
    return files


def fragile(version: str) -> dict[str, str | None]:
    """An application that fails in the way that files in its container say."""
    files = web(version, command=FRAGILE, **{"www/cgi-bin/health": HEALTH})
    files["Dockerfile"] = str(files["Dockerfile"]).replace("CMD", "RUN chmod +x /www/cgi-bin/health\nCMD")
    return files


class Scene:
    """On this machine's Docker Engine; ``tests.cluster.scene`` tells what is different on a cluster."""

    names: tuple[str, ...]  # those that are pushed to the built-in git server
    pushed_at: dict[str, float]  # by name, when something was last pushed to it, on the monotonic clock

    def __init__(self, service: Service, away: int, names: tuple[str, ...] = NAMES) -> None:
        self.names, self.pushed_at = names, {}
        self.service, self.away_names = service, away_names(away)
        self.traps = Path(service.environ[FOLDER])
        self.traps.mkdir()
        self.application = application
        self.dockerd: OwnEngine | None = None
        self._away: dict[str, RemoteRepository] = {}
        self.store = Store(embedded_store.url(service.data), service.instance, timeout=5.0)

    def begin(self, names: tuple[str, ...]) -> None:
        """A first good release of each."""
        pushing = []
        for name in names:
            clone = self.service.repository(name)
            clone.commit(self.application("version 0"), "The first")
            pushing.append(clone.started("push", "pushlive", "main"))
        for one in pushing:
            out, _ = one.communicate(timeout=120)
            assert "is live: r1" in out, out

    def away(self, name: str) -> RemoteRepository:
        if name not in self._away:
            self._away[name] = RemoteRepository(self.service, name)
        return self._away[name]

    def load(self, name: str) -> Load:
        """Two clients that keep asking for the live page, over one connection and over fresh ones."""

        def count(body: str) -> str:
            if not body.startswith("version"):
                raise ValueError(f"not the application's page: {body[:80]!r}")
            return body.strip()

        port = int(self.service.environments(name)["live"]["url"].rpartition(":")[2])
        return Load(port, count, pause=PAUSE).kept_alive(1, "/").fresh(1, "/")

    # ── what is recorded, and what is there ──────────────────────────────────

    def runs(self, name: str) -> tuple[Run, ...]:
        """Every run, oldest first."""
        return self.store.recent(name, 2000)[::-1]

    def live(self, name: str) -> Environment:
        found = self.store.environment(name, "live")
        assert found, f"{name} has no live environment"
        return found

    def head(self, name: str) -> str:
        """The head of main where it is pushed to."""
        folder = self.service.data / "git" if name in self.names else self.service.folder
        folder = folder / f"{name}.git"
        done = subprocess.run(
            ["git", "--git-dir", folder, "rev-parse", "main"], capture_output=True, text=True
        )
        return done.stdout.strip()

    def ends(self, run: Run) -> int:
        """How many ends the run was told to have."""
        return sum(event.kind == "end" for event in self.events(run))

    def events(self, run: Run) -> Iterator[Event]:
        """All that was told of the run, oldest first."""
        return told(self.store, run.id)

    def page(self, name: str) -> str:
        """What the application shows in live. Raises OSError or AssertionError where it does not answer."""
        return get(self.service.environments(name)["live"]["url"])[1].strip()

    def serves(self, place: Environment) -> str:
        """The slot that the proxy itself says it sends the traffic to, "" for none."""
        value = Control(self.service.data / "proxy").map("active.map").get(f"e{place.index}", "")
        return next((slot for slot in SLOTS if value.endswith(f"-{slot}")), "")

    def orphans(self, name: str) -> list[str]:
        """Containers of live that no record owns, and recorded ones that do not run."""
        environment = self.live(name)
        owned = {(slot, str(record.release)) for slot, record in environment.slots.items()}
        there = self.held(name)
        serving = {(environment.active, str(environment.serving))}
        return [
            *(f"nobody owns {slot} r{release} of {name}" for slot, release in sorted(there - owned)),
            *(f"{slot} r{release} of {name} does not run" for slot, release in serving - there),
        ]

    def held(self, name: str) -> set[tuple[str, str]]:
        """Slots and releases of which anything is there."""
        labels = [one["Config"]["Labels"] for one in self.service.containers(name)]
        return {(one["pushlive.slot"], one["pushlive.release"]) for one in labels}

    def commands_started(self, since: float, until: float) -> dict[str, int]:
        """How often each container of a command was started between two moments (the wall clock's)."""
        labels = [f"pushlive.instance={self.service.instance}", "pushlive.command"]
        filters = {"type": "container", "event": "start", "label": labels}
        found: dict[str, int] = {}
        for event in self.service.engine.events(since=since, until=until, filters=filters, decode=True):
            name = event["Actor"]["Attributes"]["name"]
            found[name] = found.get(name, 0) + 1
        return found

    def forget(self, name: str) -> None:
        clear(self.traps, name)


@contextmanager
def scene(
    client: docker.DockerClient, away: int = AWAY, names: tuple[str, ...] = NAMES, **environ: str
) -> Iterator[Scene]:
    """A service with the applications of these names live; ``away`` more are elsewhere, and not live yet."""
    environ = {
        "PUSHLIVE_GIT_ALLOW": "file://FOLDER/",
        "PUSHLIVE_WORKERS": str(WORKERS),
        FOLDER: f"FOLDER/traps-{secrets.token_hex(2)}",
        **environ,
    }
    with running(client, config(away, names), (sys.executable, *UP), **environ) as service:
        one = Scene(service, away, names)
        one.begin(names)
        yield one


@contextmanager
def watched_scene(client: docker.DockerClient) -> Iterator[Scene]:
    """Applications that can be made to fail, watched after each switch; the service's wall clock can be set."""
    text = config(0, NAMES, SERVICE.replace("{", "{health: /cgi-bin/health, ", 1), BAKE)
    traps = f"FOLDER/traps-{secrets.token_hex(2)}"
    environ = {
        FOLDER: traps,
        "PUSHLIVE_TEST_CLOCK": f"{traps}/{CLOCK}",
        "PYTHONPATH": f"{ROOT / 'tests' / 'faults' / 'clock'}{os.pathsep}{ROOT}",
    }
    with running(client, text, (sys.executable, *UP), **environ) as service:
        one = Scene(service, 0, NAMES)
        one.application = fragile
        one.begin(NAMES)
        yield one


@contextmanager
def own_scene() -> Iterator[Scene]:
    """The same on a Docker daemon of its own, which may be restarted and whose disk is small."""
    with OwnEngine() as engine:
        client = docker.DockerClient(base_url=engine.host)
        try:
            with scene(
                client, names=FEW, DOCKER_HOST=engine.host, PUSHLIVE_SUBNETS=engine.subnets,
                PUSHLIVE_DISK_FREE="1MiB",
            ) as one:  # fmt: skip
                one.dockerd = engine
                yield one
        finally:
            client.close()
