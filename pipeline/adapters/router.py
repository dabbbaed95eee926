"""``ports.Engines``: each engine is looked up by its key, and created when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.ports.engine import Engine


class EngineRouter:
    """``create``: an engine from its key, called once for each; ``keys``: the keys of all engines in use."""

    def __init__(self, create: Callable[[str], Engine], keys: Callable[[], Iterable[str]]) -> None:
        self._create, self._keys = create, keys
        self._engines: dict[str, Engine] = {}

    def of(self, key: str) -> Engine:
        if key not in self._engines:
            self._engines[key] = self._create(key)
        return self._engines[key]

    def in_use(self) -> Iterable[str]:
        return self._keys()
