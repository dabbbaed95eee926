"""A command of ``pushlive`` in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from contextlib import suppress

from tests.support.service import PUSHLIVE, Service
from tests.support.waiting import until


class Terminal:
    """A command of ``pushlive`` with a terminal of its own, 100 columns and 30 rows."""

    def __init__(self, service: Service, *arguments: str) -> None:
        self.text, self._from = "", 0
        self._pid, self._file = pty.fork()
        if self._pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
            os.execvpe(PUSHLIVE[0], [*PUSHLIVE, *arguments], service.environ)  # noqa: S606

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        os.close(self._file)

    def _size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows: int, columns: int) -> None:
        self._size(rows, columns)
        os.kill(self._pid, signal.SIGWINCH)

    def type(self, text: str) -> None:
        os.write(self._file, text.encode())

    def reads(self, *texts: str) -> None:
        """Waits until it has shown all of them."""
        try:
            until(lambda: self._more() and all(text in self.text for text in texts), 20)
        except AssertionError as error:
            raise AssertionError(f"it shows {self.text!r}") from error

    def reads_after(self, typed: str, text: str) -> None:
        """Types again and again, since what was typed before may take a moment to act, until it shows the text."""
        self._from = len(self.text)

        def shown() -> bool:
            self.type(typed)
            end = time.monotonic() + 1
            while time.monotonic() < end and text not in self.text[self._from :]:
                self._more()
            return text in self.text[self._from :]

        until(shown, 20)

    def _more(self) -> bool:
        while select.select([self._file], [], [], 0.05)[0]:
            try:
                self.text += os.read(self._file, 1 << 16).decode(errors="replace")
            except OSError:  # it has ended
                break
        return True

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def ends(self) -> int:
        """Its exit code."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            self._more()
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f"it has not ended: {self.text}")
