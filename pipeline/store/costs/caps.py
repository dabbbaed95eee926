"""How a month stands beside its caps: read from what was measured, and what is kept of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.config.cost.prices import Costs
from pipeline.config.engines import kind_of, machines_of
from pipeline.domain.cost import cap
from pipeline.domain.cost.cap import Rate, Resize, Standing, Sum, Told
from pipeline.domain.cost.ledger import HOUR, SERVING, Account, Amount, Hour, account
from pipeline.domain.cost.month import WINDOW, spent, to_come
from pipeline.domain.cost.taken import Size, labels_of
from pipeline.domain.environment import Environment
from pipeline.domain.measuring.monthly import calendar
from pipeline.errors import DamagedRecord, NotFound
from pipeline.lib import codec
from pipeline.store.connection import read
from pipeline.store.costs import Ledgers
from pipeline.store.store import Store

RESIZED, TOLD = "cost-resized", "cost-told"
ZONE = "UTC"  # of the month that is capped
BY_CAP = "the cap"  # who puts to sleep what gives way


@dataclass(frozen=True)
class Kept:
    """What the keeper found last. ``month``: such as "2026-11"; ``at``: when, 0 before the first time; ``told``: of
    which caps people were told in that month, by pipeline ("" for the bill); ``yielded``: when the keeper last put an
    environment to sleep for a cap, by its id."""

    month: str = ""
    at: float = 0.0
    currency: str = "EUR"
    sums: tuple[Sum, ...] = ()
    told: dict[str, Told] = field(default_factory=dict)
    yielded: dict[str, float] = field(default_factory=dict)


def kept(text: str) -> Kept:
    """What was written, an empty one for a text that is damaged."""
    try:
        return codec.load(Kept, text or "{}")
    except ValueError:
        return Kept()


class Caps:
    """What is asked of the store about caps. Nothing is remembered between two questions."""

    def __init__(self, store: Store) -> None:
        self._store, self._ledgers = store, Ledgers(store.facts)

    def kept(self) -> Kept:
        """An empty one if the record is damaged: the keeper writes it again."""
        return kept(self._store.facts.get(TOLD))

    def standing(self, costs: Costs, now: float, *, without: str = "") -> Standing:
        """This month. ``without``: the run whose own changes do not count."""
        month = calendar.month(calendar.month_of(now, ZONE), ZONE)
        began, hours = self._ledgers.began(), list[Hour]()
        if began is not None:
            hours = list(self._ledgers.hours(min(month.since, now - WINDOW), now))
        own = [one for one in hours if (one.number + 1) * HOUR > month.since]
        recent = [one for one in hours if (one.number + 1) * HOUR > now - WINDOW]
        costs_from = self._ledgers.costs_from()
        found = spent(own, costs, month, now, costs_from)
        coming = to_come(recent, costs, month, now) if recent else {}
        environments = self.environments()
        return Standing(
            found.lines,
            {
                one: cost
                for one, cost in coming.items()
                if costs_from(machines_of(one.engine)) < math.inf and _goes_on(one, environments)
            },
            _rates(recent, costs),
            max(0.0, month.until - now) / (month.until - month.since),
            now,
            now if began is None else began,
            tuple(one for one in self._resized(environments, now) if one.by != without),
        )

    def amounts(self, now: float) -> Mapping[Account, Amount]:
        """What everything took in the last week."""
        found = dict[Account, Amount]()
        for hour in self._ledgers.hours(now - WINDOW, now):
            for text, amount in hour.amounts.items():
                key = account(text)
                found[key] = found.get(key, Amount()) + amount
        return found

    def resize(self, one: Resize, judge: Callable[[tuple[Resize, ...]], None]) -> None:
        """Records that a run makes an environment larger or smaller, unless ``judge`` raises, which is given what other
        runs have recorded: two at once are judged one after the other. Idempotent."""
        environments = self.environments()

        def change(text: str) -> str:
            every = self._still(self._read(text), environments, one.at)
            others = tuple(each for each in every if (each.by, each.environment) != (one.by, one.environment))
            judge(others)
            return codec.dump_as(tuple[Resize, ...], (*others, one))

        self._store.facts.replace(RESIZED, change)

    def _read(self, text: str) -> tuple[Resize, ...]:
        """Nothing for a damaged record: the sums are less exact for a week then, and no run fails for it."""
        with suppress(DamagedRecord):
            return read(tuple[Resize, ...], text or "[]", self._store.key("fact", RESIZED))
        return ()

    def _resized(self, environments: Mapping[tuple[str, str], Environment], now: float) -> tuple[Resize, ...]:
        return self._still(self._read(self._store.facts.get(RESIZED)), environments, now)

    def _still(
        self, every: tuple[Resize, ...], environments: Mapping[tuple[str, str], Environment], now: float
    ) -> tuple[Resize, ...]:
        """Without what the last week shows in whole, what never came to be, and what is gone or sleeps."""
        return tuple(
            one
            for one in cap.forgotten(every, now)
            if (one.pipeline, one.environment) in environments
            and not _sleeps(environments[one.pipeline, one.environment])
            and self._came_to_be(one)
        )

    def _came_to_be(self, one: Resize) -> bool:
        """False for a run that has ended and never served there."""
        with suppress(NotFound, DamagedRecord):
            run = self._store.run(one.pipeline, int(one.by.rpartition("#")[2]))
            return not run.ended or run.passed(one.environment, "verify")
        return False

    def environments(self) -> dict[tuple[str, str], Environment]:
        """Every record that can be read, by pipeline and name."""
        found = dict[tuple[str, str], Environment]()
        for pipeline in self._store.pipelines():
            with suppress(DamagedRecord):
                found |= {(pipeline, name): one for name, one in self._store.environments(pipeline).items()}
        return found


def _sleeps(environment: Environment) -> bool:
    """True if it was put to sleep because of a cap, and no one has woken it."""
    asleep = environment.asleep
    return asleep is not None and asleep.by == BY_CAP and not asleep.waking


def _goes_on(one: Account, environments: Mapping[tuple[str, str], Environment]) -> bool:
    """False for what an environment took that is gone, or gave way."""
    if not one.environment or one.purpose != SERVING:
        return True
    if (one.pipeline, one.environment) not in environments:
        return not any(name == one.pipeline for name, _ in environments)  # an accessory has its own name
    return not _sleeps(environments[one.pipeline, one.environment])


def _rates(hours: list[Hour], costs: Costs) -> dict[str, Rate]:
    """Of each engine with a price whose machines are known, as they were last."""
    found = dict[str, Rate]()
    for hour in hours:
        for engine, size in hour.sizes.items():
            if costs.machine_of(engine) is not None:
                found[engine] = Rate(_price(engine, size, costs), size, elastic(engine))
    return found


def _price(engine: str, size: Size, costs: Costs) -> float:
    """Of the machine, or of all nodes that a cluster has; nodes without a price cost nothing."""
    if not size.nodes:
        machine = costs.machine_of(engine)
        return machine[1].monthly if machine else 0.0
    priced = ((one.count, costs.machine_of(engine, labels_of(group))) for group, one in size.nodes.items())
    return sum(count * machine[1].monthly for count, machine in priced if machine)


def elastic(engine: str) -> bool:
    """Whether its machines come and go with what runs there, and their bill with them."""
    return kind_of(engine).machines


def caps_of(costs: Costs) -> dict[str, float]:
    """By pipeline, "" for the bill."""
    return {**({"": costs.cap} if costs.cap is not None else {}), **costs.pipelines}
