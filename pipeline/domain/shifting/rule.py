"""How a shift goes on, and when it goes back. Pure.

Both slots are compared over the same time, by the rule in ``pipeline.domain.judging.rule``: what else goes wrong in
that time goes wrong for both. Only stretches that are over are compared, so that it makes no difference how often it is
asked in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipeline.domain import health
from pipeline.domain.environment import Environment, SlotState
from pipeline.domain.health import Seen
from pipeline.domain.judging import rule
from pipeline.domain.judging.counts import Minute
from pipeline.domain.judging.judgement import share
from pipeline.domain.judging.verdict import Verdict
from pipeline.domain.shifting import times
from pipeline.domain.shifting.records import Count, Shift, Stretch
from pipeline.domain.shifting.stretches import stretch
from pipeline.domain.shifting.times import Times
from pipeline.lib.units import write_duration

GAP = 10.0  # seconds between two looks; of a longer time nothing counts as watched
LONGER = 300.0  # seconds for which a step goes on at most until it can be judged


def wanted(environment: Environment) -> Shift | None:
    """The shift that the proxy has to be at; None if all traffic goes to one slot, or to none."""
    shift = environment.shift
    if shift is None or environment.active in (None, shift.slot):
        return None
    record = environment.slots.get(shift.slot)
    mine = record is not None and (record.release, record.run) == (shift.release, shift.run)
    return shift if mine and record and record.state == SlotState.STARTING else None


def leaves_alone(environment: Environment, holder: str) -> bool:
    """True while ``holder``, who has the environment's lease, is a run that only looks at both slots: what serves there
    may be judged. Before the first step and after the last one it acts on them."""
    shift = wanted(environment)
    return shift is not None and not shift.done and holder == f"{environment.pipeline}#{shift.run}"


def of_run(environment: Environment, run: int) -> Shift | None:
    """The shift of that run."""
    found = wanted(environment)
    return found if found and found.run == run else None


def ended(environment: Environment) -> Environment:
    return replace(environment, shift=None)


def moved(environment: Environment, seconds: float) -> Environment:
    """The same on a clock that was set by so much."""
    shift = environment.shift
    if shift is None:
        return environment
    known = health.moved(shift.health, seconds) if shift.health else None
    looked = shift.looked and shift.looked + seconds
    changed = replace(shift, since=shift.since + seconds, looked=looked, health=known)
    return replace(environment, shift=changed)


# ── one look ─────────────────────────────────────────────────────────────────


def looked(shift: Shift, new: Count, old: Count, seen: Iterable[Seen], now: float) -> Shift:
    """After one more look. ``new``, ``old``: the counters of both slots; ``seen``: the replicas of the new one."""
    passed = now - shift.looked if shift.looked else 0.0
    if not 0 <= passed <= GAP:
        passed = 0.0
    at = shift.watched - shift.watched % stretch(shift)
    grown = Stretch(at, shift.step, _since(shift.seen, new), _since(shift.seen_old, old))
    return replace(
        shift,
        passed=shift.passed + passed,
        watched=shift.watched + passed,
        looked=now,
        seen=new,
        seen_old=old,
        stretches=_with(shift.stretches, grown),
        # What a warm slot went through before counts for nothing.
        health=health.looked(shift.health, shift.release, shift.run, 0.0, seen, now),
    )


def _since(before: Count, now: Count) -> Count:
    """Counters that became smaller are those of a proxy that has started again."""
    if now.requests < before.requests or now.errors < before.errors:
        return now
    return Count(now.requests - before.requests, now.errors - before.errors)


def _with(stretches: tuple[Stretch, ...], one: Stretch) -> tuple[Stretch, ...]:
    if stretches and (stretches[-1].at, stretches[-1].step) == (one.at, one.step):
        last = stretches[-1]
        return (*stretches[:-1], replace(last, new=_sum((last.new, one.new)), old=_sum((last.old, one.old))))
    return (*stretches, one)


def _sum(counts: Iterable[Count]) -> Count:
    found = tuple(counts)
    return Count(sum(one.requests for one in found), sum(one.errors for one in found))


def is_over(shift: Shift) -> bool:
    """True if the present step has lasted as long as it has to, or has seen enough requests, and nothing speaks against
    the next one."""
    return _is_due(shift) and _is_well(shift) and not _doubt(shift)


def longer(shift: Shift) -> str:
    """Why the present step goes on although its time is over, for people; "" if it does not."""
    return _doubt(shift) if not shift.done and _is_due(shift) else ""


def _is_due(shift: Shift) -> bool:
    enough = bool(shift.enough) and counted(shift, shift.step)[0].requests >= shift.enough
    return shift.passed >= shift.lasts or enough


def _doubt(shift: Shift) -> str:
    """Short steps end before a release that fails can be told from one that does not: more is to be seen of it."""
    series = shift.health.series.values() if shift.health else ()
    if any(one.count and shift.looked - one.last < health.UP_AFTER for one in series):
        return "a container has restarted just now"
    new, old = counted(shift)
    if rule.looks_worse(new.requests, new.errors, old.requests, old.errors) and not _has_waited(shift):
        return "it seems to answer worse"
    return ""


def _has_waited(shift: Shift) -> bool:
    return shift.passed >= shift.lasts + LONGER


def _is_well(shift: Shift) -> bool:
    """A fault that has just begun is waited for."""
    return shift.health is None or (shift.health.serving > 0 and not shift.health.down)


def takes_all(shift: Shift) -> bool:
    """Whether the release is better than one that is down: it serves."""
    return shift.health is not None and _is_well(shift)


def fails(shift: Shift) -> bool:
    """Whether the release is down itself."""
    return shift.health is not None and shift.health.down


def finished(shift: Shift) -> Shift:
    """Only the switch is left."""
    return replace(shift, step=len(shift.steps), passed=0.0)


def next_step(shift: Shift) -> Shift:
    return replace(shift, step=shift.step + 1, passed=0.0)


# ── the judgement ────────────────────────────────────────────────────────────


def fault(shift: Shift, *, slower: bool = False) -> str:
    """Why the release goes back, for people, without a full stop; "" if nothing says so. ``slower``: its answers take
    longer."""
    known = shift.health
    if known and known.down:
        return known.reason
    if known and known.killed:
        names = ", ".join(sorted(known.killed))
        return f"{names} ran out of memory and {'was' if len(known.killed) == 1 else 'were'} killed"
    if _is_worse(shift):
        return f"it answers worse than r{shift.before}"
    return f"it answers more slowly than r{shift.before}" if slower else ""


def _is_worse(shift: Shift) -> bool:
    """By the stretches that are over."""
    ready = [
        one
        for one in shift.stretches
        if one.old.requests and (one.at + stretch(shift) <= shift.watched or one.step < shift.step)
    ]
    new = [_minute(shift.release, shift.run, one.at, one.new) for one in ready]
    old = [_minute(shift.before, 0, one.at, one.old) for one in ready]
    if rule.judge(new, old, beside=True).verdict is Verdict.WORSE:
        return True
    return _has_waited(shift) and rule.is_plainly_worse(new, old)


def _minute(release: int, run: int, at: float, count: Count) -> Minute:
    return Minute(at, release, run, count.requests, min(count.errors, count.requests))


# ── for people ───────────────────────────────────────────────────────────────


def counted(shift: Shift, step: int | None = None) -> tuple[Count, Count]:
    """What the new slot has answered, and what the old one; ``step``: in that step only."""
    ones = [one for one in shift.stretches if step is None or one.step == step]
    return _sum(one.new for one in ones), _sum(one.old for one in ones)


def whom(shift: Shift) -> str:
    """What the shares are of: the proxy decides about each new visitor, an HTTPRoute about each request."""
    return "requests" if shift.route else "new visitors"


def percent(value: float) -> str:
    """``25 %``, ``0.5 %``."""
    return f"{value:g} %"


def answers(shift: Shift, step: int | None = None, timed: Times | None = None) -> str:
    """``errors 0.4 % of 512 requests, beside 0.3 % of 1,533 of r7; p50 12 ms and p95 80 ms, beside 11 ms and 76 ms of
    r7``. ``timed``: how long they took."""
    took = times.text(timed, shift, step)
    return f"{_errors(shift, step)}; {took}" if took else _errors(shift, step)


def _errors(shift: Shift, step: int | None) -> str:
    new, old = counted(shift, step)
    if not new.requests and shift.uncounted:
        return f"requests are not counted: {shift.uncounted}"
    if not new.requests:
        return f"no requests yet, beside {old.requests:,} of r{shift.before}"
    mine = f"errors {share(new.errors, new.requests)} of {new.requests:,} requests"
    theirs = f"{share(old.errors, old.requests)} of {old.requests:,}" if old.requests else "no requests"
    return f"{mine}, beside {theirs} of r{shift.before}"


def text(shift: Shift, timed: Times | None = None) -> str:
    """``25 % to r8 for 3m of 5m, then all: in all steps, errors 0.4 % of 512 requests, beside 0.3 % of 1,533 of
    r7``."""
    since = "in all steps, " if shift.step else ""
    return (
        f"{percent(shift.percent)} to r{shift.release}{_so_far(shift)}: {since}{answers(shift, timed=timed)}"
    )


def _so_far(shift: Shift) -> str:
    if shift.done:
        return ""
    following = "all" if shift.step + 1 == len(shift.steps) else percent(shift.steps[shift.step + 1])
    if (why := longer(shift)) and shift.passed < shift.lasts:  # it has seen enough requests
        return f" for {_whole(shift.passed)}, and on since {why}, then {following}"
    if why:
        return f" for {_whole(shift.passed)}, longer than {_whole(shift.lasts)} since {why}, then {following}"
    return f" for {_whole(min(shift.passed, shift.lasts))} of {_whole(shift.lasts)}, then {following}"


def left(shift: Shift) -> float:
    """Seconds until all visitors go to the new slot, at the longest, if nothing goes wrong."""
    return sum(shift.lasts for _ in shift.steps[shift.step :]) - min(shift.passed, shift.lasts)


def _whole(seconds: float) -> str:
    return write_duration(float(int(seconds))) if seconds >= 1 else write_duration(seconds)


def evidence(shift: Shift, timed: Times | None = None) -> Iterator[str]:
    """One line for each step up to the present one."""
    for number, value in enumerate(shift.steps[: shift.step + 1]):
        yield f"{percent(value)} of {whom(shift)}: {answers(shift, number, timed)}"
