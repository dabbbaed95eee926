"""Keeping child processes running: `pushlive up` and its workers both supervise with this."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from types import FrameType

from pipeline.lib.journal.writer import NO_JOURNAL, Journal
from pipeline.lib.processes import die_with_parent
from pipeline.lib.retry import Backoff, poll

QUICK = 2.0  # seconds: a child that ends sooner is not restarted at once
RESTART = Backoff(1.0, ceiling=2.0)  # pauses before its restarts
ROUND = 0.2  # seconds between two looks at the children
_KILL_WAIT = 5.0  # seconds for the kernel to end a child after SIGKILL


class Child(ABC):
    """One process; it can be started again after it has ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0  # 0 before the first start

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def exit_code(self) -> int | None:
        """None while it runs (and before its start); if a signal ended it, the signal's number, negative."""

    @property
    def running(self) -> bool:
        return self.pid > 0 and self.exit_code() is None

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class SpawnedChild(Child):
    """A new program, in a session of its own, so that Ctrl-C reaches only the supervisor."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        super().__init__(name)
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, start_new_session=True)
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll() if self._process else None

    def kill(self) -> None:
        """With everything in its session."""
        os.killpg(self.pid, signal.SIGKILL)


class ForkedChild(Child):
    """A function in a fork of this process: starts at once, with everything that is imported already. It ignores
    Ctrl-C and ends with this process."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        super().__init__(name)
        self._function = function
        self._code: int | None = None

    def start(self) -> None:
        self._code = None
        self.pid = os.fork()
        if self.pid == 0:
            self._run()

    def _run(self) -> None:
        code = 1
        try:
            die_with_parent()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self._function()
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            if code:
                sys.excepthook(*sys.exc_info())
            os._exit(code)

    def exit_code(self) -> int | None:
        if self._code is None and self.pid:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


class _Watch:
    """What the supervisor remembers of a child. Times are the supervisor's clock."""

    def __init__(self) -> None:
        self.started = 0.0
        self.quick_ends = 0  # in a row
        self.restart: float | None = None  # when; None while it runs


class Supervisor:
    """Starts children, restarts those that end, and stops them. ``report``: told when a child has ended."""

    def __init__(
        self,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        journal: Journal = NO_JOURNAL,
    ) -> None:
        self._journal = journal
        self.stopping = False  # set by SIGTERM and SIGINT
        self._report = report
        self._clock = clock
        self._watched: dict[Child, _Watch] = {}

    def catch_signals(self, on_stop: Callable[[], None] = lambda: None) -> None:
        """From now on SIGTERM and SIGINT set ``stopping`` and call ``on_stop``."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.stopping = True
            on_stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)

    def start(self, child: Child) -> None:
        watch = self._watched.setdefault(child, _Watch())
        watch.started, watch.restart = self._clock(), None
        child.start()
        self._journal.write("process_started", f"pid {child.pid}", name=child.name)

    def run(self, each_round: Callable[[], None] = lambda: None) -> None:
        """Returns once ``stopping`` is set; the children still run then."""
        while not self.stopping:
            each_round()
            self.tend()
            time.sleep(ROUND)

    def tend(self) -> None:
        """One look at every child: restarts what has ended, after a pause if it had just been started."""
        for child, watch in self._watched.items():
            code = child.exit_code()
            if code is None:
                continue
            if watch.restart is None:
                watch.restart = self._clock() + self._pause(watch)
                self._journal.write("process_ended", _ending(code), level="error", name=child.name)
                self._report(f"the {child.name} process (pid {child.pid}) {_ending(code)}; restarting it")
            if self._clock() >= watch.restart:
                self.start(child)

    def _pause(self, watch: _Watch) -> float:
        if self._clock() - watch.started >= QUICK:
            watch.quick_ends = 0
            return 0.0
        watch.quick_ends += 1
        return RESTART.delay(watch.quick_ends)


def stop(children: Sequence[Child], grace: float) -> None:
    """SIGTERM to all of them, and after ``grace`` seconds SIGKILL to those that still run. Idempotent."""
    for child in children:
        if child.running:
            child.terminate()
    poll(lambda: not any(child.running for child in children), 0.05, timeout=grace)
    left = [child for child in children if child.running]
    for child in left:
        child.kill()
    poll(lambda: not any(child.running for child in left), 0.05, timeout=_KILL_WAIT)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
