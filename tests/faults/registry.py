"""Every fault that is tried on the real service: what it is, where it is tried, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.trial import Trial


@dataclass(frozen=True)
class Fault:
    """``rows``: of FAULTS.md. ``scene``: the kind of service it is tried on. ``times``: tries in the bounded form.
    ``quiet``: requests to live must not notice."""

    name: str
    rows: tuple[int, ...]
    words: str
    scene: str
    act: Callable[[Trial], None]
    times: int = 1
    quiet: bool = True

    @property
    def title(self) -> str:
        return "/".join(f"{row:02}" for row in self.rows) + f" {self.words}"


@dataclass
class Tally:
    """What became of all tries of one fault. ``recovery``: the longest, in seconds."""

    tried: int = 0
    survived: int = 0
    lost: int = 0
    doubled: int = 0
    recovery: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return self.survived == self.tried and not self.lost and not self.doubled


FAULTS: dict[str, Fault] = {}


def fault(
    name: str, *rows: int, words: str, scene: str, times: int = 1, quiet: bool = True
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Registers a function that injects the fault, waits until all is well again, and says what is not."""

    def register(act: Callable[[Trial], None]) -> Callable[[Trial], None]:
        FAULTS[name] = Fault(name, rows, words, scene, act, times, quiet)
        return act

    return register
