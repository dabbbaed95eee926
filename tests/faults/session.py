"""All tries of one call of ``scripts/faults``: what became of them, and the services that they are tried on."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import chain
from queue import Empty, SimpleQueue

from pipeline.adapters.docker_api.client import client
from tests.faults.registry import Fault, Tally
from tests.faults.scene import FEW, Scene, own_scene, scene, watched_scene
from tests.faults.trial import Result, attempt

Opened = Callable[[], AbstractContextManager[Scene]]

# Which faults are tried on which kind of service; and how many of them before a new one is made.
SCENES: dict[tuple[str, ...], Opened] = {
    ("main", "alone"): lambda: scene(client()),
    ("own",): own_scene,
    ("watched",): lambda: watched_scene(client()),
    ("large",): lambda: scene(client(), 20, FEW, PUSHLIVE_WORKERS="8"),
}
WEIGHTS: dict[tuple[str, ...], int] = {("main", "alone"): 12, ("own",): 3, ("watched",): 3, ("large",): 1}
# The bounded form: the services of one lane come one after the other, the lanes go side by side. A kind in two lanes is
# divided between two services. What needs the processors most ("main", "large") is in one lane.
LANES: tuple[tuple[str, ...], ...] = (("main", "large"), ("alone",), ("own", "watched", "alone"))
AT_ONCE = 6  # tries beside each other on one service, where one does not disturb the other


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


class Session:
    """The tallies of all tries. Tries may end in several threads at once."""

    def __init__(self, seed: str) -> None:
        self.seed = seed
        self.tallies: dict[str, Tally] = {}
        self.broken: list[str] = []  # services that could not be opened, or not be taken away
        self.stopped = threading.Event()  # no further try is begun
        self._lock = threading.Lock()
        self._tries: Counter[str] = Counter()

    @property
    def good(self) -> bool:
        return not self.broken and all(tally.good for tally in self.tallies.values())

    def keep(self, result: Result) -> None:
        wrong = [*filter(None, [result.failure]), *result.lost, *result.doubled]
        mark = "✓" if not wrong else "✗"
        with self._lock:
            tally = self.tallies.setdefault(result.fault.name, Tally())
            tally.tried += 1
            tally.lost += len(result.lost)
            tally.doubled += len(result.doubled)
            tally.recovery = max(tally.recovery, result.recovery)
            tally.survived += not wrong
            tally.failures += wrong
            say(f"{mark} {result.fault.name}: {'; '.join(wrong) or f'{result.recovery:.1f} s'}")

    def beside(self, one: Scene, faults: Iterable[Fault]) -> None:
        """Several at once, each on an application of its own."""
        free: SimpleQueue[str] = SimpleQueue()
        for name in one.names:
            free.put(name)

        def run(fault: Fault, seed: str) -> None:
            if self.stopped.is_set():
                return
            name = free.get()
            try:
                self.keep(attempt(fault, one, name, seed))
            finally:
                free.put(name)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done in [pool.submit(run, fault, self._next_seed(fault)) for fault in faults]:
                done.result()

    def alone(self, one: Scene, faults: Iterable[Fault]) -> None:
        for fault in faults:
            if self.stopped.is_set():
                return
            seed = self._next_seed(fault)
            # One that was pushed to a moment ago has not worked for long: what fails after it would go back further.
            names = [name for name in one.names if name not in one.pushed_at] or one.names
            self.keep(attempt(fault, one, random.Random(f"{seed}-name").choice(names), seed))

    def _next_seed(self, fault: Fault) -> str:
        """The same for the same try of that fault, however the tries are divided."""
        with self._lock:
            self._tries[fault.name] += 1
            return f"{self.seed}-{fault.name}-{self._tries[fault.name]}"

    def broke(self, kind: str) -> None:
        """A service failed outside any try; called where the exception is handled."""
        with self._lock:
            self.broken.append(kind)
            say(f"✗ the service for {kind} faults failed:\n{traceback.format_exc()}")


def bounded(session: Session, chosen: Iterable[Fault], opened: Callable[[str], Opened] | None = None) -> None:
    """Each fault as often as it says, on several services at once. A service that fails does not end the others.
    ``opened``: what opens a service of that kind."""
    queues: dict[str, SimpleQueue[Fault]] = {}
    for fault in chosen:
        for _ in range(fault.times):
            queues.setdefault(fault.scene, SimpleQueue()).put(fault)

    def lane(kinds: tuple[str, ...]) -> None:
        for kind in kinds:
            if kind in queues:
                _on_one(session, kind, queues[kind], (opened or _opened)(kind))

    with ThreadPoolExecutor(len(LANES)) as pool:
        try:
            for done in [pool.submit(lane, kinds) for kinds in LANES]:
                done.result()
        except KeyboardInterrupt:
            session.stopped.set()  # the tries at work end, and each service is taken away
            raise


def _opened(kind: str) -> Opened:
    if kind == "alone":
        return lambda: scene(client(), names=FEW)
    return next(opened for kinds, opened in SCENES.items() if kind in kinds)


def _on_one(session: Session, kind: str, faults: SimpleQueue[Fault], opened: Opened) -> None:
    """Tries faults of that kind until none is left; the service of another lane may take some of them. None is made
    for nothing."""
    first = next(left := _left(faults), None)
    if first is None or session.stopped.is_set():
        return
    act = session.beside if kind == "main" else session.alone
    begun = False
    try:
        with opened() as one:
            begun = True
            act(one, chain([first], left))
    except Exception:  # noqa: BLE001 - the others go on, and the exit code says it
        if not begun:
            faults.put(first)
        session.broke(kind)


def _left(faults: SimpleQueue[Fault]) -> Iterator[Fault]:
    """Takes one after the other."""
    while True:
        try:
            yield faults.get_nowait()
        except Empty:
            return


def on_and_on(session: Session, chosen: list[Fault], minutes: float) -> None:
    """In random order until the time is over; a service serves for some faults, then a new one is made."""
    end = time.monotonic() + 60 * minutes
    order = random.Random(session.seed)
    while time.monotonic() < end:
        kinds = [kind for kind in SCENES if any(fault.scene in kind for fault in chosen)]
        kind = order.choices(kinds, [WEIGHTS[kind] for kind in kinds])[0]
        possible = [fault for fault in chosen if fault.scene in kind]
        picked = [order.choice(possible) for _ in range(WEIGHTS[kind])]
        with SCENES[kind]() as one:
            for fault in picked:
                if time.monotonic() < end:
                    act = session.beside if fault.scene == "main" else session.alone
                    act(one, [fault] * max(1, fault.times))
