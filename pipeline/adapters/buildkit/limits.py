"""How much of the machine builds may use: disk, memory, processors."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.errors import EngineFailed
from pipeline.lib.units import show_size

CGROUPS = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds of the CPU quota's period
_BUILDS = "docker/buildkit"  # the parent of every build's cgroup, with the cgroupfs driver


def free_disk(root: str) -> int | None:
    """Bytes that are free where the Engine keeps its images, None if that is unknown here."""
    try:
        found = os.statvfs(root)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def check_disk(root: str, wanted: int) -> None:
    """Raises EngineFailed, with the figures, if less than ``wanted`` bytes are free."""
    free = free_disk(root) if root else None
    if free is not None and free < wanted:
        raise EngineFailed(
            f"The build was not started: {show_size(free)} are free in {root}, but {show_size(wanted)} are required.",
            advice="Free disk space (`pushlive gc`, `docker builder prune`).",
            again=True,
        )


def cap(info: dict[str, Any], memory: int, cpu: float, cgroups: Path = CGROUPS) -> str:
    """Writes the limits of all builds together. ``info``: the Engine's; ``memory``: in bytes, 0 for half of the
    machine's; ``cpu``: in cores, 0 for all but half a core. Returns "", or why it cannot be done."""
    memory = memory or int(info.get("MemTotal", 0)) // 2
    cpu = cpu or max(0.5, float(info.get("NCPU", 1)) - 0.5)
    if info.get("CgroupDriver") != "cgroupfs":
        return _other_driver(info)
    version_2 = str(info.get("CgroupVersion", "1")) == "2"
    limits = _limits_2(cgroups, memory, cpu) if version_2 else _limits_1(cgroups, memory, cpu)
    try:
        for path, value in limits:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(value)
    except OSError as error:
        return _not_written(error.filename or cgroups, error.strerror or "")
    return ""


def why_uncapped(info: dict[str, Any], cgroups: Path = CGROUPS) -> str:
    """What ``cap`` would return, without writing anything."""
    if info.get("CgroupDriver") != "cgroupfs":
        return _other_driver(info)
    version_2 = str(info.get("CgroupVersion", "1")) == "2"
    limits = _limits_2(cgroups, 0, 1.0) if version_2 else _limits_1(cgroups, 0, 1.0)
    for path, _ in limits:
        nearest = next(folder for folder in (path, *path.parents) if folder.exists())
        if not os.access(nearest, os.W_OK):
            return _not_written(nearest, "no permission")
    return ""


def _other_driver(info: dict[str, Any]) -> str:
    return (
        f"Builds are not limited: the Engine's cgroup driver is {info.get('CgroupDriver')!r}, and only "
        "with 'cgroupfs' are all builds in one group. A heavy build can slow down what is live."
    )


def _not_written(where: object, why: str) -> str:
    return (
        f"Builds are not limited: {where} cannot be written ({why}). Run "
        "the service as root on the Engine's machine, or a heavy build can slow down what is live."
    )


def _limits_1(cgroups: Path, memory: int, cpu: float) -> Iterable[tuple[Path, str]]:
    yield cgroups / "memory" / _BUILDS / "memory.limit_in_bytes", str(memory)
    yield cgroups / "cpu" / _BUILDS / "cpu.cfs_period_us", str(_PERIOD)
    yield cgroups / "cpu" / _BUILDS / "cpu.cfs_quota_us", str(int(cpu * _PERIOD))


def _limits_2(cgroups: Path, memory: int, cpu: float) -> Iterable[tuple[Path, str]]:
    for folder in (cgroups, cgroups / "docker"):
        yield folder / "cgroup.subtree_control", "+cpu +memory"
    yield cgroups / _BUILDS / "memory.max", str(memory)
    yield cgroups / _BUILDS / "cpu.max", f"{int(cpu * _PERIOD)} {_PERIOD}"
