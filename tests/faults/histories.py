"""A history for the checker, out of a store and what the fakes have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline import codec
from pipeline.adapters.fake import FakeEngine
from pipeline.store import Store


def history(
    store: Store, pipelines: Iterable[str], pushes: Iterable[dict[str, Any]], engine: FakeEngine | None = None
) -> dict[str, Any]:
    """All that the store says of these pipelines, and where the fake's proxy sends their traffic."""
    names = tuple(pipelines)
    runs = [run for name in names for run in reversed(store.recent(name, 100_000))]
    places = [place for name in names for place in store.environments(name).values()]
    told = [(run.id, event) for run in runs for event in _told(store, run.id)]
    found: dict[str, Any] = {
        "pushes": list(pushes),
        "runs": [codec.plain(run) for run in runs],
        "environments": [codec.plain(place) for place in places],
        "releases": [
            {
                **codec.plain(release),
                "fingerprints": {name: r.fingerprint() for name, r in release.environments.items()},
            }
            for name in names
            for release in store.releases(name)
        ],
        "events": [
            {"run": run, "kind": event.kind, "outcome": event.data.get("outcome")} for run, event in told
        ],
    }
    if engine:
        found["traffic"] = [
            {"pipeline": p.pipeline, "environment": p.name, "slot": engine.active.get((p.pipeline, p.name))}
            for p in places
        ]
    return found


def _told(store: Store, run: str) -> list[Any]:
    events, after = [], "0"
    while found := store.events.read(run, after):
        after = found[-1][0]
        events += [event for _, event in found]
    return events
