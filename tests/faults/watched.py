"""A release that goes live and fails soon after; the keeper that watches it killed; a worker killed during a shift; the
clock set during a freeze."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable

from pipeline.domain.environment import BakeOutcome
from pipeline.domain.going_back.by_itself import ENOUGH
from pipeline.domain.run import Kind, Outcome, Run, State
from tests.faults.registry import fault
from tests.faults.scene import CLOCK
from tests.faults.traps import KEEPER, Trap, put
from tests.faults.trial import Pushing, Trial
from tests.support.waiting import until

HOUR = 3600.0
DEPLOY = 15.0  # seconds from a push to its switch, at most
BACK = 120.0  # seconds: what fails is seen within half of them on a machine that is not busy

# What is done in the container of a release that serves.
HARMS = {
    "crash-loop": ("exits again and again", "touch /crash"),
    "hang": ("stops answering", "kill -STOP $(pidof httpd)"),
    "memory": ("runs out of memory", "touch /fill /crash"),
    "sick": ("answers 500 at its health page", "touch /sick"),
}


def _reverts(trial: Trial) -> list[Run]:
    return [run for run in trial.scene.runs(trial.name) if run.kind == Kind.REVERT]


def _goes_live(trial: Trial) -> Pushing:
    one = trial.push()
    trial.pushed()
    assert trial.ended(one).outcome == Outcome.LIVE
    until(lambda: trial.page() == trial.expected, 30)
    return one


def _proved(trial: Trial) -> None:
    """Until what serves has worked for so long that it is gone back to, and no older one in its place."""
    since = trial.scene.pushed_at.get(trial.name)
    if since is not None:
        until(lambda: time.monotonic() > since + ENOUGH + DEPLOY, ENOUGH + DEPLOY + 10)


def _taken_back(trial: Trial, command: str, more: Callable[[], None] = lambda: None) -> None:
    """It goes live and is harmed, then ``more`` happens: it is taken back once, and the next push goes live."""
    _proved(trial)
    before, known = trial.page(), len(_reverts(trial))
    one = _goes_live(trial)
    bad = trial.run_of(one)
    assert bad
    harmed = time.monotonic()
    for place in trial.scene.service.containers(trial.name, release=str(bad.release)):
        api = trial.scene.service.engine
        api.exec_start(api.exec_create(place["Id"], ["sh", "-c", command])["Id"])
    more()
    trial.expected = before
    until(lambda: len(_reverts(trial)) > known and _reverts(trial)[-1].ended, BACK)
    until(lambda: trial.page() == before, 30)
    trial.recovered(harmed)
    found = trial.scene.live(trial.name)
    assert found.hold, "it was taken back and the environment is not held"
    assert found.hold.by == "bake", found.hold
    assert bad.release in [entry.release for entry in found.quarantine], found.quarantine
    (bake,) = (each for each in found.bakes if each.release == bad.release)
    assert bake.outcome == BakeOutcome.TAKEN_BACK, bake
    trial.scene.service.pushlive("resume", trial.name, "--env", "live")
    _goes_live(trial)
    assert len(_reverts(trial)) == known + 1, "it was taken back more than once"


def _register(name: str) -> None:
    words, command = HARMS[name]

    @fault(f"bake-{name}", 62, words=f"live {words} soon after its switch", scene="watched", quiet=False)
    def act(trial: Trial) -> None:
        _taken_back(trial, command)


for _name in HARMS:
    _register(_name)


@fault("bake-keeper-killed", 63, words="the keeper killed while live fails", scene="watched", quiet=False)
def keeper_killed(trial: Trial) -> None:
    """Three times, at any moment: each time another one is there and goes on."""

    def kill() -> None:
        for _ in range(3):
            pause = time.monotonic() + trial.random.uniform(0.5, 4)
            until(lambda pause=pause: time.monotonic() > pause, 10)  # type: ignore[misc]
            pid = _keeper(trial)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: _keeper(trial) != pid, 30)  # type: ignore[misc]

    _taken_back(trial, HARMS["crash-loop"][1], kill)


def _keeper(trial: Trial) -> int:
    return int((trial.scene.traps / KEEPER).read_text())


SHIFT = "shift={steps: [30%, 60%], for: 3s}"
SHARES = (("before", 1), ("after", 1), ("after", 2))  # around the calls that give the release its share
_tries = itertools.count()


@fault("shift-worker-killed", 67, words="the worker killed during a shift", scene="watched", times=3)
def shift_killed(trial: Trial) -> None:
    """Visitors stay where they are, the next worker goes on with the step that was recorded, and all go over once."""
    when, nth = SHARES[next(_tries) % len(SHARES)]
    pushlive = trial.scene.service.pushlive
    pushlive("set", trial.name, "live", SHIFT, "--yes")
    try:
        one, caught = trial.trapped(
            Trap("engine.share", when, trial.random.choice(("job", "worker", "both")), nth)
        )
        trial.taken_over(one, caught.at)
        trial.pushed()
        run = trial.ended(one)
        assert run.outcome == Outcome.LIVE, run.reason
        begun = [event.text for event in trial.scene.events(run) if event.data.get("shift") == "over"]
        assert [text.partition(" went to ")[0] for text in begun] == ["30 %", "60 %"], begun
        place = trial.scene.live(trial.name)
        assert (place.serving, place.shift) == (run.release, None)
    finally:
        pushlive("set", trial.name, "live", "shift=[]", "--yes")


@fault("freeze-clock", 66, 38, words="the clock set during a freeze, back and forward", scene="watched")
def freeze_clock(trial: Trial) -> None:
    """Set back, the freeze lasts; set past its end, the run goes on; set right again, the next one waits for a thaw."""
    pushlive = trial.scene.service.pushlive
    pushlive("freeze", trial.name, "live", "--for", "1h", "--reason", "the clock is set")
    try:
        before = trial.page()
        one = _waits(trial)
        _set(trial, -2 * HOUR, one)
        assert trial.page() == before
        _set(trial, 2 * HOUR)
        changed = time.monotonic()
        assert trial.ended(one).outcome == Outcome.LIVE
        until(lambda: trial.page() == trial.expected, 30)
        trial.recovered(changed)
        _set(trial, 0.0)
        after = _waits(trial)
        pushlive("thaw", trial.name, "live", "--reason", "the clock is right")
        assert trial.ended(after).outcome == Outcome.LIVE
    finally:
        _set(trial, 0.0)
        pushlive("thaw", trial.name, "live", "--reason", "it is over", code=None)


def _waits(trial: Trial) -> Pushing:
    one = trial.push()
    until(lambda: (run := trial.run_of(one)) and run.state == State.WAITING, 60)
    trial.pushed()
    return one


def _set(trial: Trial, seconds: float, waiting: Pushing | None = None) -> None:
    """The service's wall clock is that far from the machine's. ``waiting``: a run that stays where it is, until the
    keeper has moved its times."""
    run = trial.run_of(waiting) if waiting else None
    put(trial.scene.traps / CLOCK, str(seconds))
    if waiting and run:
        since = run.gate_since
        until(lambda: (now := trial.run_of(waiting)) and now.gate_since != since, 30)
        now = trial.run_of(waiting)
        assert now
        assert now.state == State.WAITING, now
