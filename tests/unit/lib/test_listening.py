"""A Unix socket in a folder."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pipeline.lib.sockets import listening


def reached(folder: Path, name: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        try:
            client.connect(f"/proc/self/fd/{opened}/{name}")
        except OSError:
            return False
        finally:
            os.close(opened)
        return True


def test_it_takes_the_place_of_a_former_one_in_a_folder_with_a_long_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    with listening(folder, "web.sock", None):
        assert reached(folder, "web.sock")
    assert not reached(folder, "web.sock")
    with listening(folder, "web.sock", None):
        assert reached(folder, "web.sock")
        assert [one.name for one in folder.iterdir()] == ["web.sock"]
        assert (folder / "web.sock").stat().st_mode & 0o777 == 0o600
