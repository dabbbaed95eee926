"""What the service itself and builds take of this machine, from the kernel. What cannot be read here is not told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.domain.cost.taken import Taken

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
BUILDS = "docker/buildkit"  # the parent of every build's cgroup, with the cgroupfs driver
_TICKS = os.sysconf("SC_CLK_TCK")


def service(pid_file: Path, proc: Path = PROC) -> Taken | None:
    """All processes of the service whose supervisor wrote its pid there; None if this is no process of it. The time of
    a process that has ended is that of its parent, so the sum only grows."""
    try:
        root = int(pid_file.read_text())
        stats = dict(_stats(proc))
        if root not in stats or root not in _above(os.getpid(), stats):
            return None
        every = [pid for pid in stats if root in _above(pid, stats)]
        spent = sum(stats[pid].spent for pid in every)
        memory = sum(_memory(proc / str(pid)) for pid in every)
        return Taken(f"service:{stats[root].started}", "system", memory, process="service", spent=spent)
    except (OSError, ValueError):
        return None


def builds(cgroups: Path = CGROUPS) -> Taken | None:
    """What runs in builds, the commands of `RUN`; None without such a group. What the Engine itself does for a build is
    not in it, and neither are the files that the kernel keeps in memory."""
    try:
        if (cgroups / "cgroup.controllers").exists():
            of = cgroups / BUILDS
            spent = _value(of / "cpu.stat", "usage_usec") / 1e6
            memory = _value(of / "memory.stat", "anon")
        else:
            spent = int((cgroups / "cpuacct" / BUILDS / "cpuacct.usage").read_text()) / 1e9
            memory = _value(cgroups / "memory" / BUILDS / "memory.stat", "total_rss")
    except (OSError, ValueError):
        return None
    return Taken("builds", "build", memory, spent=spent)


class _Stat:
    """Of ``/proc/<pid>/stat``: the parent, the seconds of processor time with those of ended children, and when it was
    started, in the kernel's ticks. See proc_pid_stat(5)."""

    def __init__(self, text: str) -> None:
        fields = text.rpartition(")")[2].split()  # a name may have spaces and brackets
        self.parent = int(fields[1])
        self.spent = sum(map(int, fields[11:15])) / _TICKS
        self.started = fields[19]


def _stats(proc: Path) -> Iterator[tuple[int, _Stat]]:
    for folder in proc.iterdir():
        if folder.name.isdigit():
            try:
                yield int(folder.name), _Stat((folder / "stat").read_text(errors="replace"))
            except OSError:  # it has ended meanwhile
                continue


def _above(pid: int, stats: dict[int, _Stat]) -> Iterator[int]:
    """A process and its ancestors."""
    while pid in stats:
        yield pid
        pid = stats[pid].parent


def _memory(folder: Path) -> int:
    """Bytes, where pages that several processes share count in parts."""
    try:
        return _value(folder / "smaps_rollup", "Pss:") * 1024
    except (OSError, ValueError):  # it has ended, or belongs to another user
        return 0


def _value(path: Path, name: str) -> int:
    """Of a file with a name and a number in each line. Raises ValueError if the name is not there."""
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] == [name]:
            return int(words[1])
    raise ValueError(f"no {name} in {path}")
