"""What one container takes of a machine, as an engine says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["web", "process", "command", "accessory", "system", "build"]


@dataclass(frozen=True)
class Taken:
    """``name``: tells a container from every other one of its engine. ``pipeline``, ``environment``, ``slot``: "" where
    it belongs to none; of an accessory, ``pipeline`` is its own name. ``command``: also a run by a schedule;
    ``build``: all builds, whose ``spent`` counts since the machine was started.
    ``memory``: bytes; ``cores``: in use now, None if only ``spent`` is known: seconds of processor time since it
    started. ``reserved_cores``, ``reserved_memory``: what nothing else can have meanwhile. ``node``: of a pod."""

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
    node: str = ""


@dataclass(frozen=True)
class Nodes:
    """Nodes of a cluster with the same labels. ``cores``, ``memory`` (bytes): of all of them."""

    count: int
    cores: float
    memory: int


@dataclass(frozen=True)
class Size:
    """What a machine has, or all nodes of a cluster. ``memory``: bytes; ``nodes``: those of a cluster, by the labels
    that were asked for, as ``labelled`` writes them."""

    cores: float
    memory: int
    nodes: dict[str, Nodes] = field(default_factory=dict)


def labelled(labels: Mapping[str, str]) -> str:
    """As in a selector: ``disk=ssd,node.kubernetes.io/instance-type=cx22``."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def labels_of(text: str) -> dict[str, str]:
    """What ``labelled`` wrote."""
    return dict(one.split("=", 1) for one in text.split(",")) if text else {}
