"""How long requests to the applications of one engine may last at most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pipeline.errors import NotFound, PushliveError
from pipeline.store import Store


def longest_drain(store: Store, key: str) -> float:
    """Seconds: the longest `drain` of the releases in the slots of that engine's environments; 0 if there are none."""
    return max(_drains(store, key), default=0.0)


def _drains(store: Store, key: str) -> Iterator[float]:
    for pipeline in store.pipelines():
        with suppress(PushliveError):  # damaged records are reported elsewhere
            yield from _drains_of(store, pipeline, key)


def _drains_of(store: Store, pipeline: str, key: str) -> Iterator[float]:
    for environment in store.environments(pipeline).values():
        if environment.engine != key:
            continue
        for record in environment.slots.values():
            with suppress(NotFound, KeyError):
                release = store.release(pipeline, record.release)
                yield release.environments[environment.name].service.drain
