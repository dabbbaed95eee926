"""The previews: one fact, so that what is written about them is written as a whole."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from pipeline.config.previews.names import is_preview
from pipeline.domain.audit_chain import Entry
from pipeline.domain.previews.records import Preview, Previews
from pipeline.errors import DamagedRecord
from pipeline.lib import codec
from pipeline.store.connection import read
from pipeline.store.facts import Facts

FACT = "previews"
T = TypeVar("T")


def parsed(text: str) -> Previews:
    """Raises DamagedRecord."""
    return dict(_parsed(text))


@lru_cache(maxsize=4)
def _parsed(text: str) -> Previews:
    return {one.name: one for one in read(tuple[Preview, ...], text or "[]", f"fact:{FACT}")}


def readable(text: str) -> Previews:
    """Nothing instead of what cannot be read: pipelines go on without their previews."""
    try:
        return parsed(text)
    except DamagedRecord:
        return {}


class KeptPreviews:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def all(self) -> Previews:
        """By name. Raises DamagedRecord."""
        return parsed(self._facts.get(FACT))

    def of(self, pipeline: str) -> Preview | None:
        """The preview that is that pipeline; None for every other pipeline. Raises DamagedRecord."""
        return self.all().get(pipeline) if is_preview(pipeline) else None

    def readable(self) -> Previews:
        """All of them for what is only shown: nothing instead of what cannot be read."""
        return readable(self._facts.get(FACT))

    def change(self, act: Callable[[Previews], tuple[Previews, tuple[Entry, ...], T]]) -> T:
        """Writes what ``act`` makes of them with the entries of the audit log, all or nothing; returns the third that
        it returned. It is called again if another process wrote first. Raises DamagedRecord."""

        def changed(text: str) -> tuple[str, tuple[Entry, ...], T]:
            found, entries, result = act(parsed(text))
            return codec.dump_as(tuple[Preview, ...], tuple(found.values())), entries, result

        return self._facts.act(FACT, changed)
