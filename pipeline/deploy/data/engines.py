"""Which engines have volumes of environments that were removed: nothing else names such an engine any more."""

from __future__ import annotations

from pipeline.store import Store

_FACT = "engines-with-data"  # their keys (``Where.key``), one a line


def with_data_left(store: Store) -> frozenset[str]:
    return frozenset(store.facts.get(_FACT).splitlines())


def remember(store: Store, key: str) -> None:
    """Idempotent."""
    store.facts.set(_FACT, "\n".join(sorted({*with_data_left(store), key})))


def forget(store: Store, key: str) -> None:
    """Its last volume was removed. Idempotent."""
    store.facts.set(_FACT, "\n".join(sorted(with_data_left(store) - {key})))
