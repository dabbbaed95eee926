"""What follows from the verdict that a release answers worse than the one before it, by the ``judge`` key. Pure rules.

The verdict is that of ``pipeline.domain.judging``. Here is decided whether it leads to anything but a message, and
what: the same as from a bake that fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.config.workload.judge import ACT, OBSERVE, OFF
from pipeline.domain.environment import Environment, Trial, WorseOutcome
from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import JUDGED, MINUTE, Counted
from pipeline.domain.judging.latency import judgement as latency
from pipeline.domain.judging.latency.counts import Timings
from pipeline.domain.judging.verdict import Worse
from pipeline.domain.run import Kind, Run

BY = "judge"  # who takes a release back, and who sets a hold
KEPT = 20  # trials that an environment remembers
OUTCOMES = {
    "revert": WorseOutcome.TAKEN_BACK,
    "hold": WorseOutcome.HELD,
    "tell": WorseOutcome.TOLD,
    OBSERVE: WorseOutcome.OBSERVED,
}


@dataclass(frozen=True)
class Finding:
    """A release is worse. ``seen``: in what; ``act``: revert, hold, tell or observe; ``reason``: for people, without a
    full stop; ``now``: when it was found."""

    trial: Trial
    seen: tuple[Worse, ...]
    act: str
    reason: str
    now: float

    @property
    def release(self) -> int:
        return self.trial.release

    @property
    def by(self) -> str:
        return BY

    def again(self, environment: Environment) -> Finding | None:
        """The same, by the record as it is now; None if it is over."""
        now = found(environment, self.seen, self.now)
        same = now is not None and (now.act, now.trial.run) == (self.act, self.trial.run)
        return now if same else None


# ── the record ───────────────────────────────────────────────────────────────


def switched(environment: Environment, run: Run, judge: str, on_failure: str, now: float) -> Environment:
    """After a switch: what serves now is compared with what served before."""
    if environment.serving is None:
        return environment
    why = "a revert brought it" if run.kind == Kind.REVERT else ""
    new = Trial(environment.serving, run.number, now, judge, on_failure, why)
    return replace(environment, trials=(*environment.trials, new)[-KEPT:])


def dropped(environment: Environment, run: Run) -> Environment:
    """The run went back after its switch, by itself."""
    last = environment.trials[-1] if environment.trials else None
    mine = last is not None and last.run == run.number
    return replace(environment, trials=environment.trials[:-1]) if mine else environment


def left_to_people(environment: Environment, why: str) -> Environment:
    """A person has decided something about the environment: they know more."""
    trial = of(environment)
    if trial is None or trial.outcome or trial.left:
        return environment
    return _with(environment, replace(trial, left=why))


def ended(
    environment: Environment, finding: Finding, outcome: WorseOutcome, **more: str | int
) -> Environment:
    """What followed is recorded. ``more``: ``reason``, ``would`` or ``revert`` of the trial."""
    changed = replace(
        finding.trial,
        outcome=outcome,
        ended=finding.now,
        **{"reason": finding.reason, **more},  # type: ignore[arg-type]
    )
    return _with(environment, changed)


def recorded(environment: Environment, finding: Finding) -> Trial:
    """As ``ended`` has recorded it there."""
    key = (finding.trial.release, finding.trial.run)
    return next(one for one in environment.trials if (one.release, one.run) == key)


def moved(environment: Environment, seconds: float) -> Environment:
    """The same on a clock that was set by so much."""
    trial = of(environment)
    if trial is None or trial not in environment.trials:
        return environment
    return _with(environment, replace(trial, since=trial.since + seconds))


def of(environment: Environment) -> Trial | None:
    """That of the release which serves. One that an earlier version brought is observed."""
    slot = environment.slots.get(environment.active or "")
    if slot is None:
        return None
    mine = [one for one in environment.trials if (one.release, one.run) == (slot.release, slot.run)]
    return mine[-1] if mine else Trial(slot.release, slot.run, slot.since, OBSERVE, "revert")


def _with(environment: Environment, trial: Trial) -> Environment:
    key = (trial.release, trial.run)
    others = tuple(one for one in environment.trials if (one.release, one.run) != key)
    return replace(environment, trials=(*others, trial)[-KEPT:])


# ── what follows ─────────────────────────────────────────────────────────────


def found(environment: Environment, seen: Iterable[Worse], now: float) -> Finding | None:
    """None unless what serves is worse and nothing has followed from that yet. ``seen``: in that environment."""
    trial = of(environment)
    if trial is None or trial.outcome or trial.judge == OFF:
        return None
    mine = tuple(one for one in seen if (one.release, one.run) == (trial.release, trial.run))
    if not mine:
        return None
    in_time = any(0 <= now - one.since <= JUDGED * MINUTE for one in mine)
    if trial.judge == ACT and not trial.left and not in_time:
        trial = replace(trial, left="that was found when its hour was over")
    acts = trial.judge == ACT and not trial.left
    reason = f"r{trial.release}: " + "; ".join(one.text for one in mine)
    return Finding(trial, mine, trial.on_failure if acts else OBSERVE, reason, now)


def may_follow(environment: Environment, counted: Counted, timings: Timings, now: float) -> bool:
    """Whether something may still follow from a verdict on the release that was counted: it serves, and it is worse by
    one of its verdicts, or may be said to be slower within the minute. ``timings``: of that environment."""
    trial, mine = of(environment), (counted.release, counted.run)
    if trial is None or trial.outcome or trial.judge == OFF or (trial.release, trial.run) != mine:
        return False
    if judgement.is_worse(counted):
        return True
    if (timings.release, timings.run) != mine:
        return False
    open_until = (
        timings.since + (JUDGED + 1) * MINUTE
    )  # its hour begins later, and times are compared once a minute
    return now <= open_until or latency.worse(timings) is not None


def by_run(environment: Environment, release: int, run: int) -> Trial | None:
    """That of a release which serves or served there; None if nothing has followed from it."""
    found = (one for one in environment.trials if (one.release, one.run) == (release, run))
    return next((one for one in found if one.outcome), None)


def text(trial: Trial, pipeline: str) -> str:
    """For people, without a full stop; "" until it is worse."""
    if trial.outcome is None:
        return ""
    if trial.outcome == WorseOutcome.TAKEN_BACK:
        return f"r{trial.release} was taken back by {pipeline}#{trial.revert}: " + trial.reason.removeprefix(
            f"r{trial.release}: "
        )
    return trial.reason + (f". {trial.would}" if trial.would else "")
