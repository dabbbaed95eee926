"""How large volumes and accessories' data are, by engine, as the keeper counted them last."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.domain.cost.ledger import Place
from pipeline.lib import codec
from pipeline.store.facts import Facts

_FACT = "volume-bytes"
FRESH = 7200.0  # seconds for which a count is believed; the keeper counts every half hour
_KIND = dict[str, tuple[float, dict[str, int]]]
"""Of each engine, when it was counted, and the bytes of each pipeline or accessory with its environment."""


class StoredBytes:
    """One process writes: the keeper."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def note(self, engine: str, sizes: Mapping[Place, int], now: float) -> None:
        plain = {"|".join(place): size for place, size in sizes.items()}
        self._facts.set(_FACT, codec.dump_as(_KIND, {**self._known(), engine: (now, plain)}))

    def of(self, engine: str, now: float) -> dict[Place, int]:
        """{} if they were not counted lately."""
        at, sizes = self._known().get(engine, (0.0, {}))
        if abs(now - at) > FRESH:
            return {}
        return {
            (owner, environment): size
            for key, size in sizes.items()
            for owner, _, environment in [key.partition("|")]
        }

    def _known(self) -> _KIND:
        text = self._facts.get(_FACT)
        try:
            return codec.load(_KIND, text) if text else {}
        except ValueError:
            return {}
