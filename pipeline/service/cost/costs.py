"""A month's cost, as data for ``pushlive cost`` and the API."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pipeline.config.cost.prices import INSTANCE_TYPE, Costs
from pipeline.config.engines import machines_of
from pipeline.config.models import Config
from pipeline.domain.cost import ledger
from pipeline.domain.cost.ledger import STORAGE, TRAFFIC, Account, Amount, Hour
from pipeline.domain.cost.load import Key
from pipeline.domain.cost.month import WINDOW, Line, Piece, Spent, monthly, spent, to_come
from pipeline.domain.cost.taken import labels_of
from pipeline.domain.measuring.monthly import calendar
from pipeline.domain.measuring.monthly.calendar import Month
from pipeline.errors import RequestError
from pipeline.lib.units import show_duration
from pipeline.service.cost import caps, replicas
from pipeline.service.cost.replicas import Known
from pipeline.store import Store
from pipeline.store.costs import Ledgers

DIGITS = 6  # of a sum of money: many small ones are added up by others
NOTABLE = 300.0  # seconds without a look at a cluster, beyond which it is said


@dataclass(frozen=True)
class Measured:
    """A month. ``coming``: what each account will cost until its end; ``newest``: its last hour; ``began``: when
    measuring did, None if nothing is measured; ``unsized``: clusters that do not tell which nodes they have;
    ``replicas``: what they are for; ``monthly``: what each purpose of what serves would cost in the whole month;
    ``gib``: what a GiB that is reserved on an engine would."""

    month: Month
    spent: Spent
    coming: dict[Account, float]
    newest: Hour | None
    began: float | None
    unsized: frozenset[str]
    replicas: dict[Key, Known]
    monthly: dict[tuple[Key, str], float]
    gib: dict[str, float]


def measured(store: Store, costs: Costs, month: Month, now: float, *, ahead: bool = True) -> Measured:
    """All pipelines. ``ahead``: what is to come as well."""
    ledgers = Ledgers(store.facts)
    began = ledgers.began()
    pieces, recent, until = list[Piece](), list[Piece](), min(now, month.until)
    known = dict[Key, Known]()
    if began is not None:
        pieces, week = list(ledgers.pieces(month.since, until)), list(ledgers.pieces(until - WINDOW, until))
        cores = ledger.cores_of(one for one in week if isinstance(one, Hour))
        known = replicas.known(store, costs, until, now, cores)
        pieces, week = replicas.divided(known, pieces, week)
        recent = week if ahead and now < month.until else []
    costs_from = ledgers.costs_from()
    found = spent(pieces, costs, month, now, costs_from)
    coming = to_come(recent, costs, month, now) if recent else {}
    whole = to_come(recent, costs, month, month.since) if recent else {}
    newest = next((one for one in reversed(pieces) if isinstance(one, Hour)), None)
    return Measured(
        month,
        found,
        {one: cost for one, cost in coming.items() if costs_from(machines_of(one.engine)) < math.inf},
        newest,
        began,
        frozenset(newest.unsized if newest else ()),
        known,
        replicas.by_purpose(whole),
        replicas.gib(whole, recent),
    )


def shown(store: Store, config: Config, pipeline: str, month: str, zone: str, now: float) -> dict[str, Any]:
    """Of one pipeline or of all. Raises as ``asked``."""
    wanted, costs = asked(month, zone, now), config.costs
    found = measured(store, costs, wanted, now)
    known = {one.account: one for one in found.spent.lines}
    every = sorted(known.keys() | found.coming.keys(), key=lambda one: (_place(config, one), one))
    lines = [
        _line(costs, known.get(one) or Line(one, 0.0, Amount()), found.coming.get(one, 0.0))
        for one in every
        if not pipeline or one.pipeline == pipeline
    ]
    return {
        "month": wanted.name,
        "zone": zone,
        "since": wanted.since,
        "until": wanted.until,
        "now": now,
        "began": found.began,
        "currency": costs.currency,
        "machines": [
            {
                "name": name,
                "engine": one.engine,
                "monthly": one.monthly,
                "nodes": one.labels,
                "storage": one.storage,
                "traffic": one.traffic,
            }
            for name, one in costs.machines.items()
        ],
        "lines": lines,
        "total": round(sum(one["cost"] for one in lines), DIGITS),
        "projected": round(sum(one["projected"] for one in lines), DIGITS),
        "monthly": round(monthly(found.newest, costs), DIGITS),
        "missing": missing(config, found),
        "caps": caps.shown(store, config, pipeline, now) if wanted.since <= now < wanted.until else [],
        "replicas": [
            one
            for one in replicas.shown(found.replicas, costs, found.monthly)
            if now < wanted.until and pipeline in ("", one["pipeline"])
        ],
    }


def asked(month: str, zone: str, now: float) -> Month:
    """That month, or the present one. Raises RequestError for a month or a zone that is none, and for what is to
    come."""
    wanted = calendar.month(month or calendar.month_of(now, zone), zone)
    if wanted.since > now:
        raise RequestError(
            f"{wanted.name} has not begun, so that nothing is known of its cost.",
            advice=f"Ask for {calendar.month_of(now, zone)}, or for a month before it.",
        )
    return wanted


def _place(config: Config, one: Account) -> tuple[str, int]:
    """Environments in their order in the file; those that are not there come last."""
    pipeline = config.pipelines.get(one.pipeline)
    names = list(pipeline.environments) if pipeline else []
    return one.pipeline, names.index(one.environment) if one.environment in names else len(names)


def _line(costs: Costs, one: Line, coming: float) -> dict[str, Any]:
    account = one.account
    return {
        "machine": machine_name(costs, account.engine),
        "pipeline": account.pipeline,
        "environment": account.environment,
        "process": account.process,
        "purpose": account.purpose,
        "cost": round(one.cost, DIGITS),
        "projected": round(one.cost + coming, DIGITS),
        "core_hours": round(one.amount.cores / ledger.HOUR, DIGITS),
        "gib_hours": round(one.amount.memory / ledger.HOUR, DIGITS),
        "hours": round(one.amount.count / ledger.HOUR, DIGITS),
        "stored_gib_hours": round(one.used / ledger.HOUR, DIGITS) if account.purpose == STORAGE else 0.0,
        "sent_gib": round(one.used, DIGITS) if account.purpose == TRAFFIC else 0.0,
    }


def machine_name(costs: Costs, engine: str) -> str:
    """As a person calls it; a cluster with several prices by its context."""
    key = machines_of(engine)
    names = [name for name, one in costs.machines.items() if one.engine == key]
    return names[0] if len(names) == 1 else _shown(key)


def missing(config: Config, found: Measured) -> list[str]:
    """What a sum lacks, a sentence each."""
    costs = config.costs
    named = {
        machines_of(config.pipelines[name].environment(each).engine.key)
        for name in config.pipelines
        for each in config.pipelines[name].environments
    }
    unsized = {machines_of(key) for key in found.unsized}
    lacking = {key for key in named if costs.machine_of(key) is None}
    groups = sorted({*found.spent.unpriced, *((one, "") for one in lacking)})
    said = list(dict.fromkeys(_unpriced(costs, *one) for one in groups))
    said += [
        f"{_shown(key)} does not tell which nodes it has, so it is in no sum; let Pushlive's account list them "
        "(docs/kubernetes.md, `nodes`)"
        for key in sorted(unsized)
    ]
    said += [
        f"{_shown(key)} was not measured for {show_duration(seconds)}, and how many nodes it had then is not known: "
        "that time is in no sum"
        for key, seconds in sorted(found.spent.unseen.items())
        if seconds >= NOTABLE and key not in unsized
    ]
    return said


def _unpriced(costs: Costs, key: str, group: str) -> str:
    if costs.machine_of(key) is None:
        return f"{_shown(key)} has no price in `costs.machines`, so what runs there costs nothing here"
    labels = labels_of(group)
    which = f"of the type {labels[INSTANCE_TYPE]}" if INSTANCE_TYPE in labels else "without an instance type"
    return f"nodes {which} in {_shown(key)} have no price in `costs.machines`, so they cost nothing here"


def _shown(key: str) -> str:
    return key.removesuffix("/")
