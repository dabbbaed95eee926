"""Traps at named calls of a run's way: whoever comes there dies, or stands still. In the service's processes.

A trap is a file, ``<folder>/<pipeline>.trap``, that says where and whom it catches. It catches once: who comes
first renames it, and leaves ``<pipeline>.sprung`` with who it was and when.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.engines import DOCKER
from pipeline.ports.adapters import Adapters
from pipeline.ports.engine import Engine, Engines, engine_of

FOLDER = "PUSHLIVE_TEST_TRAPS"  # the environment's variable that names the folder
KEEPER = "keeper.pid"  # a file in it: the keeper's process


def put(path: Path, text: str) -> None:
    """Another process reads all of it or nothing."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text)
    unfinished.rename(path)


@dataclass(frozen=True)
class Trap:
    """``call``: ``part.method``. ``when``: before · inside · after. ``nth``: which call of that name in one process.
    ``who``: job · worker · both · orphan (the worker dies, its job lives on) · pool (all workers and the keeper)
    · stop (the job stands still) · wait (this call alone, until ``let_go``) · nobody (it is only told that the job
    came by)."""

    call: str
    when: str = "before"
    who: str = "job"
    nth: int = 1

    @property
    def name(self) -> str:
        return f"{self.who} {self.when} {self.call}" + (f" #{self.nth}" if self.nth > 1 else "")

    def write(self, folder: Path, pipeline: str) -> None:
        put(folder / f"{pipeline}.trap", json.dumps(asdict(self)))


@dataclass(frozen=True)
class Sprung:
    job: int
    worker: int
    at: float  # seconds on the machine's monotonic clock, which all processes share


def sprung(folder: Path, pipeline: str) -> Sprung | None:
    """Who was caught, or None so far."""
    try:
        return Sprung(**json.loads((folder / f"{pipeline}.sprung").read_text()))
    except (FileNotFoundError, ValueError):
        return None


def let_go(folder: Path, pipeline: str) -> None:
    """Whoever waits in a trap goes on."""
    (folder / f"{pipeline}.go").touch()


def clear(folder: Path, pipeline: str) -> None:
    let_go(folder, pipeline)
    for ending in ("trap", "taken", "sprung", "go"):
        (folder / f"{pipeline}.{ending}").unlink(missing_ok=True)


# ── in the job's process ─────────────────────────────────────────────────────


class Traps:
    """What one job's process meets. It works for one pipeline, whose name the calls tell."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls: Counter[str] = Counter()

    def count(self, call: str) -> int:
        self._calls[call] += 1
        return self._calls[call]

    def pass_by(self, pipeline: str, call: str, when: str, nth: int) -> None:
        """Springs the trap that is set here, if one is."""
        file = self._folder / f"{pipeline}.trap"
        try:
            trap = Trap(**json.loads(file.read_text()))
        except (FileNotFoundError, ValueError):
            return
        if (trap.call, trap.when, trap.nth) != (call, when, nth):
            return
        try:
            file.rename(self._folder / f"{pipeline}.taken")
        except FileNotFoundError:
            return
        caught = Sprung(os.getpid(), os.getppid(), time.monotonic())
        put(self._folder / f"{pipeline}.sprung", json.dumps(asdict(caught)))
        while trap.who == "wait" and not (self._folder / f"{pipeline}.go").exists():
            time.sleep(0.01)
        catch(trap.who)


def catch(who: str) -> None:
    """What happens to this job's process and to the worker above it."""
    me, worker = os.getpid(), os.getppid()
    if who == "orphan":
        ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG: not ended with its worker
    if who == "pool":
        os.kill(parent_of(worker), signal.SIGKILL)
    if who in ("worker", "both", "orphan", "pool"):
        os.kill(worker, signal.SIGKILL)
    if who in ("job", "both", "pool"):
        os.kill(me, signal.SIGKILL)
    if who == "stop":
        os.kill(me, signal.SIGSTOP)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Trapped:
    """A part whose calls pass by the traps. ``inside`` is where an output line comes, where the time is looked at,
    or a point between two acts that ``INSIDE`` names."""

    def __init__(self, part: Any, name: str, traps: Traps, pipeline: str) -> None:
        self._part, self._name, self._traps, self._pipeline = part, name, traps, pipeline

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._part, method)
        if not callable(found):
            return found
        return lambda *args, **more: self._call(method, found, args, more)

    def _call(self, method: str, act: Callable[..., Any], args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        call = f"{self._name}.{method}"
        nth = self._traps.count(call)

        def at(when: str) -> None:
            self._traps.pass_by(self._pipeline, call, when, nth)

        at("before")
        undo = self._between(call, args, lambda: at("inside"))
        try:
            result = act(*(_listening(one, lambda: at("inside")) for one in args), **more)
        finally:
            undo()
        at("after")
        return result

    def _between(self, call: str, args: tuple[Any, ...], passing: Callable[[], None]) -> Callable[[], None]:
        """Sets a point between two acts of that call; returns what takes it away again."""
        if not call.startswith("engine."):
            return lambda: None
        key = getattr(args[0], "ref", args[0]).engine if args else ""
        point = INSIDE.get((call, "docker" if key == DOCKER else "cluster"))
        if point is None:
            return lambda: None
        owner, name = point(self._part)
        real = getattr(owner, name)

        def passed(*args: Any, **more: Any) -> Any:
            passing()
            return real(*args, **more)

        setattr(owner, name, passed)
        return lambda: setattr(owner, name, real)


# Between which two acts of a call `inside` is, where no output line comes by.
INSIDE: dict[tuple[str, str], Callable[[Any], tuple[Any, str]]] = {
    ("engine.start", "docker"): lambda one: (one._api, "start"),  # made, not yet started
    ("engine.start", "cluster"): lambda one: (
        one._api,
        "apply",
    ),  # its variables are there, its pods are not
    ("engine.switch", "docker"): lambda one: (one._proxy, "_apply"),  # in the folder, not yet in the proxy
    ("engine.switch", "cluster"): lambda one: (
        one,
        "_settle",
    ),  # the selector is written, endpoints are to follow
    ("engine.detach", "cluster"): lambda one: (
        one._api,
        "merge",
    ),  # the pods were told to end, nobody noted it
}


def _listening(argument: Any, passing: Callable[[], None]) -> Any:
    """An Emit that passes by at each line of output; everything else as it is."""
    is_emit = callable(argument) and getattr(argument, "__qualname__", "").startswith("RunContext.emitter")
    if not is_emit:
        return argument

    def emit(event: Any) -> None:
        argument(event)
        if event.kind in ("line", "vertex"):
            passing()

    return emit


class TrappedEngines:
    """ports.Engines whose engines are trapped in whole."""

    def __init__(self, engines: Engines, trap: Callable[[Any, str], Any]) -> None:
        self._engines, self._trap = engines, trap

    def of(self, key: str) -> Engine:
        one = self._engines.of(key)
        return engine_of(self._trap(one.slots, "engine"), self._trap(one.probe, "probe"))

    def in_use(self) -> Iterable[str]:
        return self._engines.in_use()


def trapped(parts: Adapters, pipeline: str) -> Adapters:
    """The same parts, with the traps of that folder on the way of that pipeline's run."""
    traps = Traps(Path(os.environ[FOLDER]))

    def trap(part: Any, name: str) -> Any:
        return Trapped(part, name, traps, pipeline)

    source, builder = trap(parts.source, "source"), trap(parts.builder, "builder")
    return replace(parts, source=source, builder=builder, engines=TrappedEngines(parts.engines, trap))
