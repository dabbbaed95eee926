"""What all strict fakes share: they write down each call, and can be told to fail, hang or die at one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pipeline.ports.clock import Watch


class IllegalOrder(AssertionError):
    """A call that the port's call order does not allow."""


class Killed(BaseException):
    """Stands for SIGKILL in the middle of a call: nothing but a test may catch it."""


@dataclass
class _Plan:
    act: Callable[[], None]
    times: int
    after: bool


@dataclass
class Script:
    """``calls``: the names of all calls in order, with their arguments."""

    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    _plans: dict[str, list[_Plan]] = field(default_factory=dict)
    _hangs: set[str] = field(default_factory=set)

    def fail(self, name: str, error: BaseException, *, times: int = 1, after: bool = False) -> None:
        """The next ``times`` calls of that name raise; with ``after`` once their effect has been had."""

        def act() -> None:
            raise error

        self._plans.setdefault(name, []).append(_Plan(act, times, after))

    def kill(self, name: str, *, after: bool = False) -> None:
        """The next call of that name dies as from SIGKILL, before or after its effect."""
        self.fail(name, Killed(name), after=after)

    def before(self, name: str, act: Callable[[], None], *, times: int = 1) -> None:
        """Does something of the test's just before the next ``times`` calls of that name."""
        self._plans.setdefault(name, []).append(_Plan(act, times, False))

    def hang(self, name: str) -> None:
        """Calls of that name, if they take a watch, last until the watch has had enough."""
        self._hangs.add(name)

    def names(self) -> list[str]:
        """The names of all calls so far."""
        return [name for name, _ in self.calls]

    @contextmanager
    def call(self, name: str, *arguments: Any, watch: Watch | None = None) -> Iterator[None]:
        """Around each method of a fake."""
        self.calls.append((name, arguments))
        self._act(name, after=False)
        if watch:
            watch.check()
            while name in self._hangs:
                watch.wait(0.25)
        yield
        self._act(name, after=True)

    def _act(self, name: str, *, after: bool) -> None:
        for plan in self._plans.get(name, []):
            if plan.times > 0 and plan.after == after:
                plan.times -= 1
                plan.act()


def insist(legal: bool, what: str) -> None:
    """Raises IllegalOrder where it is not."""
    if not legal:
        raise IllegalOrder(what)
