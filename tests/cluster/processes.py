"""Starts, finds, checks and stops the components' processes. Process ids are in pids/, output is in logs/."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from tests.cluster import keys
from tests.cluster.components import Component
from tests.cluster.where import LOGS, PIDS, fail

START_TIMEOUT = 60.0  # seconds until a component answers, on a busy machine
STOP_TIMEOUT = 5.0  # seconds until it is killed


def pid(component: Component) -> int | None:
    """Its process id, or None if it does not run. A process id that another program has got since does not count."""
    try:
        number = int((PIDS / f"{component.name}.pid").read_text())
    except (OSError, ValueError):
        return None
    until(lambda: command(number) or not runs(number), 1)  # just after its start it has no command line yet
    return number if command(number)[:1] == [str(component.path)] else None


def command(number: int) -> list[str]:
    """The process's command line; empty if it does not run."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def runs(number: int) -> bool:
    """True unless it is gone or a zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def start(component: Component) -> None:
    """Starts it; returns at once."""
    LOGS.mkdir(parents=True, exist_ok=True)
    PIDS.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{component.name}.log").open("ab") as log:
        process = subprocess.Popen(
            component.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    (PIDS / f"{component.name}.pid").write_text(f"{process.pid}\n")


def stop(components: Iterable[Component], how: signal.Signals = signal.SIGTERM) -> None:
    """Stops them together, and kills those that do not end in time. Returns once they are gone."""
    running = {number for one in components if (number := pid(one))}
    for number in running:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGCONT)  # a stopped process would not handle the signal
            os.kill(number, how)
    if not gone(running, STOP_TIMEOUT):
        for number in running:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        gone(running, STOP_TIMEOUT)


def gone(numbers: Iterable[int], seconds: float) -> bool:
    left = set(numbers)

    def none() -> bool:
        left.difference_update([number for number in left if not runs(number)])
        return not left

    return until(none, seconds)


def until(condition: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def wait(component: Component) -> None:
    """Returns once it is healthy. Raises Failed with its last lines if it has ended or takes too long."""
    until(lambda: healthy(component) or not pid(component), START_TIMEOUT)
    if healthy(component):
        return
    state = "does not answer" if pid(component) else "ended"
    log = LOGS / f"{component.name}.log"
    lines = log.read_text(errors="replace").splitlines()[-5:]
    fail(f"{component.name} {state}. Its last lines (from {log}):\n  " + "\n  ".join(lines))


def healthy(component: Component) -> bool:
    """True if it runs and its health check succeeds."""
    if not pid(component):
        return False
    if component.health.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as attempt:
            return not attempt.connect_ex(component.health.removeprefix("unix:"))
    with suppress(OSError):
        return bool(get(component.health))
    return False


def get(url: str, seconds: float = 5.0) -> bytes:
    """A GET as the administrator; b" " for an empty answer. Raises OSError for any status but 200."""
    tls = None
    if url.startswith("https:"):
        tls = ssl.create_default_context(cafile=str(keys.crt("authority")))
        tls.load_cert_chain(keys.crt("admin"), keys.key("admin"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )
    with opener.open(url, timeout=seconds) as answer:
        return answer.read() or b" "
