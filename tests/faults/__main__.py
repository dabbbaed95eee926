"""``python -m tests.faults``: every fault against the real service, and one table. See ``scripts/faults``."""

from __future__ import annotations

import argparse
import importlib
import secrets
import time
from dataclasses import replace

from pipeline.lib.processes import exit_with
from tests.faults.registry import FAULTS
from tests.faults.session import Session, bounded, on_and_on, say
from tests.faults.table import table

GROUPS = ("kills", "engines", "stores", "daemons", "crowd", "watched")


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
    for kind in session.broken:
        say(f"A service for {kind} faults failed, see above: not every fault was tried.")
    return 0 if session.good else 1


if __name__ == "__main__":
    exit_with(main)
