"""What a container uses, by the files of its cgroup. The Engine's API waits for the next tick of its collector, up to a
second for each container, and takes some twenty times the processor time; but it is there when the files are not, as
for another machine's Engine, or in a container."""

from __future__ import annotations

from pathlib import Path

from pipeline.domain.watching.usage import Measured

ROOT = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60  # bytes, and what is more
# Where the Engine puts a container, with the drivers cgroupfs and systemd.
_PLACES = ("docker/{}", "system.slice/docker-{}.scope")


def measured(name: str, identifier: str, root: Path = ROOT) -> Measured | None:
    """``identifier``: the container's whole id. None if its files are not here, or are not as expected."""
    for place in _PLACES:
        path = place.format(identifier)
        found = _of_version_2(name, root / path) or _of_version_1(name, root, path)
        if found:
            return found
    return None


def _of_version_2(name: str, folder: Path) -> Measured | None:
    try:
        current, stat = int((folder / "memory.current").read_text()), _table(folder / "memory.stat")
        limit = (folder / "memory.max").read_text().strip()
        spent = _table(folder / "cpu.stat")["usage_usec"] / 1e6
    except (OSError, ValueError, KeyError):
        return None
    return _measured(
        name, current - stat.get("inactive_file", 0), int(limit) if limit.isdigit() else 0, spent
    )


def _of_version_1(name: str, root: Path, path: str) -> Measured | None:
    memory = root / "memory" / path
    try:
        usage, stat = int((memory / "memory.usage_in_bytes").read_text()), _table(memory / "memory.stat")
        limit = int((memory / "memory.limit_in_bytes").read_text())
        spent = int((root / "cpuacct" / path / "cpuacct.usage").read_text()) / 1e9
    except (OSError, ValueError):
        return None
    return _measured(name, usage - stat.get("total_inactive_file", 0), limit, spent)


def _measured(name: str, memory: int, limit: int, spent: float) -> Measured:
    return Measured(name, max(0, memory), limit if limit < UNLIMITED else 0, spent=spent)


def _table(file: Path) -> dict[str, int]:
    """Raises ValueError for what is no table of numbers."""
    return {
        key: int(value) for key, _, value in (line.partition(" ") for line in file.read_text().splitlines())
    }
