"""How far the sums of a month are from their caps, and what a request would add to them. Pure.

There are two kinds of sums. The bill is what all machines cost that have a price; it depends on what runs only where
machines come and go with it, on a cluster. A pipeline's sum is its part of them. Both are judged by what they will be
at the end of the month.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.config.cost.cap import pays
from pipeline.config.models import Pipeline, Service
from pipeline.config.workload.kubernetes import USUAL_REQUEST
from pipeline.domain.cost.ledger import GIB, SERVING, Account, Amount
from pipeline.domain.cost.month import WINDOW, Line
from pipeline.domain.cost.shares import RATIO
from pipeline.domain.cost.taken import Size

WEB = ""  # the process of that name is the web one
NEAR = 0.8  # of a cap, from which on people are told
CENT = 0.005  # a sum that is printed like the cap is not above it


@dataclass(frozen=True)
class Need:
    """What one container takes all the time. ``cores``; ``memory``: GiB."""

    cores: float = 0.0
    memory: float = 0.0

    @property
    def worth(self) -> float:
        """In GiB: a core is worth RATIO of them."""
        return self.cores * RATIO + self.memory


@dataclass(frozen=True)
class Resize:
    """A run made what stands in an environment larger or smaller. ``by``: the run, such as "shop#7"; ``worth``: what it
    added, all the time, as of a ``Need``; below 0 if it took something away."""

    by: str
    pipeline: str
    environment: str
    engine: str
    worth: float
    at: float


@dataclass(frozen=True)
class Rate:
    """What a whole month of an engine's machines costs, and what they have. ``elastic``: its machines come and go with
    what runs there, and their bill with them."""

    price: float
    size: Size
    elastic: bool

    def cost(self, worth: float, left: float) -> float:
        """Of that for ``left`` of the month, from 0 to 1. At most the whole machine's."""
        whole = self.size.cores * RATIO + self.size.memory / GIB
        share = min(1.0, abs(worth) / whole) if whole else 0.0
        return (1 if worth >= 0 else -1) * share * self.price * left


@dataclass(frozen=True)
class Sum:
    """One sum of a month beside its cap. ``pipeline``: "" for the bill; ``cap``: None without one."""

    pipeline: str
    spent: float
    projected: float
    cap: float | None = None

    @property
    def over(self) -> bool:
        return self.cap is not None and self.projected > self.cap + CENT

    @property
    def near(self) -> bool:
        """From NEAR of the cap on."""
        return self.cap is not None and self.projected >= NEAR * self.cap


@dataclass(frozen=True)
class Told:
    """What people were told of a cap in a month. ``level``: NEARLY or PASSED."""

    cap: float
    level: str


NEARLY, PASSED = "near", "over"


def level(one: Sum) -> str:
    """ "" below NEAR of the cap."""
    return PASSED if one.over else NEARLY if one.near else ""


def to_tell(one: Sum, told: Told | None) -> Told | None:
    """What people are told now, None for nothing: each once for a cap, and no less than they know."""
    now = level(one)
    if one.cap is None or not now:
        return None
    known = told.level if told and told.cap == one.cap else ""
    return None if known in (now, PASSED) else Told(one.cap, now)


def text(one: Sum, currency: str, month: str) -> str:
    """In words, "" without a cap: "shop will have cost 24.00 EUR by the end of 2026-11, 120 % of its cap of …"."""
    if one.cap is None:
        return ""
    return (
        f"{subject(one.pipeline)} will have cost {one.projected:.2f} {currency} by the end of {month}, "
        f"{percent(one.projected, one.cap)} of {'its' if one.pipeline else 'the'} cap of {one.cap:.2f} {currency} "
        f"(`{key(one.pipeline)}`)"
    )


def percent(amount: float, cap: float) -> str:
    return f"{100 * amount / cap:.0f} %"


def subject(pipeline: str) -> str:
    return pipeline or "the month in all"


def key(pipeline: str) -> str:
    """Where its cap is written."""
    return f"costs.pipelines.{pipeline}" if pipeline else "costs.cap"


@dataclass(frozen=True)
class Standing:
    """A month as it stands now. ``left``: how much of it is still to come, from 0 to 1; ``lines``: what was spent;
    ``coming``: what each account will cost from now on, if it goes on as in the last week; ``resized``: what changed
    within that; ``rates``: by engine; ``began``: when measuring did."""

    lines: Sequence[Line]
    coming: Mapping[Account, float]
    rates: Mapping[str, Rate]
    left: float
    now: float
    began: float
    resized: Sequence[Resize] = field(default_factory=tuple)

    def sum(self, pipeline: str, cap: float | None) -> Sum:
        """``pipeline``: "" for the bill."""
        spent = sum(one.cost for one in self.lines if pipeline in ("", pays(one.account.pipeline)))
        coming = sum(cost for one, cost in self.coming.items() if pipeline in ("", pays(one.pipeline)))
        recent = sum(self._recent(one) for one in self.resized if self._counts(one, pipeline))
        return Sum(pipeline, spent, spent + max(0.0, coming + recent), cap)

    def adds(self, pipeline: str, engine: str, worth: float, of: str) -> float:
        """What ``worth`` more on that engine adds to the sum of ``pipeline`` ("": the bill), if it is ``of`` that
        pipeline."""
        rate = self.rates.get(engine)
        if rate is None or (pipeline and pipeline != pays(of)) or not (pipeline or rate.elastic):
            return 0.0
        return rate.cost(worth, self.left)

    def saving(self, pipeline: str, environment: tuple[str, str]) -> float:
        """What the sum of ``pipeline`` is smaller by if that environment sleeps until the end of the month."""
        if pipeline not in ("", pays(environment[0])):
            return 0.0
        coming = sum(
            cost
            for one, cost in self.coming.items()
            if (one.pipeline, one.environment) == environment and self._saves(one.engine, pipeline)
        )
        recent = sum(
            self._recent(one)
            for one in self.resized
            if (one.pipeline, one.environment) == environment and self._counts(one, pipeline)
        )
        return max(0.0, coming + recent)

    def _saves(self, engine: str, pipeline: str) -> bool:
        rate = self.rates.get(engine)
        return rate is not None and (bool(pipeline) or rate.elastic)

    def _counts(self, one: Resize, pipeline: str) -> bool:
        return pipeline in ("", pays(one.pipeline)) and self._saves(one.engine, pipeline)

    def _recent(self, one: Resize) -> float:
        """What the week before now does not show of a change: the time before it."""
        rate = self.rates.get(one.engine)
        seen, window = max(0.0, self.now - max(one.at, self.began)), min(WINDOW, self.now - self.began)
        unseen = 1.0 - min(1.0, seen / window) if window > 0 else 1.0
        return rate.cost(one.worth, self.left) * unseen if rate else 0.0


def forgotten(resized: Iterable[Resize], now: float) -> tuple[Resize, ...]:
    """Without those that the last week shows in whole."""
    return tuple(one for one in resized if now - one.at < WINDOW)


# ── what a request adds ──────────────────────────────────────────────────────


def containers(service: Service | None) -> dict[str, int]:
    """How many run all the time, by process."""
    if service is None:
        return {}
    found = {name: one.replicas for name, one in service.processes_in_use.items()}
    return {WEB: service.web_replicas, **found} if service.web_replicas else found


def reserved(service: Service, on_cluster: bool) -> Need:
    """What nothing else can have meanwhile. Docker reserves nothing."""
    if not on_cluster:
        return Need()
    asked = service.requests
    cores = asked.cpu if asked and asked.cpu else service.cpu * USUAL_REQUEST
    memory = asked.memory if asked and asked.memory else service.memory
    return Need(cores, memory / GIB)


def declared(pipeline: Pipeline, environment: str) -> Need | None:
    """The limits that the file says for a container, None if it says none."""
    written = pipeline.service.model_fields_set | pipeline.environment(environment).model_fields_set
    service = pipeline.render(environment).service
    cores = service.cpu if "cpu" in written else 0.0
    memory = service.memory / GIB if "memory" in written else 0.0
    return Need(cores, memory) if written & {"cpu", "memory"} else None


def measured(amounts: Mapping[Account, Amount], pipeline: str, environment: str, process: str) -> Need | None:
    """What one such container took in the mean: in that environment, else in the others of the pipeline and its
    previews; None if none was measured."""
    like = [
        (one, amount)
        for one, amount in amounts.items()
        if (pays(one.pipeline), one.process, one.purpose) == (pays(pipeline), process, SERVING)
    ]
    own = [amount for one, amount in like if (one.pipeline, one.environment) == (pipeline, environment)]
    total = sum(own or [amount for _, amount in like], Amount())
    return Need(total.cores / total.count, total.memory / total.count) if total.count else None


@dataclass(frozen=True)
class Added:
    """``worth``: as of a ``Need``, all the time; None if it is not known."""

    worth: float | None


def added(
    before: Service | None,
    after: Service,
    need_of: Callable[[str], Need | None],
    *,
    on_cluster: bool,
) -> Added:
    """What a release adds to what stands. ``before``: what serves now, None if nothing does; ``need_of``: of a
    container of that process as it was measured, or as it is declared."""
    old, new = containers(before), containers(after)
    was = reserved(before, on_cluster) if before else Need()
    will = reserved(after, on_cluster)
    worth, unknown = 0.0, False
    for process in sorted(old.keys() | new.keys()):
        count, more = old.get(process, 0), new.get(process, 0) - old.get(process, 0)
        used = need_of(process)
        known = used or Need()
        then, now = _larger(was, known).worth, _larger(will, known).worth
        if used is None and not on_cluster and more > 0:
            unknown = True
        worth += more * now + count * (now - then)
    return Added(None if unknown and worth <= 0 else worth)


def _larger(one: Need, other: Need) -> Need:
    return Need(max(one.cores, other.cores), max(one.memory, other.memory))


# ── what would have to give way ──────────────────────────────────────────────


@dataclass(frozen=True)
class Passed:
    """A sum that a request would bring past its cap. ``adds``: to it; ``yields``: what may give way, in that order,
    each with what its sleep saves."""

    sum: Sum
    adds: float
    yields: tuple[tuple[tuple[str, str], float], ...] = ()

    @property
    def excess(self) -> float:
        return self.sum.projected + self.adds - (self.sum.cap or 0.0)


def passed(
    standing: Standing,
    caps: Mapping[str, float],
    adding: Resize,
    order: Iterable[tuple[str, str]],
) -> tuple[Passed, ...]:
    """The sums that this would bring past their caps, or further past them. ``caps``: by pipeline, "" for the bill;
    ``order``: what gives way, without what sleeps already."""
    found = list[Passed]()
    names = tuple(one for one in order if one != (adding.pipeline, adding.environment))
    for pipeline, cap in sorted(caps.items()):
        adds = standing.adds(pipeline, adding.engine, adding.worth, adding.pipeline)
        now = standing.sum(pipeline, cap)
        if adds > 0 and now.projected + adds > cap + CENT:
            found.append(Passed(now, adds, savings(standing, pipeline, names)))
    return tuple(found)


def savings(
    standing: Standing, pipeline: str, order: Iterable[tuple[str, str]]
) -> tuple[tuple[tuple[str, str], float], ...]:
    """What gives way for that sum, in that order, each with what it saves; without what saves nothing."""
    found = ((one, standing.saving(pipeline, one)) for one in order)
    return tuple((one, saving) for one, saving in found if saving > CENT)


def enough(excess: float, yields: Sequence[tuple[tuple[str, str], float]]) -> tuple[tuple[str, str], ...]:
    """The first of them that together save that much; all of them if even that is too little."""
    found = list[tuple[str, str]]()
    for one, saving in yields:
        if excess <= CENT:
            break
        found.append(one)
        excess -= saving
    return tuple(found)
