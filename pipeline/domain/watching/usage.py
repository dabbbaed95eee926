"""What the containers of a release use while it is watched after its switch: a series that stays small. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from pipeline.lib import codec

EVERY = 10.0  # seconds between two samples at the beginning
AT_MOST = 60  # samples: of more, every second one is left out, and they come half as often


@dataclass(frozen=True)
class Measured:
    """What a container uses. ``memory``, ``limit``: bytes, the limit 0 if not known; ``cores``: now, None if only
    ``spent`` is known: seconds of processor time since it started."""

    name: str
    memory: int
    limit: int = 0
    cores: float | None = None
    spent: float | None = None


@dataclass(frozen=True)
class Sample:
    """``at``: seconds since the epoch; ``used``: of each container cores and bytes; cores are -1 if not known: when it
    was looked at for the first time."""

    at: float
    used: dict[str, tuple[float, int]]


@dataclass(frozen=True)
class Series:
    """``every``: seconds between samples; ``spent``: of each container, the processor time at the last sample;
    ``limits``: bytes; ``problem``: why the engine could not tell, when it last could not."""

    every: float = EVERY
    samples: tuple[Sample, ...] = ()
    spent: dict[str, float] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    problem: str = ""


def is_due(series: Series, now: float) -> bool:
    """Also if the clock was set back."""
    return not series.samples or abs(now - series.samples[-1].at) >= series.every


def sampled(series: Series, measured: Iterable[Measured], now: float) -> Series:
    """With one more sample."""
    found = tuple(measured)
    last = series.samples[-1].at if series.samples else now
    used = {one.name: (_cores(series, one, now - last), one.memory) for one in found}
    samples, every = (*series.samples, Sample(now, used)), series.every
    if len(samples) > AT_MOST:
        samples, every = samples[::-2][::-1], every * 2
    spent = {one.name: one.spent for one in found if one.spent is not None}
    limits = series.limits | {one.name: one.limit for one in found if one.limit}
    return replace(series, every=every, samples=samples, spent=spent, limits=limits)


def missed(series: Series, problem: str) -> Series:
    """The engine could not tell."""
    return replace(series, problem=problem)


def gaps(series: Series) -> str:
    """Why there are no figures, or not of all times; "" if there is nothing to say."""
    if not series.samples:
        return f"What its containers used is not known. {series.problem}".rstrip()
    return f"What its containers used is not known at all times. {series.problem}" if series.problem else ""


def _cores(series: Series, one: Measured, seconds: float) -> float:
    if one.cores is not None:
        return round(one.cores, 4)
    before = series.spent.get(one.name)
    if one.spent is None or before is None or seconds <= 0:
        return -1.0
    return round(max(0.0, one.spent - before if one.spent >= before else one.spent) / seconds, 4)


def fact_name(environment: str, run: int) -> str:
    """Where the store has it. ``environment``: its id."""
    return f"usage:{environment}:{run}"


def read(text: str) -> Series:
    """What ``codec.dump`` wrote; an empty one for any other text: the series begins again then."""
    try:
        return codec.load(Series, text)
    except ValueError:
        return Series()
