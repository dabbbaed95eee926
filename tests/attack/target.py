"""The service under attack, and what its people notice meanwhile."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
from tests.support.developer import web
from tests.support.service import Service, descendants, running
from tests.support.waiting import until

NAME = "shop"
NOISY = "noisy"
LOUD = "loud"  # its release command prints LOUD_OUTPUT
LOUD_OUTPUT = 40 << 20  # bytes
SLOW = tuple(f"slow{number}" for number in range(4))
SERVICE = "service: {memory: 16MiB, stop: 1s}, environments: {live: {bake: 0}}"
CONFIG = f"""
pipelines:
  {NAME}: {{{SERVICE}}}
  {NOISY}: {{{SERVICE}}}
  {LOUD}:
    service:
      memory: 16MiB
      stop: 1s
      release: [sh, -c, "yes {"x" * 200} | head -c {LOUD_OUTPUT}"]
    environments: {{live: {{bake: 0}}}}
""" + "".join(f"  {name}: {{{SERVICE}, smoke: [{{get: /cgi-bin/drips, within: 4m}}]}}\n" for name in SLOW)
LINES = 60_000  # that the noisy application has printed
PATIENCE = 30.0  # seconds for one answer; a person would have given up


@dataclass
class Target:
    """``answers``: the statuses that an attacker was given; ``wrong``: those that no input may cause; ``done``: what
    attackers succeeded in, by what it is."""

    service: Service
    viewer: str
    developer: str
    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.service.listen.rpartition(":")
        return host, int(port)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, PATIENCE)

    def took(self, status: int, headers: str, what: str) -> None:
        """Notes an answer. ``headers``: its head, as text."""
        self.answers[status] += 1
        if status >= 500 and not (status == 503 and "retry-after" in headers.lower()):
            self.wrong.append(f"{status} for {what}")


@contextmanager
def target(client: docker.DockerClient) -> Iterator[Target]:
    """Two releases of one application, so that a revert has where to go, and one that prints a lot."""
    with running(client, CONFIG) as service:
        chatter = f"seq 1 {LINES} | sed 's/$/ {'x' * 200}/'; exec httpd -f -p 0.0.0.0:8080 -h /www"
        service.push(web("version 1"), name=NAME)
        service.push(web("version 2"), name=NAME)
        service.push(web("version 1", command=chatter), name=NOISY)
        tokens = (_token(service, role) for role in ("viewer", "developer"))
        yield Target(service, *tokens)


def _token(service: Service, role: str) -> str:
    answer = service.ask("POST", "/api/tokens", {"name": f"a-{role}", "role": role})
    return str(answer["token"])


class Observer:
    """Asks /healthz all the while, reverts now and then, and adds up the memory of the service's processes."""

    def __init__(self, one: Target) -> None:
        self._target = one
        self.health: list[float] = []  # seconds that each answer took
        self.reverts: list[float] = []
        self.failed: list[str] = []
        self.peak = 0  # bytes
        self._over = threading.Event()
        self._threads = [threading.Thread(target=act) for act in (self._ask, self._revert, self._weigh)]

    def __enter__(self) -> Observer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.25):
            began = time.monotonic()
            try:
                status, _ = self._target.service.api("GET", "/healthz")
                if status != 200:
                    self.failed.append(f"/healthz answered {status}")
            except OSError as error:
                self.failed.append(f"/healthz: {error}")
            self.health.append(time.monotonic() - began)

    def _revert(self) -> None:
        service = self._target.service
        serving = service.releases(NAME)["live"]
        while not self._over.wait(1.0):
            wanted = 1 if serving == 2 else 2
            began = time.monotonic()
            done = service.pushlive(
                "revert", NAME, "--to", f"r{wanted}", "--reason", "under attack", code=None
            )
            self.reverts.append(time.monotonic() - began)
            if done.code:
                self.failed.append(f"revert: {done.text.strip()}")
            else:
                serving = wanted

    def _weigh(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, memory(self._target.service))


def memory(service: Service) -> int:
    """Bytes of all processes of the service, what they share counted once."""
    assert service.process
    total = 0
    for pid in [service.process.pid, *descendants(service.process.pid)]:
        with suppress(OSError, StopIteration):  # ended in between
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += int(next(line for line in lines if line.startswith("Pss:")).split()[1]) << 10
    return total


def settled(service: Service, wanted: int, seconds: float = 60) -> int:
    """The memory once it is down to ``wanted`` bytes, or after that time."""
    with suppress(AssertionError):
        until(lambda: memory(service) <= wanted, seconds)
    return memory(service)


def unique() -> str:
    return secrets.token_hex(6)
