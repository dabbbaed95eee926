"""What the replicas of each environment are for, by the load of a week, as data for ``pushlive cost`` and the API."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.config.cost.prices import Costs
from pipeline.config.engines import machines_of
from pipeline.config.models import Service
from pipeline.domain.cost import load as loads
from pipeline.domain.cost import purposes, shares
from pipeline.domain.cost.folding import DAY
from pipeline.domain.cost.ledger import SERVING, Account, account
from pipeline.domain.cost.load import Key, Load
from pipeline.domain.cost.month import WINDOW, Piece
from pipeline.domain.cost.purposes import Need, Replica
from pipeline.domain.cost.sentences import sentence
from pipeline.errors import DamagedRecord, NotFound
from pipeline.store import Store
from pipeline.store.costs.loads import Loads

LOOKED_BACK = 90  # days, for how long something has been idle


@dataclass(frozen=True)
class Known:
    """``load``: of the week; ``everything``: the highest memory of any container there, in bytes; ``since``: the first
    hour with a load; ``days``: the newest first, None where nothing was measured. ``need``: None if too little was."""

    service: Service
    engine: str
    replicas: int
    each: Replica
    load: Load
    everything: int
    since: float
    days: tuple[Load | None, ...]
    need: Need | None


def known(
    store: Store, costs: Costs, until: float, now: float, cores: Mapping[str, float]
) -> dict[Key, Known]:
    """By the load of the week before ``until``. ``cores``: what the machine of an engine has, where that is known."""
    week, since = _week(store, until, now)
    days = _days(store, until)
    found = dict[Key, Known]()
    for key in [key for key, load in week.items() if key[2] == loads.ALL and not load.top]:
        web = (*key[:2], "")
        week.setdefault(web, Load())
        since.setdefault(web, since[key])
    for key, load in week.items():
        pipeline, environment, process = key
        serves = None if process == loads.ALL else _service(store, pipeline, environment)
        if serves is None:
            continue
        service, engine = serves
        replicas = _replicas(service, process, load)
        reliable = (
            service.requests.cpu or service.cpu
        )  # what is reserved on a cluster if that is declared; the limit
        each = Replica(min(reliable, cores.get(engine, reliable)), service.memory)
        top = week.get((pipeline, environment, loads.ALL), Load()).top
        found[key] = Known(
            service,
            engine,
            replicas,
            each,
            load,
            max(top, load.top),
            since[key],
            tuple(one.get(key) for one in days),
            purposes.need(load, replicas, each, costs.headroom / 100),
        )
    return found


def divided(found: Mapping[Key, Known], *parts: list[Piece]) -> tuple[list[Piece], ...]:
    """These hours and days, with what served divided by its purposes. The last part: the week of ``known``."""
    needs, used = {key: one.need for key, one in found.items() if one.need}, _used(found, parts[-1])
    return tuple([purposes.split(one, needs, used) for one in part] for part in parts)


def _used(found: Mapping[Key, Known], recent: Iterable[Piece]) -> dict[Key, float]:
    """Which share of the cores that each paid for in these hours, those of the same week, it used."""
    paid = defaultdict[Key, float](float)
    for piece in recent:
        for text, amount in shares.amounts(piece).items():
            one = account(text)
            if one.purpose == SERVING:
                paid[one.pipeline, one.environment, one.process] += amount.cores
    return {key: min(1.0, one.load.used / paid[key]) if paid.get(key) else 1.0 for key, one in found.items()}


def by_purpose(monthly: Mapping[Account, float]) -> dict[tuple[Key, str], float]:
    """What each purpose of what serves costs, on all engines."""
    found = defaultdict[tuple[Key, str], float](float)
    for one, cost in monthly.items():
        if one.pipeline:
            found[(one.pipeline, one.environment, one.process), one.purpose] += cost
    return dict(found)


def gib(monthly: Mapping[Account, float], recent: Iterable[Piece]) -> dict[str, float]:
    """What containers pay for a GiB, by their machines, if they pay ``monthly`` and take what they took in this
    time."""
    seconds, worth, paid = (defaultdict[str, float](float) for _ in range(3))
    taken = set[Account]()
    for piece in recent:
        measured = dict[str, float]()
        for engine, passed in piece.seconds.items():
            measured[machines_of(engine)] = max(passed, measured.get(machines_of(engine), 0.0))
        for key, passed in measured.items():
            seconds[key] += passed
        for text, amount in shares.amounts(piece).items():
            one = account(text)
            if one.purpose not in (shares.IDLE, shares.UNSEEN) or one.pipeline:
                worth[machines_of(one.engine)] += shares.worth(amount)
                taken.add(one)
    for one, cost in monthly.items():
        paid[machines_of(one.engine)] += cost if one in taken else 0.0
    return {key: paid[key] * seconds[key] / one for key, one in worth.items() if one}


def shown(
    found: Mapping[Key, Known], costs: Costs, monthly: Mapping[tuple[Key, str], float]
) -> list[dict[str, Any]]:
    """``monthly``: see ``by_purpose``."""
    return [
        _row(key, one, costs, monthly.get((key, purposes.IDLE), 0.0))
        for key, one in sorted(found.items())
        if one.replicas
    ]


def _row(key: Key, one: Known, costs: Costs, monthly: float) -> dict[str, Any]:
    pipeline, environment, process = key
    found, headroom = one.need, costs.headroom / 100
    days = purposes.idle_days(one.days, one.each, headroom, found.idle) if found and found.idle else 0
    row: dict[str, Any] = {
        "pipeline": pipeline,
        "environment": environment,
        "process": process,
        "replicas": one.replicas,
        "cpu": one.each.cores,
        "memory": one.each.memory,
        "since": one.since,
        "measured": round(one.load.seconds),
        "busy": loads.quantile(one.load, purposes.SHARE),
        "highest_memory": one.load.top,
    }
    purposes_of = ("serving", "redundancy", "idle", "wanted", "enough", "by_memory", "nodes")
    row |= {name: getattr(found, name) if found else None for name in purposes_of}
    name = f"{pipeline}/{environment}" + (f" {process}" if process else "")
    text = sentence(name, one.load, found, one.each, headroom, days, monthly, costs, one.since)
    text = text if found or one.replicas > 1 else ""
    return {**row, "idle_days": days, "idle_monthly": round(monthly, 6), "text": text}


def _week(store: Store, until: float, now: float) -> tuple[dict[Key, Load], dict[Key, float]]:
    """The load of each key, and the first time of it. Of a week that is over, by the day."""
    ledger = Loads(store.facts)
    parts: list[tuple[float, dict[Key, Load]]]
    if until < now:
        parts = [(number * DAY, one) for number, one in ledger.days(until - WINDOW, until - 1)][::-1]
    else:
        parts = list(ledger.hours(now - WINDOW, now))
    week, since = dict[Key, Load](), dict[Key, float]()
    for at, one in parts:
        week = loads.added(week, one)
        since = dict.fromkeys(one, at) | since
    return week, since


def _days(store: Store, until: float) -> list[dict[Key, Load]]:
    """Of LOOKED_BACK days, the newest first; empty where nothing was measured, of today only if something was."""
    found = dict(Loads(store.facts).days(until - LOOKED_BACK * DAY, until))
    today = int(until // DAY)
    return [
        found.get(one, {}) for one in range(today, today - LOOKED_BACK, -1) if one < today or one in found
    ]


def _service(store: Store, pipeline: str, environment: str) -> tuple[Service, str] | None:
    """Of the release that serves there, with its engine's key; None if none does."""
    with suppress(NotFound, DamagedRecord):
        found = store.environment(pipeline, environment)
        if found and found.serving is not None:
            rendered = store.release(pipeline, found.serving).environments.get(environment)
            return (rendered.service, rendered.engine.key) if rendered else None
    return None


def _replicas(service: Service, process: str, load: Load) -> int:
    """0 for a process that is gone; where others set their number, how many there were last."""
    if process:
        one = service.processes_in_use.get(process)
        return one.replicas if one else 0
    return load.replicas if service.autoscaled else service.web_replicas
