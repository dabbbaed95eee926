"""Replaces a running proxy by one with another configuration. No request fails.

Both bind the same ports, which the kernel allows for two processes of one user that ask for it, as HAProxy does. Once
the second one answers, the first one closes its frontends: it gets no new connection, and tells each client that it has
with the next answer to open another one. It ends when it has none left, or when its time is over; nothing waits for
that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress

from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.haproxy import last_resort
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.haproxy.handover.draining import Draining, Mark
from pipeline.errors import EngineAway, EngineFailed
from pipeline.ports.clock import Clock

START = 15.0  # seconds until the second one must answer
FRONTENDS = ("hosts", "ports", "preview", *last_resort.FRONTENDS)


class Handover(ABC):
    """``name``: the container that runs. The caller has the start lock.

    Call order: ``start``, then ``decide`` and ``retire``, or ``undo``; from then on ``finish``, until it returns
    something else than None. ``settle`` after a crash, before anything else."""

    def __init__(self, api: DockerApi, name: str, mark: Mark, clock: Clock) -> None:
        self._api, self._name, self._mark, self._clock = api, name, mark, clock

    @abstractmethod
    def start(self, body: Body, environments: int) -> None:
        """Starts the second one, which takes commands from then on. ``body``: its container; ``environments``: how many
        it has to serve at most. Raises EngineFailed if it does not start: then the first one goes on as before."""

    @abstractmethod
    def undo(self) -> None:
        """The first one goes on alone. Idempotent."""

    @abstractmethod
    def decide(self, seconds: float) -> None:
        """From now on the second one takes over. The first one has ``seconds`` for what it has. Raises EngineFailed."""

    @abstractmethod
    def retire(self) -> None:
        """The first one takes no more connections. Idempotent."""

    @abstractmethod
    def settle(self, wanted: str) -> None:
        """Ends a handover that was cut off. ``wanted``: see ``config.structure_of``."""

    def first(self) -> Control | None:
        """Takes commands for the first one while it ends what it has."""
        draining = self._mark.read()
        return self._control_of(draining) if draining else None

    def finish(self) -> str | None:
        """Ends the first one if it has no connection left, or no time. What there is to report; None as long as there
        is no such proxy, or it has both."""
        draining = self._mark.read()
        if draining is None:
            return None
        left = self._connections(draining)
        if left and not draining.over(self._clock.monotonic()):
            return None
        self._end(draining)
        self._mark.remove()
        if not left:
            return ""
        text = f"what the former one had not ended after {draining.limit:g} s was cut off"
        return f"the proxy {self._name} was replaced; {text}"

    def forget(self) -> None:
        """The proxy was removed. Idempotent."""
        self._mark.remove()

    @abstractmethod
    def _control_of(self, draining: Draining) -> Control:
        """Takes commands for the first one."""

    @abstractmethod
    def _connections(self, draining: Draining) -> int:
        """How many the first one has."""

    @abstractmethod
    def _end(self, draining: Draining) -> None:
        """Ends the first one, with all that it has."""

    def _failed(self, output: tuple[str, ...]) -> EngineFailed:
        """The error for a second one that does not start."""
        said = " · ".join(line for line in output if "NOTICE" not in line)[-600:] or "nothing"
        return EngineFailed(
            f"The proxy {self._name} could not be replaced by one with this version's configuration: that one does not"
            f" start. It said: {said}",
            advice="The one that runs goes on as before. `pushlive doctor --fix` tries again.",
        )


def close(control: Control) -> None:
    """It takes no more connections. Idempotent; one that has ended by itself or hangs is left alone."""
    with suppress(EngineAway):
        for frontend in FRONTENDS:
            control.ask(f"shutdown frontend {frontend}")


def connections(control: Control) -> int:
    """How many it has; 1 if it does not tell: it may just be busy."""
    try:
        return int(control.info("CurrConns"))
    except (EngineAway, ValueError):
        return 1
