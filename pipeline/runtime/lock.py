"""Which process runs the service of a data folder: it holds ``up.lock`` and has written its pid to ``up.pid``."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path
from typing import IO

from pipeline.errors import RequestError
from pipeline.lib.processes import RESTORING
from pipeline.lib.retry import poll


def take(data: Path) -> IO[str]:
    """The lock, held until it is closed. Raises RequestError if the service runs or the folder is being restored."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (data / RESTORING).exists():
        raise RequestError(
            f"a restore into {data} is running or was interrupted.",
            advice="Wait until it ends; if none is running, remove the folder and restore again.",
        )
    lock = (data / "up.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RequestError(
            f"the service is already running with the data folder {data}.",
            advice="Use it, stop it with `pushlive down`, or set PUSHLIVE_DATA to another folder.",
        ) from error
    (data / "up.pid").write_text(str(os.getpid()))
    return lock


def held(data: Path) -> bool:
    """True while a service runs with that data folder."""
    try:
        with (data / "up.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, PermissionError):
        return False
    return False


def stop_holder(data: Path, timeout: float) -> bool:
    """Stops the service and waits for its end; False if none runs. Raises RequestError after ``timeout`` seconds."""
    pid_file = data / "up.pid"
    pid = int(pid_file.read_text()) if pid_file.exists() else 0
    if not pid or not held(data):
        return False
    os.kill(pid, signal.SIGTERM)
    if not poll(lambda: not held(data), 0.05, timeout=timeout):
        raise RequestError(
            f"the service (pid {pid}) does not stop.",
            advice=f"See its output; as a last resort `kill -9 {pid}`.",
        )
    return True
