"""Real processes, started, restarted and stopped."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.runtime import lock, supervisor
from pipeline.runtime.supervisor import Child, ForkedChild, SpawnedChild, Supervisor, stop

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Scripted(Child):
    """A child that ends when the test says so."""

    def __init__(self) -> None:
        super().__init__("web")
        self.code: int | None = None

    def start(self) -> None:
        self.pid += 1
        self.code = None

    def exit_code(self) -> int | None:
        return self.code


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_child_that_ended_is_restarted_at_once_and_reported_once(said: list[str], clock: Clock) -> None:
    child, watcher = Scripted(), Supervisor(said.append, clock)
    watcher.start(child)
    clock.now += supervisor.QUICK
    child.code = 3
    watcher.tend()
    assert child.running
    assert said == ["the web process (pid 1) exited with code 3; restarting it"]


def test_a_child_that_ends_quickly_is_restarted_after_a_pause_that_grows(
    said: list[str], clock: Clock
) -> None:
    child, watcher = Scripted(), Supervisor(said.append, clock)
    watcher.start(child)
    for pause in (1.0, 2.0, 2.0):
        child.code = -signal.SIGKILL
        watcher.tend()
        clock.now += pause - 0.1
        watcher.tend()
        assert not child.running
        clock.now += 0.1
        watcher.tend()
        assert child.running
    assert said[0] == "the web process (pid 1) was ended by SIGKILL; restarting it"
    assert len(said) == 3
    clock.now += supervisor.QUICK
    child.code = 0
    watcher.tend()
    assert child.running


@pytest.mark.parametrize(
    "child",
    [SpawnedChild("one", SLEEP), ForkedChild("one", lambda: time.sleep(60))],
    ids=["spawned", "forked"],
)
def test_a_child_runs_until_it_is_stopped_and_can_be_started_again(child: Child) -> None:
    assert not child.running
    for _ in range(2):
        child.start()
        assert child.running
        stop([child], 10)
        assert not child.running
        assert child.exit_code() == -signal.SIGTERM
    stop([child], 10)


def test_a_child_that_ignores_sigterm_is_killed_with_what_it_started(tmp_path: Path) -> None:
    grandchild = tmp_path / "pid"
    script = (
        "import os, signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"one = subprocess.Popen({SLEEP!r}); open({str(tmp_path / 'new')!r}, 'w').write(str(one.pid)); "
        f"os.rename({str(tmp_path / 'new')!r}, {str(grandchild)!r}); time.sleep(60)"
    )
    child = SpawnedChild("stubborn", [sys.executable, "-c", script])
    child.start()
    until(grandchild.exists)
    stop([child], 0.1)
    assert child.exit_code() == -signal.SIGKILL
    until(lambda: _gone(int(grandchild.read_text())))


def _gone(pid: int) -> bool:
    """Ended, and at most a zombie that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_forked_function_that_fails_ends_with_1_and_shows_why(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    child = ForkedChild("failing", fail)
    child.start()
    until(lambda: not child.running)
    assert child.exit_code() == 1
    assert "ValueError: no such thing" in capfd.readouterr().err


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_and_is_passed_on(number: signal.Signals, said: list[str]) -> None:
    watcher, told = Supervisor(said.append), []
    watcher.catch_signals(lambda: told.append(1))
    watcher.run(lambda: os.kill(os.getpid(), number))
    assert watcher.stopping
    assert told == [1]


# ── the lock ─────────────────────────────────────────────────────────────────


def test_down_stops_the_process_that_holds_the_lock(tmp_path: Path) -> None:
    assert lock.stop_holder(tmp_path, 1) is False
    script = (
        "import sys, time, pathlib; from pipeline.runtime import lock; "
        f"held = lock.take(pathlib.Path({str(tmp_path)!r})); time.sleep(60)"
    )
    child = SpawnedChild("holder", [sys.executable, "-c", script])
    child.start()
    until(lambda: (tmp_path / "up.pid").exists() and (tmp_path / "up.pid").read_text() == str(child.pid))
    assert lock.held(tmp_path)
    assert lock.stop_holder(tmp_path, 10) is True
    until(lambda: not child.running)
    assert lock.stop_holder(tmp_path, 1) is False
