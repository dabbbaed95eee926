"""What the real service has at the end, as ``tests.faults.checker`` wants to see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.domain.environment import Environment
from tests.faults.histories import recorded
from tests.faults.scene import Scene


def history(scene: Scene, names: Iterable[str]) -> dict[str, Any]:
    """What is recorded of these applications, the branches' heads, and the proxy's own word."""
    names = tuple(names)
    found = recorded(scene.store, names)
    found["environments"] = [{**place, "last": True} for place in found["environments"]]
    places = (place for name in names for place in scene.store.environments(name).values())
    found["traffic"] = [_traffic(scene, place) for place in places]
    found["heads"] = [{"pipeline": name, "commit": scene.head(name)} for name in names]
    return found


def _traffic(scene: Scene, place: Environment) -> dict[str, Any]:
    return {"pipeline": place.pipeline, "environment": place.name, "slot": scene.serves(place)}
