"""What one container takes of a machine, as an engine says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["web", "process", "command", "accessory", "system"]


@dataclass(frozen=True)
class Taken:
    """``name``: tells a container from every other one of its engine. ``pipeline``, ``environment``, ``slot``: "" where
    it belongs to none; of an accessory, ``pipeline`` is its own name. ``command``: also a run by a schedule.
    ``memory``: bytes; ``cores``: in use now, None if only ``spent`` is known: seconds of processor time since it
    started. ``reserved_cores``, ``reserved_memory``: what nothing else can have meanwhile."""

    name: str
    role: Role
    memory: int
    pipeline: str = ""
    environment: str = ""
    slot: str = ""
    process: str = ""
    cores: float | None = None
    spent: float | None = None
    reserved_cores: float = 0.0
    reserved_memory: int = 0


@dataclass(frozen=True)
class Size:
    """What a machine has. ``memory``: bytes."""

    cores: float
    memory: int
