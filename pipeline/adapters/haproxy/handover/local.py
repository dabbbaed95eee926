"""The handover on this machine: the second HAProxy has a container of its own, beside that of the first one.

HAProxy binds its control sockets by name, so the second one takes them over. The first one stays reachable by a hard
link to its own, which also puts it back if the second one does not start.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.haproxy import last_resort
from pipeline.adapters.haproxy.control import SOCKET, Control
from pipeline.adapters.haproxy.handover.base import START, Handover, close, connections
from pipeline.adapters.haproxy.handover.draining import LEAST, Draining, Mark
from pipeline.adapters.haproxy.open_files import launch
from pipeline.errors import EngineAway
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

NEXT = "-next"  # ends the second container's name, until it has taken over
BEFORE = "-before"  # ends the first one's name from then on
_BEFORE = "before-"
_SOCKETS = (SOCKET, *last_resort.SOCKETS)


class LocalHandover(Handover):
    """``folder``: with the sockets of both. See ``Handover``."""

    def __init__(self, api: DockerApi, name: str, folder: Path, control: Control, clock: Clock) -> None:
        super().__init__(api, name, Mark(folder), clock)
        self._folder, self._control = folder, control
        self._first = Control(folder, f"{_BEFORE}{SOCKET}")

    def start(self, body: Body, environments: int) -> None:
        """See ``Handover.start``."""
        self._keep_sockets()
        try:
            self._start(body, environments)
            self._api.restart_never(self._name)
        except Exception:
            self.undo()
            raise

    def undo(self) -> None:
        """See ``Handover.undo``."""
        self._api.remove(f"{self._name}{NEXT}")
        if self._api.container(self._name):
            self._api.restart_always(self._name)
        for name in _SOCKETS:
            with suppress(FileNotFoundError):
                os.replace(self._folder / f"{_BEFORE}{name}", self._folder / name)
        self._forget_sockets()  # a rename does nothing between two links to one file

    def decide(self, seconds: float) -> None:
        """See ``Handover.decide``."""
        self._mark.write(Draining(self._clock.monotonic() + seconds, seconds))

    def retire(self) -> None:
        """See ``Handover.retire``."""
        close(self._first)
        if self._api.container(self._name):
            self._api.remove(f"{self._name}{BEFORE}")
            self._api.rename(self._name, f"{self._name}{BEFORE}")
        self._api.rename(f"{self._name}{NEXT}", self._name)

    def settle(self, wanted: str) -> None:
        """See ``Handover.settle``. The second one stays if it answers with the structure ``wanted``."""
        if self._api.container(f"{self._name}{NEXT}") is None:
            return
        found = self._api.container(self._name)
        if found and found["State"]["Running"] and not self._has(wanted):
            self.undo()
            return
        if self._mark.read() is None:
            self.decide(LEAST)
        self.retire()

    def forget(self) -> None:
        """See ``Handover.forget``."""
        self._api.remove(f"{self._name}{NEXT}")
        self._end(Draining(0.0, 0.0))
        super().forget()

    def _control_of(self, draining: Draining) -> Control:  # noqa: ARG002 - there is one
        return self._first

    def _connections(self, draining: Draining) -> int:
        if self._api.container(f"{self._name}{NEXT}"):  # the Engine did not answer in time
            self.retire()
        found = self._api.container(f"{self._name}{BEFORE}")
        return connections(self._control_of(draining)) if found and found["State"]["Running"] else 0

    def _end(self, draining: Draining) -> None:  # noqa: ARG002 - there is one
        self._api.remove(f"{self._name}{BEFORE}")
        self._forget_sockets()

    def _has(self, wanted: str) -> bool:
        try:
            return self._control.structure() == wanted
        except EngineAway:
            return False

    def _keep_sockets(self) -> None:
        self._forget_sockets()
        for name in _SOCKETS:
            with suppress(FileNotFoundError):  # earlier versions have fewer
                os.link(self._folder / name, self._folder / f"{_BEFORE}{name}")

    def _forget_sockets(self) -> None:
        for name in _SOCKETS:
            (self._folder / f"{_BEFORE}{name}").unlink(missing_ok=True)

    def _start(self, body: Body, environments: int) -> None:
        second, before = f"{self._name}{NEXT}", os.stat(self._folder / SOCKET).st_ino
        self._api.remove(second)
        launch(self._api, second, body, environments)

        def answers() -> bool:
            found = self._api.container(second)
            if not found or found["RestartCount"] or not found["State"]["Running"]:
                raise self._failed(self._api.output(second, 20))
            return os.stat(self._folder / SOCKET).st_ino != before and self._control.answers()

        if not poll(answers, 0.05, self._clock, timeout=START):
            raise self._failed(self._api.output(second, 20))
