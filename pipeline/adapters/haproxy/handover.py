"""Replaces a running proxy by one with another configuration. No request fails.

Both containers bind the same ports, which the kernel allows for two processes of one user that ask for it, as HAProxy
does. Once the second one answers, the first one closes its frontends: it gets no new connection, and tells each client
that it has with the next answer to open another one. It is removed when it has none left, or when its time is over;
nothing waits for that.

HAProxy binds its control sockets by name, so the second one takes them over. The first one stays reachable by a hard
link to its own, which also puts it back if the second one does not start.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.haproxy.control import SOCKET, Control
from pipeline.adapters.haproxy.draining import LEAST, Draining, Mark
from pipeline.adapters.haproxy.open_files import launch
from pipeline.errors import EngineAway, EngineFailed
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

NEXT = "-next"  # ends the second container's name, until it has taken over
BEFORE = "-before"  # ends the first one's name from then on
START = 15.0  # seconds until the second one must answer
FRONTENDS = ("hosts", "ports", "preview", "last")
_BEFORE = "before-"
_SOCKETS = (SOCKET, "last.sock")


class Handover:
    """``name``: the container that runs; ``folder``: with the sockets of both. The caller has the start lock.

    Call order: ``start``, then ``decide`` and ``retire``, or ``undo``; from then on ``finish``, until it returns
    something else than None. ``settle`` after a crash."""

    def __init__(self, api: DockerApi, name: str, folder: Path, control: Control, clock: Clock) -> None:
        self._api, self._name, self._folder = api, name, folder
        self._control, self._clock = control, clock
        self._first = Control(folder, f"{_BEFORE}{SOCKET}")
        self._mark = Mark(folder)

    def start(self, body: Body, environments: int) -> None:
        """See ``ProxyContainer.replace``. ``environments``: how many it has to serve at most."""
        self._keep_sockets()
        try:
            self._start(body, environments)
            self._api.restart_never(self._name)
        except Exception:
            self.undo()
            raise

    def undo(self) -> None:
        """The first one goes on alone. Idempotent."""
        self._api.remove(f"{self._name}{NEXT}")
        if self._api.container(self._name):
            self._api.restart_always(self._name)
        for name in _SOCKETS:
            with suppress(FileNotFoundError):
                os.replace(self._folder / f"{_BEFORE}{name}", self._folder / name)
        self._forget()  # a rename does nothing between two links to one file

    def decide(self, seconds: float) -> None:
        """From now on the second one takes over. The first one has ``seconds`` for what it has. Raises EngineFailed."""
        self._mark.write(Draining(self._clock.monotonic() + seconds, seconds))

    def retire(self) -> None:
        """The first one takes no more connections. Idempotent."""
        with suppress(EngineAway):  # it has ended by itself, or hangs
            for frontend in FRONTENDS:
                self._first.ask(f"shutdown frontend {frontend}")
        if self._api.container(self._name):
            self._api.remove(f"{self._name}{BEFORE}")
            self._api.rename(self._name, f"{self._name}{BEFORE}")
        self._api.rename(f"{self._name}{NEXT}", self._name)

    def settle(self, wanted: str) -> None:
        """After a crash there is one container: the second one if it answers with the structure ``wanted``."""
        found = self._api.container(self._name)
        if found and found["State"]["Running"] and not self._has(wanted):
            self.undo()
        else:
            if self._mark.read() is None:
                self.decide(LEAST)
            self.retire()

    def first(self) -> Control | None:
        """Takes commands for the first one while it ends what it has."""
        return self._first if self._mark.read() else None

    def finish(self) -> str | None:
        """Removes the first one if it has no connection left, or no time. What there is to report; None as long as
        there is no such container, or it has both."""
        draining = self._mark.read()
        if draining is None:
            return None
        if self._api.container(f"{self._name}{NEXT}"):  # the Engine did not answer in time
            self.retire()
        left = self._connections()
        if left and not draining.over(self._clock.monotonic()):
            return None
        self.forget()
        return cut(self._name, left, draining.limit)

    def forget(self) -> None:
        """Removes the first one at once. Idempotent."""
        self._api.remove(f"{self._name}{BEFORE}")
        self._forget()
        self._mark.remove()

    def _connections(self) -> int:
        found = self._api.container(f"{self._name}{BEFORE}")
        return connections(self._first) if found and found["State"]["Running"] else 0

    def _has(self, wanted: str) -> bool:
        try:
            return self._control.structure() == wanted
        except EngineAway:
            return False

    def _keep_sockets(self) -> None:
        self._forget()
        for name in _SOCKETS:
            with suppress(FileNotFoundError):  # version 0.1.0 has no last.sock
                os.link(self._folder / name, self._folder / f"{_BEFORE}{name}")

    def _forget(self) -> None:
        for name in _SOCKETS:
            (self._folder / f"{_BEFORE}{name}").unlink(missing_ok=True)

    def _start(self, body: Body, environments: int) -> None:
        second, before = f"{self._name}{NEXT}", os.stat(self._folder / SOCKET).st_ino
        self._api.remove(second)
        launch(self._api, second, body, environments)

        def answers() -> bool:
            found = self._api.container(second)
            if not found or found["RestartCount"] or not found["State"]["Running"]:
                raise self._failed()
            return os.stat(self._folder / SOCKET).st_ino != before and self._control.answers()

        if not poll(answers, 0.05, self._clock, timeout=START):
            raise self._failed()

    def _failed(self) -> EngineFailed:
        return failed(self._name, self._api.output(f"{self._name}{NEXT}", 20))


def failed(name: str, output: tuple[str, ...]) -> EngineFailed:
    """The error for a second one that does not start."""
    said = " · ".join(line for line in output if "NOTICE" not in line)[-600:] or "nothing"
    return EngineFailed(
        f"The proxy {name} could not be replaced by one with this version's configuration: that one does not"
        f" start. It said: {said}",
        advice="The one that runs goes on as before. `pushlive doctor --fix` tries again.",
    )


def connections(control: Control) -> int:
    """How many it has; 1 if it does not tell: it may just be busy."""
    try:
        return int(control.info("CurrConns"))
    except (EngineAway, ValueError):
        return 1


def cut(name: str, left: int, seconds: float) -> str:
    """What was cut off with the first one, for people; "" if nothing was."""
    if not left:
        return ""
    return f"the proxy {name} was replaced; what the former one had not ended after {seconds:g} s was cut off"
