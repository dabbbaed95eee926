"""Small records, as the store keeps them."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Rendered, Service
from pipeline.domain.environment import Environment, SlotRecord, SlotState
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run


def run(number: int = 1, kind: Kind = Kind.PUSH, **changes: Any) -> Run:
    values = {"stages": ("build", "dev", "live"), "accepted": 0.0, **changes}
    return Run("hello", number, kind, "c" * 40, "refs/heads/main", "digest", **values)


def environment(**changes: Any) -> Environment:
    return Environment("hello", "live", 3, **changes)


def slot(release: int, state: SlotState, run: int = 0, **changes: Any) -> SlotRecord:
    return SlotRecord(release, run or release, state, 0.0, **changes)


def release(number: int, image: str = "", port: int = 8080, **changes: Any) -> Release:
    """A release of an image of its own (or that one), with its configuration for live."""
    config = {"live": Rendered(service=Service(port=port))}
    return Release(
        "hello", number, "c" * 40, image or f"sha256:{number}", "t", number, 0.0, config, **changes
    )
