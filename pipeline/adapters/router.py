"""Every environment's own engine: looked up by its key, made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.ports.engine import Engine


class EngineRouter:
    """ports.Engines. ``make``: an engine from its key, called once for each; ``keys``: of all that may hold
    anything."""

    def __init__(self, make: Callable[[str], Engine], keys: Callable[[], Iterable[str]]) -> None:
        self._make, self._keys = make, keys
        self._made: dict[str, Engine] = {}

    def of(self, key: str) -> Engine:
        if key not in self._made:
            self._made[key] = self._make(key)
        return self._made[key]

    def in_use(self) -> Iterable[str]:
        return self._keys()
