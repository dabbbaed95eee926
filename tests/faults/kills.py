"""SIGKILL at every step of a run, of a job's process, its worker, or both; and workers that stand still."""

from __future__ import annotations

import itertools
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline.domain.run import State
from tests.faults.registry import fault
from tests.faults.traps import Trap
from tests.faults.trial import TAKEN_OVER, Trial
from tests.support.waiting import until

# Where a run can be cut: each step's beginning, its midst, its end.
STEPS: dict[str, tuple[tuple[str, str, int], ...]] = {
    "build/fetch": (
        ("source.fetch", "before", 1),
        ("source.keep", "before", 1),
        ("source.unsupported", "after", 1),
    ),
    "build/build": (
        ("source.tree", "before", 1),
        ("builder.build", "inside", 1),
        ("builder.build", "after", 1),
    ),
    "build/push": (("builder.tag", "before", 1), ("builder.tag", "after", 1), ("builder.tag", "after", 2)),
    "release": (
        ("engine.command", "before", 1),
        ("engine.command", "inside", 1),
        ("engine.command", "after", 1),
    ),
    "start": (("engine.fits", "before", 1), ("engine.start", "inside", 1), ("engine.expose", "before", 1)),
    "smoke": (("engine.preview", "before", 1), ("probe.get", "before", 2), ("probe.get", "after", 2)),
    "switch": (("engine.switch", "before", 1), ("engine.switch", "inside", 1), ("engine.switch", "after", 1)),
    "verify": (("engine.public", "before", 1), ("probe.get", "before", 4), ("probe.get", "after", 5)),
}
WHO = ("job", "worker", "both")


def _killed(trial: Trial, trap: Trap) -> None:
    one, caught = trial.trapped(trap)
    trial.taken_over(one, caught.at)
    trial.pushed()


def _register(step: str) -> None:
    tries = itertools.count()

    @fault(f"kill-{step.replace('/', '-')}", 33, 41, words=f"SIGKILL around {step}", scene="main", times=3)
    def act(trial: Trial) -> None:
        number = next(tries)  # several are at work at once
        call, when, nth = STEPS[step][number % 3]  # the places in turn, and who dies likewise
        who = WHO[(number + number // 3 + list(STEPS).index(step)) % 3]
        _killed(trial, Trap(call, when, who, nth))


for _step in STEPS:
    _register(_step)


@fault("dequeue", 42, words="SIGKILL between taking the job and taking the run", scene="main", times=2)
def dequeue(trial: Trial) -> None:
    one, caught = trial.trapped(Trap("job", "before", trial.random.choice(WHO)))
    until(lambda: (run := trial.run_of(one)) and run.state != State.QUEUED, TAKEN_OVER)
    trial.recovered(caught.at)
    trial.pushed()


@fault("kill-pool", 41, 33, words="SIGKILL of all workers and the keeper at once", scene="alone")
def pool(trial: Trial) -> None:
    call, when, nth = trial.random.choice([place for places in STEPS.values() for place in places])
    _killed(trial, Trap(call, when, "pool", nth))


@fault("orphan", 41, words="the worker killed, its job's process alive", scene="main")
def orphan(trial: Trial) -> None:
    """The job goes on: it has the lease still. Nobody else may take the run up meanwhile."""
    _, caught = trial.trapped(Trap("engine.start", "inside", "orphan"))
    trial.pushed()
    until(lambda: not alive(caught.job), 20)
    trial.recovered(caught.at)


@fault("stale", 41, words="a worker stands still longer than its lease, and wakes up", scene="main", times=2)
def stale(trial: Trial) -> None:
    """It stands still right before the switch; another one takes the run up, a newer one goes live; then it acts."""
    one, caught = trial.trapped(Trap("engine.switch", "before", "stop"))
    try:
        trial.taken_over(one, caught.at)
        trial.pushed()
        trial.push()
        trial.pushed()
        until(lambda: trial.page() == trial.expected, 20)
        before = _records(trial)
    finally:
        woken = time.monotonic()
        with suppress(ProcessLookupError):
            os.kill(caught.job, signal.SIGCONT)
    until(lambda: not alive(caught.job), 20)
    until(lambda: trial.scene.service.engine and _serves(trial), 20)
    trial.recovered(woken)
    assert _records(trial) == before, "a stale worker changed the records"


@fault(
    "stale-locked", 41, words="a worker stands still in the middle of a switch, with the lock", scene="alone"
)
def stale_locked(trial: Trial) -> None:
    """Nobody else can move traffic meanwhile, and says so; what serves goes on serving."""
    before = trial.page()
    one, caught = trial.trapped(Trap("engine.switch", "inside", "stop"))
    try:
        trial.taken_over(one, caught.at)
        trial.said(one, "has had the lock", 60)
        assert trial.page() in (before, trial.expected)
    finally:
        os.kill(caught.job, signal.SIGCONT)
    trial.pushed()
    until(lambda: _serves(trial), 30)


def _serves(trial: Trial) -> bool:
    """Ten answers in a row are of the release that the store says."""
    return all(trial.page() == trial.expected for _ in range(10))


def _records(trial: Trial) -> object:
    """Without what the keeper finds out about containers, which may come at any time."""
    environments = trial.scene.store.environments(trial.name)
    return trial.scene.runs(trial.name), [replace(one, health={}, down=None) for one in environments.values()]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
