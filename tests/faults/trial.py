"""One try of one fault: pushes, waiting with deadlines, and the judgement."""

from __future__ import annotations

import itertools
import random
import secrets
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.domain.run import Run, State
from pipeline.errors import PushliveError
from tests.faults import checker
from tests.faults.history import history
from tests.faults.judge import Accepted, Ended, judge, twice_live
from tests.faults.registry import Fault
from tests.faults.scene import Scene
from tests.faults.traps import Sprung, Trap, sprung
from tests.support.developer import Files
from tests.support.load import Load
from tests.support.waiting import until

_versions = itertools.count(1)
TAKEN_OVER = 30.0  # seconds; 15 is the promise, and a busy machine is given twice that
REFUSED = ("rejected", "unable to access", "RPC failed")  # git's words where nothing was taken
SETTLED = 90.0  # seconds until everything that was accepted has ended


@dataclass
class Pushing:
    """A ``git push`` at work."""

    commit: str
    version: str
    process: subprocess.Popen[str]


@dataclass
class Trial:
    """``name``: the application that it is tried on. ``expected``: the page that must be live at the end."""

    scene: Scene
    name: str
    random: random.Random
    load: Load | None = None
    accepted: list[Accepted] = field(default_factory=list)
    pushing: list[Pushing] = field(default_factory=list)
    recovery: float = 0.0
    expected: str = ""
    began: float = field(default_factory=time.time)

    # ── acting ───────────────────────────────────────────────────────────────

    def push(self, files: Files | None = None) -> Pushing:
        """A new version, pushed in the background; expected to be live at the end. ``files``: other ones."""
        version = f"version {next(_versions)} {secrets.token_hex(4)}"  # never seen by the build cache
        clone = self.scene.service.repository(self.name)
        commit = clone.commit(files or self.scene.application(version), version)
        one = Pushing(commit, version, clone.started("push", "pushlive", "main"))
        self.pushing.append(one)
        self.scene.pushed_at[self.name] = time.monotonic()
        self.expected = version
        return one

    def pushed(self, seconds: float = 60.0) -> None:
        """Waits until every push has returned; those that git took are accepted, also where the connection
        broke while it told the story."""
        while self.pushing:
            one = self.pushing.pop()
            out, _ = one.process.communicate(timeout=seconds)
            if one.process.returncode == 0 or self.scene.head(self.name) == one.commit:
                self.accepted.append(Accepted(self.name, one.commit))
            else:
                assert any(word in out for word in REFUSED), out

    def run_of(self, one: Pushing) -> Run | None:
        return next((run for run in self.scene.runs(self.name) if run.commit == one.commit), None)

    def in_stage(self, one: Pushing, stage: str, seconds: float = 60.0) -> None:
        until(lambda: (run := self.run_of(one)) and run.stage == stage, seconds)

    def ended(self, one: Pushing, seconds: float = SETTLED) -> Run:
        until(lambda: _calm(lambda: bool((run := self.run_of(one)) and run.ended)), seconds)
        found = self.run_of(one)
        assert found
        return found

    def said(self, one: Pushing, text: str, seconds: float) -> None:
        """Waits until the run's log has that text."""

        def found() -> bool:
            run = self.run_of(one)
            return bool(run and text in self.scene.service.log(run.id))

        until(lambda: _calm(found), seconds)

    def trapped(self, trap: Trap) -> tuple[Pushing, Sprung]:
        """Sets the trap, pushes, and waits until somebody was caught."""
        trap.write(self.scene.traps, self.name)
        one = self.push()
        until(lambda: sprung(self.scene.traps, self.name), 60)
        caught = sprung(self.scene.traps, self.name)
        assert caught
        return one, caught

    def taken_over(self, one: Pushing, since: float) -> None:
        """Another worker has the run; how long that took since the moment counts as the recovery."""

        def again() -> bool:
            run = self.run_of(one)
            return bool(run and (run.attempts >= 2 or run.state == State.ENDED))

        until(lambda: _calm(again), TAKEN_OVER)
        self.recovered(since)

    def recovered(self, since: float) -> None:
        """``since``: on the monotonic clock."""
        self.recovery = max(self.recovery, time.monotonic() - since)

    # ── the end ──────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """All that was accepted has ended, the right page is live, and nothing is left over."""
        self.pushed(SETTLED)
        for name in sorted({self.name, *(one.pipeline for one in self.accepted)}):
            until(lambda name=name: _calm(lambda: not self.scene.store.open_runs(name)), SETTLED)  # type: ignore[misc]
        if self.expected:
            until(lambda: self.page() == self.expected, 30)
        until(lambda: not self.scene.orphans(self.name), 40)
        for name in self.scene.names:  # whatever was done to one, or to the whole Engine: all of them serve
            until(lambda name=name: self.page(name).startswith("version"), 60)  # type: ignore[misc]

    def evidence(self) -> str:
        """What a person wants to see where something went wrong."""
        said = self.scene.service.output.splitlines()[-15:]
        try:
            runs = self.scene.runs(self.name)[-3:]
            told = [
                f"{run.id} {run.state.value} {run.outcome} {run.stage} {run.commit[:7]} {run.reason}"
                for run in runs
            ]
            told += self.scene.service.log(runs[-1].id).splitlines()[-15:]
            told.append(f"{self.scene.store.environment(self.name, 'live')}")
        except Exception as error:  # noqa: BLE001 - part of it is better than none
            told = [f"no more to be had: {error}"]
        shown = f"expected on the page: {self.expected!r}, there is: {self.page()!r}"
        return "\n".join(f"    {line}" for line in (shown, *told, *said))

    def page(self, name: str = "") -> str:
        """What an application shows (default: the one that it is tried on), "" where it does not answer."""
        try:
            return self.scene.page(name or self.name)
        except (OSError, AssertionError):
            return ""

    def verdict(self) -> tuple[list[str], list[str]]:
        """What was lost and what was doubled."""
        names = {self.name, *(one.pipeline for one in self.accepted)}
        recorded = {
            name: [self._ended(run) for run in self.scene.runs(name) if run.delivery] for name in names
        }
        again = self.scene.commands_started(self.began, time.time())
        lost, doubled = judge(self.accepted, recorded, again)
        return lost, doubled + twice_live(recorded[self.name])

    def against_the_rules(self) -> list[str]:
        """What the records, the events and the proxy say that must not be, once everything is over."""
        return checker.judge(history(self.scene, {self.name, *(one.pipeline for one in self.accepted)}))

    def _ended(self, run: Run) -> Ended:
        ends = self.scene.ends(run) if run.state == State.ENDED and run.accepted >= self.began - 1 else 1
        return Ended(run.id, run.commit, run.outcome.value if run.outcome else "", ends)


def _calm(condition: Callable[[], bool]) -> bool:
    """False while the store does not answer."""
    try:
        return condition()
    except PushliveError:
        return False


@dataclass(frozen=True)
class Result:
    fault: Fault
    failure: str
    lost: list[str]
    doubled: list[str]
    recovery: float


def attempt(fault: Fault, scene: Scene, name: str, seed: str) -> Result:
    """Injects the fault once and judges what came of it."""
    trial = Trial(scene, name, random.Random(seed))
    failure = ""
    with scene.load(name) as load:
        trial.load = load
        try:
            fault.act(trial)
            trial.settle()
            failure = "; ".join(trial.against_the_rules())
        except Exception as error:  # noqa: BLE001 - whatever went wrong is what the table is for
            failure = f"{type(error).__name__}: {error}\n{trial.evidence()}"
        finally:
            scene.forget(name)
    if fault.quiet and load.failures and not failure:
        failure = f"{len(load.failures)} of {load.answers.total()} requests failed: {load.failures[0]}"
        failure += f"\n{trial.evidence()}"
    try:
        lost, doubled = trial.verdict()
    except Exception as error:  # noqa: BLE001
        lost, doubled, failure = [], [], failure or f"nothing could be judged: {error}"
    return Result(fault, failure, lost, doubled, trial.recovery)
