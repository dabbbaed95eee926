"""How a release does in its slot after it was verified: what the engine and the proxy saw, and when that is *down*.
Pure.

One bad look is no outage: a container may be restarted by hand, a check may be slow once. A slot is down once no
replica has served for ``DOWN_AFTER``, or once its containers restart again and again. It is up again once it has served
without a restart for a while, which doubles with each time that it went down again: an application that comes and goes
is reported as down once, not at each turn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pipeline.lib.units import show_time

DOWN_AFTER = 8.0  # seconds without a replica that serves: two looks of the keeper
LOOPS = 3  # restarts in one series: a container that restarts again and again
SERIES = 300.0  # seconds without a restart that end a series
UP_AFTER = 30.0  # seconds of serving without a restart, after which it is up again: the first time; then twice as long
DEGRADED_AFTER = 60.0  # seconds for which a replica has not served while others do
WHOLE_AFTER = 120.0  # seconds for which every replica has served, after which that is over
CALM = 3600.0  # seconds: the longest that is waited for, and after which earlier outages count no more
NEW = 60.0  # seconds for which the engine's counters of a slot are its own: it was switched to only now


@dataclass(frozen=True)
class Seen:
    """One replica at one look. ``serves``: it runs, and the proxy sends it requests; ``said``: why it does not, or how
    it ended last; ``restarts``: how often the engine has started it again, since it was created; ``tried``: it runs,
    and gets requests if no replica serves; ``out_of_memory``: it ended last because it was out of memory."""

    name: str
    serves: bool
    said: str = ""
    restarts: int = 0
    tried: bool = False
    out_of_memory: bool = False


@dataclass(frozen=True)
class Restarts:
    """A series of restarts of one replica. Times are seconds since the epoch. ``counter``: the engine's own."""

    counter: int
    count: int = 0
    since: float = 0.0
    last: float = 0.0


@dataclass(frozen=True)
class Health:
    """A slot, as the keeper last saw it; ``release`` and ``run``: those of the slot's record that it is about.

    ``down_since``: 0 while it is up; ``bad_since`` and ``good_since``: since when every look has found it so, 0 if the
    last one did not; ``whole_since``: since when every replica has served; ``downs``: how often it went down in short
    succession; ``said``: what is wrong, without times; ``out``: the replicas that do not serve, with since when;
    ``tried``: they get requests all the same; ``out_of_memory``: so many replicas were killed for memory last, as long
    as ``said`` has something to say; ``killed``: the replicas that ran out of memory, and when
    that was seen last.
    """

    release: int
    run: int
    serving: int = 0  # replicas
    replicas: int = 0
    said: str = ""
    down_since: float = 0.0
    bad_since: float = 0.0
    good_since: float = 0.0
    whole_since: float = 0.0
    downs: int = 0
    up_since: float = 0.0  # after it was down
    series: dict[str, Restarts] = field(default_factory=dict)
    out: dict[str, float] = field(default_factory=dict)
    tried: bool = False
    out_of_memory: int = 0
    killed: dict[str, float] = field(default_factory=dict)

    @property
    def down(self) -> bool:
        return self.down_since > 0

    @property
    def degraded_since(self) -> float:
        """Since when a replica has not served while others do; 0 if each serves, or none."""
        return min(self.out.values(), default=0.0) if 0 < self.serving < self.replicas else 0.0

    @property
    def restarts(self) -> int:
        """In the series that have not ended."""
        return sum(one.count for one in self.series.values())

    @property
    def restarts_since(self) -> float:
        """When the first of them was seen; 0 if there are none."""
        return min((one.since for one in self.series.values() if one.count), default=0.0)

    @property
    def restarted(self) -> str:
        """``restarted 3 times``, with the replica's name if it is one of several that nothing else is said of, ``both
        replicas restarted, 6 times together``; "" if none has."""
        names = [name for name, one in self.series.items() if one.count]
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        if len(names) > 1:
            whose = "both" if len(names) == self.replicas == 2 else f"{len(names)} of {self.replicas}"
            return f"{whose} replicas restarted, {times} together"
        if not names:
            return ""
        known = self.replicas == 1 or names[0] in self.said
        return f"restarted {times}" if known else f"{names[0]} restarted {times}"

    @property
    def wrong(self) -> str:
        """What is wrong apart from restarts, in words; "" if nothing is."""
        said = [self.said] if self.said else []
        if self.serving and self.serving < self.replicas:
            serve = "serves" if self.serving == 1 else "serve"
            said.insert(0, f"only {self.serving} of {self.replicas} replicas {serve}")
        return "; ".join(said)

    @property
    def reason(self) -> str:
        """All that is wrong, without times; "" if nothing is."""
        loops = self.restarted if self.restarts >= LOOPS else ""
        return "; ".join(text for text in (self.wrong, loops) if text)

    @property
    def text(self) -> str:
        """All that is wrong, with since when; "" if nothing is."""
        said = [self.wrong] if self.wrong else []
        if self.restarts:
            said.append(f"{self.restarted} since {show_time(self.restarts_since)}")
        elif said and self.out and not self.down:
            said.append(f"since {show_time(min(self.out.values()))}")
        what = "; ".join(said)
        if not self.down:
            return f"r{self.release}: {what}" if what else ""
        again = " It serves at the moment." if self.serving else ""
        tried = " Requests are tried there all the same." if self.tried else ""
        return f"r{self.release} is down since {show_time(self.down_since)}: {what}.{again}{tried}"

    @property
    def poor(self) -> bool:
        """True if there is anything to say: it is down, a replica does not serve, or containers restart."""
        return self.down or self.serving < self.replicas or self.restarts >= LOOPS


def looked(
    before: Health | None, release: int, run: int, since: float, seen: Iterable[Seen], now: float
) -> Health:
    """The health after one more look. ``since``: since when the slot is what it is; ``before`` is ignored if it is
    about another release or run."""
    found = tuple(seen)
    fresh = before is None or (before.release, before.run) != (release, run)
    old = Health(release, run) if fresh or before is None else before
    series = {one.name: _series(old, one, fresh and now - since >= NEW, now) for one in found}
    serving = sum(one.serves for one in found)
    out = {one.name: old.out.get(one.name, now) for one in found if not one.serves}
    tried = not serving and any(one.tried for one in found)
    health = replace(old, serving=serving, replicas=max(len(found), 1), said=_said(found, old), out=out)
    killed = dict(old.killed)
    for one in found:
        ended = series[one.name].last == now or (not one.serves and one.name not in old.out)
        if one.out_of_memory and ended:
            killed[one.name] = now
    memory = sum(one.out_of_memory for one in found)
    changed = replace(health, out_of_memory=memory)
    return _judged(replace(changed, series=series, tried=tried, killed=killed), now)


def _series(old: Health, one: Seen, unknown: bool, now: float) -> Restarts:
    known = old.series.get(one.name) or Restarts(one.restarts if unknown else 0)
    new = one.restarts - known.counter
    if new < 0:  # the engine began to count again: the container was started by hand, or created again
        return replace(known, counter=one.restarts)
    if new == 0:
        return known if now - known.last < SERIES or not known.count else Restarts(one.restarts)
    since = known.since if known.count and now - known.last < SERIES else now
    count = known.count if since == known.since else 0
    return Restarts(one.restarts, count + new, since, now)


def _said(found: tuple[Seen, ...], old: Health) -> str:
    """The reason of the first replica that has one; of one that serves at the moment, what was said before."""
    if not found:
        return "nothing runs there"
    reasons = [one.said for one in found if one.said]
    return reasons[0] if reasons else old.said


def _judged(health: Health, now: float) -> Health:
    bad = health.serving == 0
    loops = any(one.count >= LOOPS for one in health.series.values())
    last = max((one.last for one in health.series.values()), default=0.0)
    health = replace(
        health,
        bad_since=(health.bad_since or now) if bad else 0.0,
        good_since=0.0 if bad else max(health.good_since or now, last),
        whole_since=0.0 if health.serving < health.replicas else health.whole_since or now,
    )
    if not health.down:
        if (bad and now - health.bad_since >= DOWN_AFTER) or (loops and now - last < SERIES):
            return _went_down(health, now)
        poor = bad or health.restarts or health.serving < health.replicas
        return health if poor else replace(health, said="", out_of_memory=0)
    if not bad and now - health.good_since >= pause(health):
        return replace(health, down_since=0.0, up_since=now, said="", out_of_memory=0, series=_ended(health))
    return health


def _went_down(health: Health, now: float) -> Health:
    again = health.up_since and now - health.up_since < CALM
    since = min(one for one in (health.bad_since, health.restarts_since, now) if one)
    return replace(health, down_since=since, downs=health.downs + 1 if again else 1)


def _ended(health: Health) -> dict[str, Restarts]:
    return {name: Restarts(one.counter) for name, one in health.series.items()}


def pause(health: Health) -> float:
    """Seconds for which it must serve without a restart before it is up again."""
    return float(min(UP_AFTER * 2 ** (health.downs - 1), CALM))


def moved(health: Health, seconds: float) -> Health:
    """The same on a clock that was set by so much."""
    times = ("down_since", "bad_since", "good_since", "whole_since", "up_since")
    changed = {name: getattr(health, name) + seconds for name in times if getattr(health, name)}
    series = {
        name: replace(one, since=one.since + seconds, last=one.last + seconds) if one.count else one
        for name, one in health.series.items()
    }
    out = {name: since + seconds for name, since in health.out.items()}
    killed = {name: at + seconds for name, at in health.killed.items()}
    return replace(health, **changed, series=series, out=out, killed=killed)
