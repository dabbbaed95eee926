"""A month's cost, as data for ``pushlive cost`` and the API."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Config
from pipeline.domain.cost import ledger
from pipeline.domain.cost.ledger import Amount, Hour
from pipeline.domain.cost.month import WINDOW, Line, spent, to_come
from pipeline.domain.measuring.monthly import calendar
from pipeline.store import Store
from pipeline.store.costs import Ledgers

DIGITS = 6  # of a sum of money: many small ones are added up by others


def shown(store: Store, config: Config, pipeline: str, month: str, zone: str, now: float) -> dict[str, Any]:
    """Of one pipeline or of all. Raises RequestError for a month or a zone that is none."""
    wanted = calendar.month(month or calendar.month_of(now, zone), zone)
    ledgers, costs = Ledgers(store.facts), config.costs
    prices = {one.engine: one.monthly for one in costs.machines.values()}
    began = ledgers.began()
    hours, recent = list[Hour](), list[Hour]()
    if began is not None:
        hours = list(ledgers.hours(wanted.since, min(now, wanted.until)))
        recent = list(ledgers.hours(now - WINDOW, now)) if now < wanted.until else []
    found = spent(hours, prices, wanted, now, now if began is None else began)
    coming = to_come(recent, prices, wanted, now) if recent else {}
    known = {one.account: one for one in found.lines}
    every = sorted(known.keys() | coming.keys())
    lines = [
        _line(config, known.get(one) or Line(one, 0.0, Amount()), coming.get(one, 0.0))
        for one in every
        if not pipeline or one.pipeline == pipeline
    ]
    return {
        "month": wanted.name,
        "zone": zone,
        "since": wanted.since,
        "until": wanted.until,
        "now": now,
        "began": began,
        "currency": costs.currency,
        "machines": [
            {"name": name, "engine": one.engine, "monthly": one.monthly}
            for name, one in costs.machines.items()
        ],
        "lines": lines,
        "total": round(sum(one["cost"] for one in lines), DIGITS),
        "projected": round(sum(one["projected"] for one in lines), DIGITS),
        "monthly": found.whole,
        "missing": _missing(config, found.unpriced),
    }


def _line(config: Config, one: Line, coming: float) -> dict[str, Any]:
    account = one.account
    machine = config.costs.machine_of(account.engine)
    return {
        "machine": machine[0] if machine else account.engine,
        "pipeline": account.pipeline,
        "environment": account.environment,
        "process": account.process,
        "purpose": account.purpose,
        "cost": round(one.cost, DIGITS),
        "projected": round(one.cost + coming, DIGITS),
        "core_hours": round(one.amount.cores / ledger.HOUR, DIGITS),
        "gib_hours": round(one.amount.memory / ledger.HOUR, DIGITS),
    }


def _missing(config: Config, unpriced: tuple[str, ...]) -> list[str]:
    """What a sum lacks, a sentence each."""
    named = {
        config.pipelines[name].environment(each).engine.key
        for name in config.pipelines
        for each in config.pipelines[name].environments
    }
    return [
        f"{key} has no price in `costs.machines`, so what runs there costs nothing here"
        for key in sorted(named | {*unpriced})
        if config.costs.machine_of(key) is None
    ]
