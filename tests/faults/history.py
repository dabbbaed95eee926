"""What the real service has at the end, as ``tests.faults.checker`` wants to see it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline.adapters.proxy_control import Control
from pipeline.model import SLOTS, Environment
from tests.faults.histories import recorded
from tests.faults.scene import Scene


def history(scene: Scene, names: Iterable[str]) -> dict[str, Any]:
    """What is recorded of these applications, the branches' heads, and the proxy's own word."""
    names = tuple(names)
    found = recorded(scene.store, names)
    found["environments"] = [{**place, "last": True} for place in found["environments"]]
    active = Control(scene.service.data / "proxy").map("active.map")
    places = (place for name in names for place in scene.store.environments(name).values())
    found["traffic"] = [_traffic(place, active) for place in places]
    found["heads"] = [{"pipeline": name, "commit": scene.head(name)} for name in names]
    return found


def _traffic(place: Environment, active: dict[str, str]) -> dict[str, Any]:
    value = active.get(f"e{place.index}", "")
    slot = next((slot for slot in SLOTS if value.endswith(f"-{slot}")), "")
    return {"pipeline": place.pipeline, "environment": place.name, "slot": slot}
