"""The proxy's folder: its state, and the files that HAProxy reads when it starts. One writer at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from pipeline.adapters.haproxy.config import State, files, structure_of
from pipeline.config.https.listeners import listeners
from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed, TryAgain
from pipeline.lib import codec
from pipeline.lib.files.whole import replacing
from pipeline.lib.key_file import sync_folder
from pipeline.lib.retry import poll

LOCK = 20.0  # seconds; starting the container takes up to 15 while a lock is held


def service_user() -> tuple[int, int]:
    """The uid and gid of this process."""
    return os.getuid(), os.getgid()


def drops_to(settings: Settings) -> tuple[int, int] | None:
    """The uid and gid that HAProxy takes on once it has bound its ports; None if it starts as the service's user.

    It must start as root for ports below 1024, and is never root afterwards.
    """
    uid, gid = service_user()
    if uid == 0:
        return 65534, 65534
    low = any(one.port < 1024 for one in (*listeners(settings.proxy_http), *listeners(settings.proxy_https)))
    return (uid, gid) if low else None


def write(path: Path, text: str) -> bool:
    """Replaces a file atomically, synced to disk first; False if it has that text already."""
    if path.exists() and path.read_text() == text:
        return False
    with replacing(path) as file:
        file.write(text.encode())
    return True


def unwritable(folder: Path, error: OSError) -> EngineFailed:
    return EngineFailed(
        f"The proxy's folder {folder} cannot be written: {error.strerror}.",
        advice="Check the free disk space and the folder's owner.",
    )


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Folder:
    """``<data>/proxy``, mounted into the container. Raises EngineFailed if it cannot be written or read."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.data / "proxy"
        self._settings = settings

    @contextmanager
    def locked(self, name: str = "lock") -> Iterator[None]:
        """Keeps every other process of this service out. Raises TryAgain if one of them has the lock for too long: one
        process that hangs must not make all others hang."""
        (self.path / "certificates").mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self.path / name, "a") as file:
            if not poll(partial(_lock, file), 0.005, timeout=LOCK):
                raise TryAgain(
                    f"Another process of the service has had the lock {self.path / name} for {LOCK:.0f} s.",
                    advice=f"If it hangs, kill it: `fuser {self.path / name}` names it.",
                )
            yield

    def load(self) -> State:
        """The state; a new one if there is none yet."""
        path = self.path / "state.json"
        try:
            return codec.load(State, path.read_text())
        except FileNotFoundError:
            return State(token=secrets.token_hex(16))
        except (OSError, ValidationError) as error:
            raise EngineFailed(
                f"The proxy's state in {path} cannot be read: {error}.",
                advice="Move the file away: reconciliation writes it again from the store.",
            ) from error

    def take_up(self, text: str) -> bool:
        """Keeps a state that was lost here, if there is none; False if the text is not a state."""
        if (self.path / "state.json").exists():
            return True
        try:
            state = codec.load(State, text)
        except ValidationError:
            return False
        with self.locked():
            self.save(state)
        return True

    def structure(self) -> str:
        """See ``config.structure_of``."""
        return structure_of(self._files(State(""))["haproxy.cfg"])

    def save(self, state: State) -> None:
        """Writes the state and the files that HAProxy reads, as far as they change."""
        try:
            for name, text in self._files(state).items():
                write(self.path / name, text)
            write(self.path / "state.json", codec.dump(state))
            sync_folder(self.path)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _files(self, state: State) -> dict[str, str]:
        return files(state, self._settings, drops_to(self._settings))
