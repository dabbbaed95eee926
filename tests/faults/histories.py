"""What a store says at the end, as ``tests.faults.checker`` wants to see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.adapters.fake import FakeEngine
from pipeline.domain.events import Event
from pipeline.domain.release import Release
from pipeline.lib import codec
from pipeline.store import Store


def history(
    store: Store, pipelines: Iterable[str], pushes: Iterable[dict[str, Any]], engine: FakeEngine | None = None
) -> dict[str, Any]:
    """All that the store says of these pipelines, and where the fake's proxy sends their traffic."""
    names = tuple(pipelines)
    found = {"pushes": list(pushes), **recorded(store, names)}
    if engine:
        places = [place for name in names for place in store.environments(name).values()]
        found["traffic"] = [
            {"pipeline": p.pipeline, "environment": p.name, "slot": engine.active.get((p.pipeline, p.name))}
            for p in places
        ]
    return found


def recorded(store: Store, names: Iterable[str]) -> dict[str, Any]:
    """Runs, releases, environments and events of these pipelines."""
    found: dict[str, Any] = {"runs": [], "releases": [], "environments": [], "events": []}
    for name in names:
        runs = store.recent(name, 100_000)[::-1]
        found["runs"] += [codec.plain(run) for run in runs]
        found["events"] += [_event(run.id, event) for run in runs for event in told(store, run.id)]
        found["releases"] += [_release(release) for release in store.releases(name)]
        found["environments"] += [codec.plain(place) for place in store.environments(name).values()]
    return found


def told(store: Store, run: str) -> Iterator[Event]:
    """All that was told of the run, oldest first."""
    after = "0"
    while found := store.events.read(run, after):
        yield from (event for _, event in found)
        after = found[-1][0]


def _event(run: str, event: Event) -> dict[str, Any]:
    return {"run": run, "kind": event.kind, "outcome": event.data.get("outcome")}


def _release(release: Release) -> dict[str, Any]:
    fingerprints = {name: release.fingerprint(name) for name in release.environments}
    return {**codec.plain(release), "fingerprints": fingerprints}
