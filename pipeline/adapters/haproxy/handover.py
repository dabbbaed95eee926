"""Replaces a running proxy by one with another configuration. No request fails.

Both containers bind the same ports, which the kernel allows for two processes of one user that ask for it, as HAProxy
does. Once the second one answers, the first one closes its frontends: it gets no new connection, and tells each client
that it has with the next answer to open another one.

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
from pipeline.adapters.haproxy.open_files import launch
from pipeline.errors import EngineAway, EngineFailed
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

NEXT = "-next"  # ends the second container's name, until the first one is gone
START = 15.0  # seconds until the second one must answer
DRAIN = 15.0  # seconds for requests and kept connections to end in the first one
FRONTENDS = ("hosts", "ports", "preview", "last")
_BEFORE = "before-"
_SOCKETS = (SOCKET, "last.sock")


class Handover:
    """``name``: the container that runs; ``folder``: with the sockets of both. The caller has the start lock."""

    def __init__(self, api: DockerApi, name: str, folder: Path, control: Control, clock: Clock) -> None:
        self._api, self._name, self._folder = api, name, folder
        self._control, self._clock = control, clock
        self._first = Control(folder, f"{_BEFORE}{SOCKET}")

    def run(self, body: Body, environments: int) -> str:
        """See ``ProxyContainer.replace``. ``environments``: how many it has to serve at most."""
        self._keep_sockets()
        try:
            self._start(body, environments)
        except Exception:
            self._put_back()
            raise
        return self._retire()

    def settle(self, wanted: str) -> None:
        """After a crash there is one container: the second one if it answers with the structure ``wanted``."""
        found = self._api.container(self._name)
        if found and found["State"]["Running"] and not self._has(wanted):
            self._put_back()
            return
        self._take_over()

    def _has(self, wanted: str) -> bool:
        try:
            return self._control.structure() == wanted
        except EngineAway:
            return False

    def _keep_sockets(self) -> None:
        self._forget_sockets()
        for name in _SOCKETS:
            with suppress(FileNotFoundError):  # version 0.1.0 has no last.sock
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
                raise self._failed()
            return os.stat(self._folder / SOCKET).st_ino != before and self._control.answers()

        if not poll(answers, 0.05, self._clock, timeout=START):
            raise self._failed()

    def _failed(self) -> EngineFailed:
        lines = [line for line in self._api.output(f"{self._name}{NEXT}", 20) if "NOTICE" not in line]
        said = " · ".join(lines)[-600:] or "nothing"
        return EngineFailed(
            f"The proxy {self._name} could not be replaced by one with this version's configuration: that one does not"
            f" start. It said: {said}",
            advice="The one that runs goes on as before. `pushlive doctor --fix` tries again.",
        )

    def _put_back(self) -> None:
        self._api.remove(f"{self._name}{NEXT}")
        for name in _SOCKETS:
            with suppress(FileNotFoundError):
                os.replace(self._folder / f"{_BEFORE}{name}", self._folder / name)
        self._forget_sockets()  # a rename does nothing between two links to one file

    def _retire(self) -> str:
        ended = False
        with suppress(EngineAway):  # it ended by itself, or hangs
            for frontend in FRONTENDS:
                self._first.ask(f"shutdown frontend {frontend}")
            ended = poll(lambda: self._first.info("CurrConns") == "0", 0.05, self._clock, timeout=DRAIN)
        left = "" if ended else f" What had not ended after {DRAIN:.0f} s was cut off."
        self._take_over()
        return f"the proxy {self._name} was replaced by one with this version's configuration.{left}"

    def _take_over(self) -> None:
        self._api.remove(self._name)
        self._api.rename(f"{self._name}{NEXT}", self._name)
        self._forget_sockets()
