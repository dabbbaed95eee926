"""Starting, finding, asking and ending the components' processes. Each has its number in pids/, its output in logs/."""

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

PATIENCE = 60.0  # seconds until a component answers, on a busy machine
FAREWELL = 5.0  # seconds to end before it is killed


def pid(component: Component) -> int | None:
    """Its process, if that runs: a number that another program got meanwhile is not it."""
    try:
        number = int((PIDS / f"{component.name}.pid").read_text())
    except (OSError, ValueError):
        return None
    until(lambda: command(number) or not runs(number), 1)  # for a moment after its start it has no words yet
    return number if command(number)[:1] == [str(component.path)] else None


def command(number: int) -> list[str]:
    """Its words; empty for one that does not run."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def runs(number: int) -> bool:
    """It is neither gone nor gone but for its parent's notice."""
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
    """Ends them together; whoever does not go in time is killed. Returns when they are gone."""
    running = {number for one in components if (number := pid(one))}
    for number in running:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGCONT)  # a frozen one would not hear
            os.kill(number, how)
    if not gone(running, FAREWELL):
        for number in running:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        gone(running, FAREWELL)


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
    """Returns once it is well; Failed with its last lines when it ended or takes too long."""
    until(lambda: healthy(component) or not pid(component), PATIENCE)
    if healthy(component):
        return
    state = "does not answer" if pid(component) else "ended"
    log = LOGS / f"{component.name}.log"
    lines = log.read_text(errors="replace").splitlines()[-5:]
    fail(f"{component.name} {state}. Its last lines (all: {log}):\n  " + "\n  ".join(lines))


def healthy(component: Component) -> bool:
    """It runs and answers that it is well."""
    if not pid(component):
        return False
    if component.health.startswith("unix:"):
        with socket.socket(socket.AF_UNIX) as attempt:
            return not attempt.connect_ex(component.health.removeprefix("unix:"))
    with suppress(OSError):
        return bool(get(component.health))
    return False


def get(url: str, seconds: float = 5.0) -> bytes:
    """Asked as the administrator; b" " for an empty answer. OSError for everything else than 200."""
    tls = None
    if url.startswith("https:"):
        tls = ssl.create_default_context(cafile=str(keys.crt("authority")))
        tls.load_cert_chain(keys.crt("admin"), keys.key("admin"))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )
    with opener.open(url, timeout=seconds) as answer:
        return answer.read() or b" "
