"""What the service has at the end, as ``tests.faults.checker`` wants to see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline import codec
from pipeline.adapters.proxy_control import Control
from pipeline.model import SLOTS, Environment, Release, Run
from tests.faults.scene import Scene


def history(scene: Scene, names: Iterable[str]) -> dict[str, Any]:
    """Runs, releases, environments, events, the branches' heads and the proxy's own word, of these applications."""
    found: dict[str, Any] = {
        "runs": [],
        "releases": [],
        "environments": [],
        "events": [],
        "heads": [],
        "traffic": [],
    }
    active = Control(scene.service.data / "proxy").map("active.map")
    for name in names:
        runs = scene.runs(name)
        found["runs"] += [codec.plain(run) for run in runs]
        found["events"] += [row for run in runs for row in _events(scene, run)]
        found["releases"] += [_release(release) for release in scene.store.releases(name)]
        found["heads"].append({"pipeline": name, "commit": scene.head(name)})
        for place in scene.store.environments(name).values():
            found["environments"].append({**codec.plain(place), "last": True})
            found["traffic"].append(_traffic(place, active))
    return found


def _events(scene: Scene, run: Run) -> list[dict[str, Any]]:
    kinds = ((event.kind, event.data.get("outcome")) for event in scene.events(run))
    return [{"run": run.id, "kind": kind, "outcome": outcome} for kind, outcome in kinds]


def _release(release: Release) -> dict[str, Any]:
    fingerprints = {name: release.fingerprint(name) for name in release.environments}
    return {
        "pipeline": release.pipeline,
        "number": release.number,
        "image": release.image,
        "commit": release.commit,
        "fingerprints": fingerprints,
    }


def _traffic(place: Environment, active: dict[str, str]) -> dict[str, Any]:
    value = active.get(f"e{place.index}", "")
    slot = next((slot for slot in SLOTS if value.endswith(f"-{slot}")), "")
    return {"pipeline": place.pipeline, "environment": place.name, "slot": slot}
