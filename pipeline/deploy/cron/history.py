"""The last runs of each process with a schedule, kept beside the records: they change often and are read rarely."""

from __future__ import annotations

from pydantic import ValidationError

from pipeline.domain.cron.records import CronEntry
from pipeline.lib import codec
from pipeline.store.facts import Facts

KEPT = 20  # entries of one process
LINES = 50  # of output of one run
SIZE = 16 << 10  # characters of them


def read(facts: Facts, environment: str, process: str) -> tuple[CronEntry, ...]:
    """Newest first. ``environment``: its id."""
    try:
        return codec.load(tuple[CronEntry, ...], facts.get(fact_name(environment, process)) or "[]")
    except ValidationError:
        return ()  # written by a newer version: a list for people is not worth a stop


def add(facts: Facts, environment: str, process: str, entry: CronEntry) -> None:
    """Idempotent for one time and outcome."""
    before = read(facts, environment, process)
    others = tuple(one for one in before if (one.at, one.outcome) != (entry.at, entry.outcome))
    facts.set(fact_name(environment, process), codec.dump_as(tuple[CronEntry, ...], (entry, *others)[:KEPT]))


def shortened(lines: tuple[str, ...]) -> tuple[str, ...]:
    """The last lines that have SIZE characters together."""
    found: list[str] = []
    left = SIZE
    for line in reversed(lines[-LINES:]):
        left -= len(line) + 1
        if left < 0:
            break
        found.insert(0, line)
    return tuple(found)


def fact_name(environment: str, process: str) -> str:
    """Where the store has them. ``environment``: its id."""
    return f"cron:{environment}:{process}"
