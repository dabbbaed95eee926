"""Damaged records: reported once each; the pipelines without any go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from pipeline.errors import DamagedRecord
from pipeline.store import Store

T = TypeVar("T")


class Damage:
    """What the jobs of one process could not read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[str, bool] = {}  # messages; True once reported

    def each(self, look: Callable[[str], Iterable[T]]) -> list[T]:
        """What ``look`` finds for each pipeline. A pipeline with a damaged record is skipped."""
        found: list[T] = []
        for pipeline in self._store.pipelines():
            try:
                found += look(pipeline)
            except DamagedRecord as error:
                self.add(error)
        return found

    def add(self, error: DamagedRecord) -> None:
        self._found.setdefault(str(error), False)

    def news(self) -> list[str]:
        """What was found since the last call."""
        news = [text for text, reported in self._found.items() if not reported]
        self._found.update(dict.fromkeys(news, True))
        return news
