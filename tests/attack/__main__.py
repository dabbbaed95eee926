"""``python -m tests.attack``: attacks on a real service, one after the other, and one table. See ``scripts/attack``."""

from __future__ import annotations

import argparse
import threading
from dataclasses import dataclass

import tests.attack.volume  # noqa: F401 - registers its attacks
from pipeline.adapters.docker_api.client import client
from pipeline.lib.processes import exit_with
from tests.attack.attacks import ATTACKS, Attack
from tests.attack.target import Observer, Target, memory, settled, target
from tests.support.waiting import until

HEAD = ("attack", "for", "healthz at most", "revert", "usual", "peak memory", "after", "5xx")
ROOM = 1 << 30  # bytes that all processes together may take above what they take when idle
KEPT = 50 << 20  # bytes of that which they may still have a minute later


@dataclass(frozen=True)
class Result:
    """Times in seconds, memory in bytes above that of the idle service."""

    attack: Attack
    seconds: float
    health: float
    revert: float
    usual: float
    peak: int
    after: int
    wrong: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def problems(self) -> list[str]:
        found = [*self.failed, *self.wrong]
        if not self.revert:
            found.append("no revert came to an end")
        if self.peak > ROOM:
            found.append(f"took {self.peak >> 20} MiB")
        if self.after > KEPT:
            found.append(f"still has {self.after >> 20} MiB a minute later")
        return found

    @property
    def row(self) -> tuple[str, ...]:
        return (
            f"{self.attack.title} ({self.attack.name})", f"{self.seconds:.0f} s", f"{self.health:.2f} s",
            f"{self.revert:.2f} s", f"{self.usual:.2f} s", f"{self.peak >> 20} MiB", f"{self.after >> 20} MiB",
            str(len(self.wrong)),
        )  # fmt: skip


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def usual(one: Target) -> float:
    """What a revert takes while nobody attacks, in seconds."""
    with Observer(one) as seen:
        until(lambda: len(seen.reverts) >= 3, 60)
    assert not seen.failed, seen.failed
    return sorted(seen.reverts)[1]


def tried(one: Target, attack: Attack, seconds: float, before: float) -> Result:
    seconds = max(seconds, attack.least)
    one.answers.clear()
    one.wrong.clear()
    one.done.clear()
    idle, over = memory(one.service), threading.Event()
    attacker = threading.Thread(target=attack.act, args=(one, over))
    with Observer(one) as seen:
        attacker.start()
        over.wait(seconds)  # nothing sets it before
        over.set()
        attacker.join()
    after = settled(one.service, idle + KEPT)
    reverts = max(seen.reverts, default=0.0)
    return Result(
        attack, seconds, max(seen.health, default=0.0), reverts, before, max(0, seen.peak - idle),
        max(0, after - idle), tuple(sorted(set(one.wrong))), tuple(seen.failed),
    )  # fmt: skip


def table(results: list[Result]) -> str:
    rows = [one.row for one in results]
    widths = [max(len(row[n]) for row in (HEAD, *rows)) for n in range(len(HEAD))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in (HEAD, *rows)
    ]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/attack", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="how long each attack goes on (default: 8)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="that attack alone; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="names the attacks and ends")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    if asked.list:
        for one in ATTACKS.values():
            say(f"{one.name:16} {one.title}")
        return 0
    if unknown := sorted(set(asked.only) - set(ATTACKS)):
        say(f"scripts/attack: no such attack: {', '.join(unknown)}; `scripts/attack --list` names them.")
        return 2
    results = []
    with target(client()) as one:
        before = usual(one)
        for name in asked.only or ATTACKS:
            result = tried(one, ATTACKS[name], asked.seconds, before)
            results.append(result)
            mark = "✗" if result.problems else "✓"
            say(f"{mark} {name}: {'; '.join(result.problems[:3]) or 'survived'}")
    say(f"\n{table(results)}")
    say("Memory is above that of the idle service, at its peak and up to a minute later.")
    return 1 if any(one.problems for one in results) else 0


if __name__ == "__main__":
    exit_with(main)
