"""What all fakes share: each records its calls, and can be told to fail, hang or die at one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.ports.clock import Watch

HANG_STEP = 0.25  # seconds that a hanging call waits at a time, at first
HANG_STEP_MOST = 5.0  # in a call that hangs for long


class IllegalOrder(AssertionError):
    """A call, or its arguments, that the port does not allow."""


class Killed(BaseException):
    """Stands for SIGKILL in the middle of a call: only a test may catch it."""


@dataclass
class _Plan:
    act: Callable[[], None]
    times: int
    after: bool


@dataclass
class Script:
    """``calls``: the name and arguments of each call, in order."""

    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    _plans: dict[str, list[_Plan]] = field(default_factory=dict)
    _hangs: set[str] = field(default_factory=set)

    def fail(self, name: str, error: BaseException, *, times: int = 1, after: bool = False) -> None:
        """The next ``times`` calls of that name raise the error, before their effect or ``after`` it."""

        def act() -> None:
            raise error

        self._plans.setdefault(name, []).append(_Plan(act, times, after))

    def kill(self, name: str, *, after: bool = False) -> None:
        """The next call of that name dies as from SIGKILL, before its effect or ``after`` it."""
        self.fail(name, Killed(name), after=after)

    def before(self, name: str, act: Callable[[], None], *, times: int = 1) -> None:
        """Runs ``act`` just before each of the next ``times`` calls of that name."""
        self._plans.setdefault(name, []).append(_Plan(act, times, False))

    def hang(self, name: str) -> None:
        """Calls of that name that take a watch last until the watch raises."""
        self._hangs.add(name)

    def names(self) -> list[str]:
        """The names of all calls so far."""
        return [name for name, _ in self.calls]

    @contextmanager
    def call(self, name: str, *arguments: Any, watch: Watch | None = None) -> Iterator[None]:
        """Wraps each method of a fake."""
        self.calls.append((name, arguments))
        self._act(name, after=False)
        if watch:
            watch.check()
            step = HANG_STEP
            while name in self._hangs:
                watch.wait(step)
                step = min(step * 1.1, HANG_STEP_MOST)
        yield
        self._act(name, after=True)

    def _act(self, name: str, *, after: bool) -> None:
        for plan in self._plans.get(name, []):
            if plan.times > 0 and plan.after == after:
                plan.times -= 1
                plan.act()


def require(legal: bool, what: str) -> None:
    """Raises IllegalOrder unless the call is legal. ``what`` names the illegal call."""
    if not legal:
        raise IllegalOrder(what)
