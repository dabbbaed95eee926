"""The outside world as the domain sees it. One Protocol for each outside thing.

Every adapter promises:

* **Errors**: only those of ``pipeline.errors`` leave it, never an SDK's own.
* **Idempotence**: what is marked *twice* may be called again after a crash and finds what is there.
* **Patience**: a method that may take long takes a ``Watch`` and calls ``watch.check()`` at least every
  250 ms; it then raises what the watch raises, after leaving things as a second call can find them.
* **Clean-up**: touches only what carries this instance's labels, and is silent about what is gone already.

``tests/contract`` runs one suite over the strict fake, Docker and Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from pipeline.config.engines import DOCKER
from pipeline.config.models import Build
from pipeline.config.models import Source as SourceConfig
from pipeline.domain.engine_types import Answer, CommandResult, Image, Login, Place, Replica, Route, SlotSpec
from pipeline.domain.environment import Slot
from pipeline.domain.events import Event

Emit = Callable[[Event], None]


class Clock(Protocol):
    def now(self) -> float:
        """Seconds since the epoch, for people."""

    def monotonic(self) -> float:
        """Seconds that never jump: every deadline is measured on these."""

    def sleep(self, seconds: float) -> None: ...


class Watch(Protocol):
    """A step's patience: its deadline, and whether the run is still wanted and still ours."""

    def check(self) -> None:
        """Raises TimedOut, Cancelled or LeaseLost when it is time to stop."""

    def remaining(self) -> float:
        """Seconds until the deadline, never negative."""

    def wait(self, seconds: float) -> None:
        """Sleeps that long, or less when the deadline is nearer, then checks."""


class Bell(Protocol):
    def ring(self, pipeline: str, *, urgent: bool = False) -> None:
        """Wakes a worker for this pipeline. Twice is harmless; a lost ring is found by the sweep."""


@dataclass(frozen=True)
class Commit:
    id: str
    message: str  # first line, control characters removed
    author: str


class Source(Protocol):
    """Repositories. ``key`` names one local repository: the pipeline's name."""

    def fetch(self, key: str, source: SourceConfig, watch: Watch) -> str:
        """Brings the branch's head here (incrementally) and returns its commit id. Twice.

        For a repository on the built-in server nothing is copied. Raises EngineFailed (unreachable, refused,
        too large, asks for a password) or RequestError (no such branch, forbidden URL).
        """

    def commit(self, key: str, source: SourceConfig, commit: str) -> Commit:
        """Raises NotFound when the commit is not here."""

    def keep(self, key: str, source: SourceConfig, commit: str, name: str) -> None:
        """Protects the commit from git's clean-up under ``refs/pushlive/<name>``. Twice."""

    def tree(self, key: str, source: SourceConfig, commit: str, path: str) -> str:
        """The git tree id of that folder. Raises RequestError when the folder is missing."""

    def read(self, key: str, source: SourceConfig, commit: str, path: str) -> bytes | None:
        """One file (at most 1 MiB), or None where it is missing."""

    def unsupported(self, key: str, source: SourceConfig, commit: str) -> str:
        """Why this commit cannot be built yet (submodules, LFS), as a message; "" when it can."""

    def archive(
        self, key: str, source: SourceConfig, commit: str, path: str
    ) -> AbstractContextManager[IO[bytes]]:
        """The folder as a tar stream (``git archive``), straight from the object store, equal to a checkout."""


@dataclass(frozen=True)
class BuildRequest:
    """``key`` is equal for equal tree and build settings; base digests are added by the builder."""

    pipeline: str
    commit: str
    key: str
    build: Build
    dockerfile: str  # the Dockerfile's text
    dockerignore: str  # the .dockerignore's text, "" where there is none
    rebuild: bool = False


class Builder(Protocol):
    def build(
        self,
        request: BuildRequest,
        context: Callable[[], AbstractContextManager[IO[bytes]]],
        emit: Emit,
        watch: Watch,
    ) -> Image:
        """Makes the image, or finds the one made from the same key and bases. Twice.

        ``context`` opens the unfiltered tar stream; it is not called where the image is reused. Emits
        ``vertex`` events (text: the Dockerfile step; data: {"seconds", "cached", "error"}) and ``line``
        events (build output) as they happen. Raises AppFailed (the Dockerfile's fault, with the failing
        lines as evidence), EngineFailed (Docker unreachable, disk full, base image not to be had), and what
        the watch raises; nothing is left running then.
        """

    def tag(self, digest: str, repository: str, tag: str) -> None:
        """Twice. Raises EngineFailed when the image is gone."""

    def push(
        self, digest: str, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
    ) -> str:
        """Sends the image to ``repository`` (``HOST/NAME``) in a registry, under that tag; where it lies there,
        by its digest: ``HOST/NAME@sha256:…``. Twice: what the registry has already is not sent again, and the same
        image has the same digest. Passing trouble is met by trying again for a while; emits ``note`` and
        ``warning`` events. Leaves no tag of the registry's on an image that
        has others. Raises ConfigError (the login is refused),
        TryAgain (not reached for long), EngineFailed (the registry keeps failing, the image is gone), and what
        the watch raises. Without a login it is as `docker login` left this machine."""

    def exists(self, digest: str) -> bool: ...

    def images(self, repository: str) -> dict[str, tuple[str, ...]]:
        """Our images of that repository: digest → tags."""

    def untag(self, repository: str, tag: str) -> None:
        """Removes one tag of ours, and the image with the last tag unless a container uses it. Twice."""


class Engine(Protocol):
    """Runs releases in slots and moves the traffic between slots.

    Call order for one deployment: ``prepare · fits · [command] · start · ready · expose · preview … switch ·
    public …`` and later ``drain · stop``. ``switch`` to a slot that was not exposed is refused.
    """

    def prepare(self, place: Place, hosts: tuple[str, ...]) -> None:
        """The environment's network and its routes (host names, loopback port). Twice. Until the first
        switch the routes answer an explained 503. Costs no reload and no connection of anybody."""

    def fits(self, spec: SlotSpec) -> None:
        """Raises DoesNotFit, with the figures, when the slot's memory is not to be had beside what runs."""

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        """Containers of that release in that slot, started, not yet ready. Twice: what is there and equal
        is kept, what is there and different is removed first."""

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        """Waits until every replica answers its health path. Raises AppFailed within a second when one exits
        (exit code, last lines as evidence), or when the watch's deadline comes (TimedOut becomes AppFailed
        that names the port it listens on instead, or 127.0.0.1). Nothing is removed."""

    def expose(self, spec: SlotSpec) -> None:
        """Tells the proxy the slot's addresses, for the preview route only. Twice."""

    def preview(self, spec: SlotSpec) -> Route:
        """The way to this very slot through the proxy; not reachable for the public."""

    def public(self, spec: SlotSpec) -> Route:
        """The environment's public route, with the servers of this spec as the expected ones."""

    def switch(self, spec: SlotSpec) -> None:
        """The one atomic act: traffic goes to this slot. Survives a restart of the proxy. Twice."""

    def unroute(self, place: Place) -> None:
        """The environment serves the explained 503 again. Twice."""

    def serving(self, place: Place) -> Slot | None:
        """The slot that the proxy really sends traffic to (``place.slot`` is ignored)."""

    def replicas(self, place: Place) -> tuple[Replica, ...]:
        """What is in the slot now."""

    def lacks(self, spec: SlotSpec) -> tuple[str, ...]:
        """What keeps that slot from running and being exposed as the spec says, in words; empty when all is there.
        Changes nothing."""

    def revive(self, spec: SlotSpec) -> bool:
        """A slot that should run is made to run again (restart, or start anew), exposed; True if it acted."""

    def differs(self, spec: SlotSpec) -> tuple[str, ...]:
        """How a slot that runs differs from the spec, value by value: what somebody changed by hand, or what a changed
        configuration would change. Changes nothing; () where that is not to be known."""

    def straighten(self, spec: SlotSpec) -> None:
        """Takes back what somebody changed by hand in that slot, without taking it out of service. Twice."""

    def open_sessions(self, place: Place) -> int:
        """How many requests or connections the slot still serves."""

    def drain(self, place: Place, limit: float, watch: Watch) -> int:
        """Waits until the slot serves nothing more, at most ``limit`` seconds, then closes what is left.
        Returns how many were closed."""

    def detach(self, place: Place, mark: str) -> int:
        """Ends the connections to a slot that outlived a switch away from it, and leaves it warm. ``mark`` names that
        switch: the same one twice does it once. Returns how many containers had to be replaced for it: 0 where the
        proxy moves every connection with the switch."""

    def stop(self, place: Place) -> None:
        """Empties the slot: containers ended (bounded) and removed, addresses taken from the proxy. Twice."""

    def command(
        self, spec: SlotSpec, name: str, argv: tuple[str, ...], env: dict[str, str], emit: Emit, watch: Watch
    ) -> CommandResult:
        """Runs a command in a container of the release, on the environment's network. ``name`` makes it
        unique: called again, it finds the earlier container and returns or awaits its result. Raises
        OutcomeUnknown when one was begun and its result is not to be had."""

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        """Removes a finished command's container. Twice."""

    def command_runs(self, place: Place) -> frozenset[int]:
        """The runs of which containers of commands are still in that environment."""

    def forget_commands(self, place: Place, run: int) -> None:
        """Removes that run's containers of commands from the environment. Twice."""

    def logs(self, place: Place, lines: int) -> tuple[str, ...]:
        """The slot's last output lines, oldest first, prefixed with the replica where there are several."""

    def remove(self, place: Place) -> None:
        """The whole environment: both slots, routes and network. Twice."""

    def slots(self) -> Iterable[Place]:
        """Every slot that has anything of this instance in it, running or kept (for reconciliation)."""


class Probe(Protocol):
    def get(self, route: Route, path: str, timeout: float) -> Answer:
        """One GET over a fresh connection; no redirect is followed; the body is cut at 1 MiB. Raises TryAgain
        when no answer came (refused, timed out, broken), with a message fit for a person."""

    def tcp(self, address: str, port: int, timeout: float, engine: str = DOCKER) -> float:
        """Opens and closes a connection; returns the seconds. ``address``: where a replica on that engine is reached
        (``Replica.reach``). Raises TryAgain."""


class Post(Protocol):
    def send(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
        """One POST over a fresh connection, ended after ``timeout`` seconds whatever the receiver does; returns the
        status. No redirect is followed, the answer's body is thrown away. Twice: the receiver knows a message by
        its id. Raises TryAgain when no answer came, with a message that holds nothing of the address's path."""


@dataclass(frozen=True)
class Parts:
    """Everything that the story needs from outside, made in ``pipeline.wiring``."""

    source: Source
    builder: Builder
    engine: Engine
    probe: Probe
    clock: Clock
    bell: Bell
