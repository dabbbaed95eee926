"""Does the proxy answer? One that is paused is resumed, and one that hangs is restarted.

It is asked on both ways: for a command on its control socket, and for a page on its preview port. Only one that answers
neither is restarted, since that ends every connection: while it answers one of them, it may serve well.
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.adapters.haproxy.container import ProxyContainer
from pipeline.adapters.haproxy.control import Control
from pipeline.errors import EngineAway, PushliveError
from pipeline.lib.retry import poll
from pipeline.lib.sockets import DeadlineSocket, receive_all, within
from pipeline.ports.clock import Clock

SILENT = 10.0  # seconds without any answer after which it is restarted
AGAIN = 60.0  # seconds until it is restarted once more, if that did not help
HANGS = 3.0  # seconds of further silence that are enough if a person asks
REQUEST = 3.0  # seconds for a page; HAProxy needs less than a millisecond
_NOW = "`pushlive doctor --fix` does it now."


class Liveness:
    """``connect``: a connection to the preview port. For one thread. Every method raises TryAgain or EngineFailed if
    the Engine does not answer."""

    def __init__(
        self, container: ProxyContainer, control: Control, connect: Callable[[], DeadlineSocket], clock: Clock
    ) -> None:
        self._container, self._control = container, control
        self._connect, self._clock = connect, clock
        self._silent_since: float | None = None
        self._restarted = -AGAIN

    def problem(self) -> EngineAway | None:
        """What does not answer; None if all does. Changes nothing."""
        name = self._container.name
        if not self._container.has_state("Running"):
            return EngineAway(f"The proxy {name} does not run.", advice=f"The service starts it; {_NOW}")
        if self._container.has_state("Paused"):
            text = f"The proxy {name} is paused: nothing is served."
            return EngineAway(text, advice=f"The service resumes it; {_NOW}")
        return self._unanswered(self._control.answers(), self._answers_requests())

    def repair(self, *, by_hand: bool = False) -> list[str]:
        """What was done. ``by_hand``: without waiting until it has been silent for long. One that is missing or was
        stopped is left to ``ProxyContainer.ensure``. Raises EngineAway for what is left as it is."""
        if not self._container.has_state("Running"):
            return self._answered()
        if self._container.has_state("Paused"):
            self._container.resume()
            return [*self._answered(), f"the proxy {self._container.name} was paused: it was resumed"]
        commands, requests = self._control.answers(), self._answers_requests()
        if commands or requests:
            self._answered()
        elif self._may_restart(by_hand):
            return self._restart()
        if problem := self._unanswered(commands, requests):
            raise problem
        return []

    def _answered(self) -> list[str]:
        self._silent_since = None
        return []

    def _may_restart(self, by_hand: bool) -> bool:
        """True if it has been silent for long, and a restart may help."""
        now = self._clock.monotonic()
        self._silent_since = now if self._silent_since is None else self._silent_since
        if by_hand:
            silent = not poll(self._answers_requests, 0.2, self._clock, timeout=HANGS)
        else:
            silent = now - self._silent_since >= SILENT and now - self._restarted >= AGAIN
        return silent and self._container.reachable()

    def _restart(self) -> list[str]:
        self._restarted = self._clock.monotonic()
        self._container.restart()
        text = "answered neither commands nor requests: it was restarted"
        return [*self._answered(), f"the proxy {self._container.name} {text}"]

    def _unanswered(self, commands: bool, requests: bool) -> EngineAway | None:
        name = self._container.name
        if not commands and not requests:
            text = f"The proxy {name} runs, but answers neither commands nor requests."
            return EngineAway(text, advice=f"The service restarts it after {SILENT:.0f} s; {_NOW}")
        if not requests:
            text = f"The proxy {name} accepts commands, but answers no requests."
            advice = f"If it stays so, `docker restart {name}` starts it again; that ends every connection."
            return EngineAway(text, advice=advice)
        return None if commands else self._container.no_commands()

    def _answers_requests(self) -> bool:
        """True if it answers on the preview port: it says 404 there to a request that names no slot."""
        try:
            with within(REQUEST), self._connect() as one:
                one.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return receive_all(one).startswith(b"HTTP/1.")
        except (OSError, PushliveError):
            return False
