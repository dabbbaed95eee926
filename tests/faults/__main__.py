"""``python -m tests.faults``: every fault against the real service, and one table. See ``scripts/faults``."""

from __future__ import annotations

import argparse
import importlib
import random
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from queue import SimpleQueue

from pipeline.adapters.docker_api.client import client
from pipeline.lib.processes import exit_with
from tests.faults.registry import FAULTS, Fault, Tally
from tests.faults.scene import NAMES, Scene, own_scene, scene
from tests.faults.table import table
from tests.faults.trial import Result, attempt

GROUPS = ("kills", "stores", "engines", "daemons", "crowd")
# Which faults are tried on which service; and how many of them before a new one is made.
SCENES: dict[tuple[str, ...], Callable[[], AbstractContextManager[Scene]]] = {
    ("main", "alone"): lambda: scene(client()),
    ("own",): own_scene,
    ("large",): lambda: scene(client(), 20, PUSHLIVE_WORKERS="8"),
}
WEIGHTS: dict[tuple[str, ...], int] = {("main", "alone"): 12, ("own",): 3, ("large",): 1}
AT_ONCE = 6  # tries beside each other, where one does not disturb the other


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, help="go on that long, in random order; default: each fault once"
    )
    parser.add_argument("--seed", default="", help="repeats a random order")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="that fault alone; may be repeated"
    )
    parser.add_argument("--list", action="store_true", help="names the faults and ends")
    return parser.parse_args()


class Session:
    """The tallies of all tries."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.tallies: dict[str, Tally] = {}
        self._tries = 0

    def keep(self, result: Result) -> None:
        tally = self.tallies.setdefault(result.fault.name, Tally())
        tally.tried += 1
        tally.lost += len(result.lost)
        tally.doubled += len(result.doubled)
        tally.recovery = max(tally.recovery, result.recovery)
        wrong = [*filter(None, [result.failure]), *result.lost, *result.doubled]
        tally.survived += not wrong
        tally.failures += wrong
        mark = "✓" if not wrong else "✗"
        say(f"{mark} {result.fault.name}: {'; '.join(wrong) or f'{result.recovery:.1f} s'}")

    def beside(self, one: Scene, faults: list[Fault]) -> None:
        """Several at once, each on an application of its own."""
        free: SimpleQueue[str] = SimpleQueue()
        for name in NAMES:
            free.put(name)

        def run(fault: Fault, seed: str) -> Result:
            name = free.get()
            try:
                return attempt(fault, one, name, seed)
            finally:
                free.put(name)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for result in pool.map(run, faults, [self._next_seed() for _ in faults]):
                self.keep(result)

    def alone(self, one: Scene, faults: list[Fault]) -> None:
        for fault in faults:
            self.keep(attempt(fault, one, random.Random(self._next_seed()).choice(NAMES), self._next_seed()))

    def _next_seed(self) -> str:
        self._tries += 1
        return f"{self.seed}-{self._tries}"


def bounded(session: Session, chosen: list[Fault]) -> None:
    """Each fault as often as it says; one that was asked for by name at least once."""
    for kind, opened in SCENES.items():
        faults = [fault for fault in chosen if fault.scene in kind for _ in range(fault.times)]
        if faults:
            with opened() as one:
                session.beside(one, [fault for fault in faults if fault.scene == "main"])
                session.alone(one, [fault for fault in faults if fault.scene != "main"])


def on_and_on(session: Session, chosen: list[Fault], minutes: float) -> None:
    """In random order until the time is over; a service serves for some faults, then a new one is made."""
    end = time.monotonic() + 60 * minutes
    order = random.Random(session.seed)
    while time.monotonic() < end:
        kinds = [kind for kind in SCENES if any(fault.scene in kind for fault in chosen)]
        kind = order.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        possible = [fault for fault in chosen if fault.scene in kind]
        picked = [order.choice(possible) for _ in range(WEIGHTS[kind])]
        with SCENES[kind]() as one:
            for fault in picked:
                if time.monotonic() < end:
                    act = session.beside if fault.scene == "main" else session.alone
                    act(one, [fault] * max(1, fault.times))


def main() -> int:
    asked = arguments()
    for group in GROUPS:
        importlib.import_module(f"tests.faults.{group}")
    if asked.list:
        for fault in FAULTS.values():
            say(f"{fault.name:24} {fault.title}")
        return 0
    unknown = set(asked.only) - set(FAULTS)
    if unknown:
        say(
            f"scripts/faults: no such fault: {', '.join(sorted(unknown))}; `scripts/faults --list` names them."
        )
        return 2
    chosen = [replace(one, times=max(1, one.times)) for one in map(FAULTS.__getitem__, asked.only)]
    chosen = chosen or list(FAULTS.values())
    session = Session(asked.seed or secrets.token_hex(4))
    began = time.monotonic()
    say(f"seed {session.seed}")
    if asked.minutes:
        on_and_on(session, chosen, asked.minutes)
    else:
        bounded(session, chosen)
    say(f"\n{table(session.tallies)}\n{time.monotonic() - began:.0f} s in all, seed {session.seed}")
    say("Every row of the faults, with what happens and its tests: docs/faults.md")
    return 0 if all(tally.good for tally in session.tallies.values()) else 1


if __name__ == "__main__":
    exit_with(main)
