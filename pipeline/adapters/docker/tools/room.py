"""What the machine of a Docker Engine has left: by its files if it is this one, else through a container of ours on it,
since the Engine's API does not tell. A container sees the memory and the load of its whole machine, and its own root is
on the Engine's disk."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pipeline.adapters.docker_api.api import DockerApi
from pipeline.domain.capacity.room import Room
from pipeline.errors import EngineFailed

PROC = Path("/proc")
_LOOK = ("sh", "-c", "cat /proc/meminfo; echo; cat /proc/loadavg; echo; df -Pk /")
_KIB = 1024


def of_this_machine(root: str, proc: Path = PROC) -> Room | None:
    """``root``: the folder where the Engine keeps everything. None if it is not seen from here, as in a container."""
    try:
        disk = os.statvfs(root) if root else None
    except OSError:
        return None
    if disk is None:
        return None
    free = disk.f_bavail * disk.f_frsize
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    memory, load = _memory(_text(proc / "meminfo")), _load(_text(proc / "loadavg"))
    return Room(used + free, free, memory, load)


def through(api: DockerApi, container: str) -> Room:
    """Seen from inside that container; nothing is known if there is none, or it has not what is needed for it."""
    if not container:
        return Room()
    try:
        code, said = api.execute(container, _LOOK)
    except EngineFailed:  # it ends just now, or has no shell
        return Room()
    meminfo, _, rest = said.partition("\n\n")
    loadavg, _, df = rest.partition("\n\n")
    return read(meminfo, loadavg, df) if code == 0 else Room()


def read(meminfo: str, loadavg: str, df: str) -> Room:
    """``df``: what ``df -Pk`` prints of one file system. What is not as expected is not known."""
    found = re.search(r"^\S.*?\s(\d+)\s+(\d+)\s+(\d+)\s+\d+%\s", df, re.MULTILINE)
    used, free = (int(found[2]) * _KIB, int(found[3]) * _KIB) if found else (None, None)
    disk = used + free if used is not None and free is not None else None
    return Room(disk, free, _memory(meminfo), _load(loadavg))


def takers(api: DockerApi) -> dict[str, int]:
    """Images, volumes and build cache, in bytes."""
    images = api.disk_usage("image", "Asking for the size of images").get("LayersSize")
    volumes = (int((one.get("UsageData") or {}).get("Size") or 0) for one in api.counted_volumes())
    found = {"images": int(images or 0), "volumes": sum(max(0, size) for size in volumes)}
    return {**found, "build cache": api.cache_size()}


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _memory(meminfo: str) -> int | None:
    known = {
        name: int(size) * _KIB for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", meminfo, re.MULTILINE)
    }
    if "MemTotal" not in known or "MemAvailable" not in known:
        return None
    return max(0, known["MemTotal"] - known["MemAvailable"])


def _load(loadavg: str) -> float | None:
    """Of the last five minutes."""
    found = re.match(r"\s*[\d.]+ ([\d.]+) ", loadavg)
    return float(found[1]) if found else None
