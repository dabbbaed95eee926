"""What a machine has left, from its own files and from what a container on it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.docker.tools import room
from pipeline.domain.capacity.room import Room
from pipeline.errors import EngineFailed

MEMINFO = "MemTotal: 24684092 kB\nMemAvailable:   21350512 kB\nHugePages_Total:   0\n"
LOADAVG = "6.26 5.49 4.87 13/443 8\n"
DF = (
    "Filesystem           1024-blocks    Used Available Capacity Mounted on\n"
    "overlay              264212084  28603344  66897920  30% /\n"
)
USED = (24684092 - 21350512) * 1024


class Machine:
    """What is asked of ``DockerApi``."""

    def __init__(self, code: int = 0, said: str = f"{MEMINFO}\n{LOADAVG}\n{DF}") -> None:
        self.code, self.said = code, said

    def execute(self, _name: str, _command: Any) -> tuple[int, str]:
        if self.code < 0:
            raise EngineFailed("No such container: proxy.")
        return self.code, self.said

    def disk_usage(self, kind: str, _doing: str) -> dict[str, Any]:
        assert kind == "image"
        return {"LayersSize": 700}

    def counted_volumes(self) -> list[dict[str, Any]]:
        return [{"UsageData": {"Size": 50}}, {"UsageData": {"Size": -1}}, {"UsageData": None}, {}]

    def cache_size(self) -> int:
        return 0


def test_a_container_tells_of_its_whole_machine() -> None:
    assert room.through(Machine(), "proxy") == Room(  # type: ignore[arg-type]
        (28603344 + 66897920) * 1024, 66897920 * 1024, USED, 5.49
    )


@pytest.mark.parametrize("machine", [Machine(-1), Machine(127), Machine(0, ""), Machine(0, "\n\n\n\n\n\n")])
def test_what_it_does_not_tell_is_not_known(machine: Machine) -> None:
    assert room.through(machine, "proxy") == Room()  # type: ignore[arg-type]


def test_without_a_container_nothing_is_known() -> None:
    assert room.through(Machine(), "") == Room()  # type: ignore[arg-type]


@pytest.mark.parametrize("df", ["", "Filesystem 1024-blocks Used\n", "overlay a b c 3% /\n"])
def test_a_disk_in_other_words_is_not_known_and_the_rest_is(df: str) -> None:
    assert room.read(MEMINFO, LOADAVG, df) == Room(None, None, USED, 5.49)


def test_a_long_name_of_a_disk_on_a_line_of_its_own_words() -> None:
    df = DF.replace("overlay  ", "/dev/mapper/a name with spaces-root")
    assert room.read("", "", df).disk_free == 66897920 * 1024


def test_this_machine_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "loadavg").write_text(LOADAVG)
    found = room.of_this_machine(str(tmp_path), tmp_path)
    assert found
    assert (found.memory, found.load) == (USED, 5.49)
    assert found.disk
    assert found.disk_used
    assert 0 < found.disk_used < found.disk
    assert room.of_this_machine(str(tmp_path / "none"), tmp_path) is None
    assert room.of_this_machine("", tmp_path) is None
    blank = room.of_this_machine(str(tmp_path), tmp_path / "none")
    assert blank
    assert (blank.memory, blank.load) == (None, None)


def test_what_takes_the_disk() -> None:
    assert room.takers(Machine()) == {"images": 700, "volumes": 50, "build cache": 0}  # type: ignore[arg-type]
