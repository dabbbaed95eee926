"""Files that are replaced under a running service are noticed; those that say the same are not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime import preload
from pipeline.runtime.running_code import EVERY, PACKAGES, RunningCode, running_code
from tests.support.paths import ROOT


class World:
    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pipeline"
        (self.folder / "lib").mkdir(parents=True)
        (self.folder / "lib" / "text.py").write_text("old = 1\n")
        self.versions = {"pushlive": "0.1.0", "redis": "8.1.0"}
        self.now = 0.0
        self.code = self.made()

    def made(self, started: str = "") -> RunningCode:
        return RunningCode([self.folder], started, lambda: dict(self.versions), lambda: self.now)

    def look(self) -> str:
        self.now += EVERY
        return self.code.replaced()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_changed_file_is_an_update_until_it_is_put_back(world: World) -> None:
    assert world.look() == ""
    (world.folder / "lib" / "text.py").write_text("new = 2\n")
    assert world.code.replaced() == ""  # it does not look that often
    assert world.look().startswith(f"Pushlive's files in {world.folder.parent} were replaced while it runs.")
    assert "`systemctl restart pushlive`" in world.look()
    (world.folder / "lib" / "text.py").write_text("old = 1\n")
    assert world.look() == ""


@pytest.mark.parametrize("name", ["lib/new.py", "page.html"])
def test_a_new_file_is_an_update(world: World, name: str) -> None:
    (world.folder / name).write_text("x")
    assert "were replaced" in world.look()


def test_a_folder_that_is_gone_is_an_update(world: World) -> None:
    shutil.rmtree(world.folder)
    assert "were replaced" in world.look()


def test_what_python_and_editors_leave_is_none(world: World) -> None:
    (world.folder / "__pycache__").mkdir()
    (world.folder / "__pycache__" / "text.cpython-311.pyc").write_text("x")
    (world.folder / ".text.py.swp").write_text("x")
    (world.folder / "text.py~").write_text("x")
    (world.folder / "lib" / "text.py").touch()
    assert world.look() == ""


def test_a_new_version_is_named(world: World) -> None:
    world.versions |= {"pushlive": "0.2.0", "redis": "8.2.0"}
    assert world.look().startswith("Pushlive was updated from 0.1.0 to 0.2.0 while it runs.")


def test_a_new_version_of_a_library_is_named(world: World) -> None:
    world.versions["redis"] = "8.2.0"
    assert world.look().startswith(
        "Libraries of Pushlive were updated while it runs: redis from 8.1.0 to 8.2.0."
    )


def test_a_process_that_the_service_starts_after_an_update_says_so_at_once(world: World) -> None:
    digest = world.code.digest
    assert world.made(digest).replaced() == ""
    (world.folder / "lib" / "text.py").write_text("new = 2\n")
    assert "were replaced" in world.made(digest).replaced()


def test_this_installation_names_its_libraries() -> None:
    assert running_code.__wrapped__()._versions.keys() >= {"pushlive", "redis", "kubernetes"}


LATE = re.compile(r"^ +(?:import ([\w.]+)(?: as \w+)?(?:  #.*)?$|from ([\w.]+) import )", re.M)


def late_imports() -> set[str]:
    """Modules of others that are imported inside functions of the service."""
    files = [path for top in PACKAGES for path in (ROOT / top).rglob("*.py") if "cli" not in path.parts]
    found = {"".join(names) for path in files for names in LATE.findall(path.read_text())}
    known = (*PACKAGES, *sys.stdlib_module_names)
    return {name for name in found if name.partition(".")[0] not in known}


def test_everything_that_is_imported_late_is_imported_at_the_start() -> None:
    found = late_imports()
    assert len(found) > 5
    assert found <= {*preload.ALWAYS, *preload.OBJECT_STORE, *preload.TRACES}


@pytest.mark.long
def test_every_module_of_the_service_is_loaded() -> None:
    load = "from pipeline.runtime.preload import preload; preload('pipeline', 'workers')"
    code = f"import sys; {load}; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    files = [path for top in ("pipeline", "workers") for path in (ROOT / top).rglob("*.py")]
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files
    }
    missing = {name for name in names - loaded if not name.startswith(preload.NEVER)}
    assert {name for name in missing if not name.endswith("__main__")} == set()
