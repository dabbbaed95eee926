"""``python -m tests.faults``: every fault against the real service, and one table. See ``scripts/faults``."""

from __future__ import annotations

import argparse
import importlib
import random
import secrets
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from pipeline.adapters.docker_client import client
from tests.faults.registry import FAULTS, Fault, Tally
from tests.faults.scene import NAMES, Scene, own_scene, scene
from tests.faults.table import table
from tests.faults.trial import Result, attempt

GROUPS = ("kills", "stores", "engines", "daemons")
AT_ONCE = 4  # tries beside each other, where one does not disturb the other


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

        def run(fault: Fault) -> Result:
            name = free.get()
            try:
                return attempt(fault, one, name, self._next_seed())
            finally:
                free.put(name)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for result in pool.map(run, faults):
                self.keep(result)

    def alone(self, one: Scene, faults: list[Fault]) -> None:
        for fault in faults:
            self.keep(attempt(fault, one, random.Random(self._next_seed()).choice(NAMES), self._next_seed()))

    def _next_seed(self) -> str:
        self._tries += 1
        return f"{self.seed}-{self._tries}"


def bounded(session: Session, chosen: list[Fault]) -> None:
    """Each fault once, or as often as it says."""
    every = [fault for fault in chosen for _ in range(fault.times)]
    of = {name: [fault for fault in every if fault.scene == name] for name in ("main", "alone", "own")}
    if of["main"] or of["alone"]:
        with scene(client()) as one:
            session.beside(one, of["main"])
            session.alone(one, of["alone"])
    if of["own"]:
        with own_scene() as one:
            session.alone(one, of["own"])


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
    chosen = [FAULTS[name] for name in asked.only] or list(FAULTS.values())
    session = Session(asked.seed or secrets.token_hex(4))
    began = time.monotonic()
    say(f"seed {session.seed}")
    bounded(session, chosen)
    say(f"\n{table(session.tallies)}\n{time.monotonic() - began:.0f} s in all, seed {session.seed}")
    return 0 if all(tally.good for tally in session.tallies.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
