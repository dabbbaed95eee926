"""The proxy's folder and its lock."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from pipeline.adapters.haproxy import files
from pipeline.adapters.haproxy.files import Folder
from pipeline.config.settings import Settings
from pipeline.errors import TryAgain


def test_fault_41_a_lock_of_a_hanging_process_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(Settings(data=tmp_path))
    with folder.locked():
        pass
    monkeypatch.setattr(files, "LOCK", 0.05)
    with (folder.path / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TryAgain, match="has had the lock"), folder.locked():
            raise AssertionError("the lock was not exclusive")
    with folder.locked():  # it was released
        pass
