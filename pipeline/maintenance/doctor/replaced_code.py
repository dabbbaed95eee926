"""Is the code that the service runs still the one that is installed? The keeper looks as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipeline.maintenance.doctor.check import Check, check
from pipeline.maintenance.job import Changes, Job
from pipeline.store import Store

FACT = "code-replaced"  # what the workers' processes found, for those of the web side


def examine(replaced: str) -> Iterator[Check]:
    """A line if the code was replaced. ``replaced``: how, and what to do."""
    if replaced:
        what, _, advice = replaced.partition(". ")
        yield check("code", False, f"{what}.", advice)


class ReplacedCode(Job):
    """``look``: what was replaced, and what to do; "" if nothing was."""

    def __init__(self, store: Store, look: Callable[[], str]) -> None:
        self._store, self._look, self._found = store, look, Changes()
        self._noted: str | None = None  # unknown: an earlier keeper may have noted something

    def run(self) -> list[str]:
        found = self._look()
        if found != self._noted:
            if found:
                self._store.facts.set(FACT, found)
            else:
                self._store.facts.remove(FACT)
            self._noted = found
        return self._found.report(found)
