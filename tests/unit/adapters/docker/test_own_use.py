"""What the service and builds take of the machine, as the kernel's files say it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.adapters.docker.tools import own_use

TICKS = os.sysconf("SC_CLK_TCK")


def process(proc: Path, pid: int, parent: int, times: tuple[int, int, int, int], pss: int | None) -> None:
    """``times``: ticks of its own and of its ended children; ``pss``: KiB, None for another user's."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    fields = ["S", str(parent), *["0"] * 9, *map(str, times), *["0"] * 4, "777"]
    (folder / "stat").write_text(f"{pid} (a) b (c) {' '.join(fields)} 0 0\n")
    if pss is not None:
        (folder / "smaps_rollup").write_text(f"1-2 ---p 0 00:00 0 [rollup]\nRss: 9999 kB\nPss: {pss} kB\n")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A supervisor, 10, with this process and one more below it, which has one below itself, and others."""
    found = tmp_path / "proc"
    process(found, 1, 0, (9000, 0, 0, 0), 1)
    process(found, 10, 1, (100, 50, 30, 20), 100)
    process(found, os.getpid(), 10, (200, 0, 0, 0), 200)
    process(found, 11, 10, (100, 0, 0, 0), None)
    process(found, 12, 11, (100, 0, 0, 0), 300)
    process(found, 13, 1, (7000, 0, 0, 0), 7000)
    (found / "self").mkdir()
    return found


def pid_file(tmp_path: Path, text: str) -> Path:
    found = tmp_path / "up.pid"
    found.write_text(text)
    return found


def test_all_processes_of_the_service_count_with_their_ended_children(proc: Path, tmp_path: Path) -> None:
    found = own_use.service(pid_file(tmp_path, "10"), proc)
    assert found
    assert (found.name, found.role, found.process) == ("service:777", "system", "service")
    assert (found.spent, found.memory) == (600 / TICKS, 600 * 1024)


@pytest.mark.parametrize("text", ["13", "99", "", "soon", "-1"])
def test_another_service_is_not_counted(proc: Path, tmp_path: Path, text: str) -> None:
    assert own_use.service(pid_file(tmp_path, text), proc) is None
    assert own_use.service(tmp_path / "none", proc) is None
    assert own_use.service(pid_file(tmp_path, "10"), tmp_path / "no proc") is None


def test_the_time_of_a_child_that_has_ended_stays(tmp_path: Path) -> None:
    file = pid_file(tmp_path, str(os.getpid()))
    before = own_use.service(file)
    subprocess.run(["python3", "-c", "sum(range(5_000_000))"], check=True)
    after = own_use.service(file)
    assert before
    assert after
    assert after.name == before.name
    assert (after.spent or 0) > (before.spent or 0)
    assert after.memory > 1 << 20


@pytest.mark.parametrize("version", [1, 2])
def test_builds_are_what_their_group_says(tmp_path: Path, version: int) -> None:
    assert own_use.builds(tmp_path) is None
    files = {
        1: {
            "cpuacct/docker/buildkit/cpuacct.usage": "2500000000\n",
            "memory/docker/buildkit/memory.stat": "cache 9\nrss 3\ntotal_cache 9\ntotal_rss 4096\n",
        },
        2: {
            "cgroup.controllers": "cpu memory\n",
            "docker/buildkit/cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
            "docker/buildkit/memory.stat": "anon 4096\nfile 9\n",
        },
    }[version]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = own_use.builds(tmp_path)
    assert found
    assert (found.role, found.spent, found.memory) == ("build", 2.5, 4096)
    path.write_text("nothing\n")
    assert own_use.builds(tmp_path) is None
