"""What a container uses, by the files of both versions of cgroups and both drivers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.adapters.docker.tools import cgroups
from pipeline.adapters.docker.tools.outputs import measured_at_once
from pipeline.domain.watching.usage import Measured

ID = "4c01db0b339c"
PLACES = (f"docker/{ID}", f"system.slice/docker-{ID}.scope")


def version_1(root: Path, place: str, limit: str = "134217728") -> None:
    memory, cpu = root / "memory" / place, root / "cpuacct" / place
    memory.mkdir(parents=True)
    cpu.mkdir(parents=True)
    (memory / "memory.usage_in_bytes").write_text("5000000\n")
    (memory / "memory.stat").write_text("cache 1000\ninactive_file 7\ntotal_inactive_file 1000000\n")
    (memory / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (cpu / "cpuacct.usage").write_text("1500000000\n")


def version_2(root: Path, place: str, limit: str = "134217728") -> None:
    folder = root / place
    folder.mkdir(parents=True)
    (folder / "memory.current").write_text("5000000\n")
    (folder / "memory.stat").write_text("anon 3\ninactive_file 1000000\n")
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", [version_1, version_2])
def test_both_versions_and_both_drivers_tell_the_same(tmp_path: Path, version, place: str) -> None:
    version(tmp_path, place)
    assert cgroups.measured("web", ID, tmp_path) == Measured("web", 4000000, 134217728, spent=1.5)


@pytest.mark.parametrize(("version", "limit"), [(version_1, "9223372036854771712"), (version_2, "max")])
def test_without_a_limit_it_is_not_known(tmp_path: Path, version, limit: str) -> None:
    version(tmp_path, PLACES[0], limit)
    found = cgroups.measured("web", ID, tmp_path)
    assert found
    assert found.limit == 0


def test_what_is_not_here_or_in_other_words_is_not_known(tmp_path: Path) -> None:
    assert cgroups.measured("web", ID, tmp_path) is None
    version_2(tmp_path, PLACES[0])
    (tmp_path / PLACES[0] / "cpu.stat").write_text("nr_periods 3\n")
    assert cgroups.measured("web", ID, tmp_path) is None
    (tmp_path / PLACES[0] / "memory.current").write_text("much\n")
    assert cgroups.measured("web", ID, tmp_path) is None
    assert cgroups.measured("web", "", tmp_path) is None


class Api:
    """What is asked of ``DockerApi``."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def stats_at_once(self, name: str) -> dict | None:
        self.asked.append(name)
        return None if name == "ended" else {"cpu_stats": {"cpu_usage": {"total_usage": 2e9}}}


def test_the_engine_is_asked_for_those_whose_files_are_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    running = [{"Names": [f"/{name}"], "Id": name} for name in ("ended", *(f"c{n}" for n in range(45)))]
    here = Measured("c0", 1, 2, spent=3.0)
    monkeypatch.setattr(cgroups, "measured", lambda name, _: here if name == "c0" else None)
    api = Api()
    found = measured_at_once(api, running, here=True)  # type: ignore[arg-type]
    assert set(api.asked) == {"ended", *(f"c{n}" for n in range(1, 45))}
    assert set(found) == {f"c{n}" for n in range(45)}
    assert found["c0"] is here
    assert found["c1"].spent == 2.0
    api = Api()
    assert len(measured_at_once(api, running, here=False)) == 45  # type: ignore[arg-type]
    assert len(api.asked) == 46
