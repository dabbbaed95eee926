"""What the machines have, what of it is promised and used, and how much more fits: data for ``pushlive capacity``."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pipeline.config.engines import kind_of, machines_of
from pipeline.config.models import Config, Service
from pipeline.config.settings import Settings
from pipeline.config.workload.kubernetes import USUAL_REQUEST
from pipeline.deploy.engine_addresses import in_use
from pipeline.domain.capacity import fit, trend, words
from pipeline.domain.capacity.fit import Fit, Taken, Use
from pipeline.domain.capacity.room import DAY, Room, Series
from pipeline.domain.capacity.trend import Shortage
from pipeline.domain.cost.taken import Size
from pipeline.domain.environment import Environment, SlotState
from pipeline.errors import DamagedRecord, NotFound
from pipeline.lib.units import show_age
from pipeline.store import Store
from pipeline.store.capacity import Rooms
from pipeline.store.costs import Ledgers

RULE = (
    "A pipeline counts, with all its environments, as large as the average of all pipelines in their largest hour of "
    "the last 7 days. What is free is what everything on the machine left in its largest hour, whatever is promised; a "
    "tenth of cores and memory stays free, and of the disk what builds require (PUSHLIVE_DISK_FREE)."
)

LATE = 1800.0  # seconds without a look, after which that is said


def shown(store: Store, settings: Settings, config: Config, now: float) -> dict[str, Any]:
    rooms, ledgers = Rooms(store.facts), Ledgers(store.facts)
    hours = list(ledgers.hours(now - fit.WINDOW, now + 1)) if ledgers.began() is not None else []
    outlook, promised = rooms.outlook(), _promised(store)
    folder = rooms.series(words.DATA)
    machines = []
    for key in sorted({machines_of(engine) for engine in in_use(store, config)}):
        series = rooms.series(key) or Series(now, 0.0)
        found = fit.taken(hours, key)
        machines.append(_machine(config, settings, key, series, found, promised.get(key, Use()), now))
    return {
        "now": now,
        "currency": config.costs.currency,
        "rule": RULE,
        "machines": machines,
        "data": _data_folder(settings, folder, shared=outlook.shared),
        "shortages": [_shortage(one, now) for one in outlook.shortages],
    }


def _machine(
    config: Config,
    settings: Settings,
    key: str,
    series: Series,
    found: list[Taken],
    promised: Use,
    now: float,
) -> dict[str, Any]:
    price, size, room = config.costs.machine_of(key), series.size, series.room
    newest = found[-1] if found else None
    more = fit.fit(size, found, series, settings.disk_free, now)
    whole = newest.whole if newest else None
    return {
        "engine": key,
        "name": price[0] if price else words.machine(key),
        "monthly": price[1].monthly if price else None,
        "looked": series.looked or None,
        "began": series.began if series.looked else None,
        "trend_from": trend.trend_from(series) if series.looked else None,
        "has": {"cores": size.cores, "memory": size.memory, "disk": room.disk} if size else _none(room.disk),
        "promised": _use(promised),
        "used": {"cores": room.load, "memory": room.memory, "disk": room.disk_used},
        "busiest": {
            "cores": fit.busiest_load(series, now),
            "memory": fit.busiest_memory(series, now),
        },
        "disk_free": room.disk_free,
        "takers": room.takers,
        "taken": {name: _use(use) for name, use in sorted(newest.purposes.items())} if newest else {},
        "idle": _idle(size, whole),
        "largest": _use(fit.largest(found)) if found else None,
        "pipelines": newest.pipelines if newest else 0,
        "fits": {
            "more": more.more,
            "by": more.by or {},
            "first": more.first,
            "size": {**_use(more.size), "disk": more.disk} if more.size else None,
        },
        "step": _step(config, key, size, more, newest.pipelines if newest else 0),
        "unknown": list(_unknown(key, series, found, now)),
        "pressure": list(room.pressure),
    }


def _none(disk: int | None) -> dict[str, Any]:
    return {"cores": None, "memory": None, "disk": disk}


def _use(one: Use) -> dict[str, Any]:
    return {"cores": round(one.cores, 4), "memory": int(one.memory)}


def _idle(size: Size | None, taken: Use | None) -> dict[str, Any] | None:
    """What no container of this installation takes."""
    if size is None or taken is None:
        return None
    return _use(Use(max(0.0, size.cores - taken.cores), max(0.0, size.memory - taken.memory)))


def _promised(store: Store) -> dict[str, Use]:
    """The limits of all that serves or is warm, by machine (``engines.machines_of``); on a cluster what it requests.
    What sleeps has no containers."""
    found = dict[str, Use]()
    for pipeline in store.pipelines():
        with suppress(DamagedRecord):
            awake = (one for one in store.environments(pipeline).values() if not one.asleep)
            for environment in awake:
                with suppress(NotFound):
                    for use in _of_environment(store, environment):
                        key = machines_of(environment.engine)
                        found[key] = found.get(key, Use()) + use
    return found


def _of_environment(store: Store, environment: Environment) -> Iterable[Use]:
    for slot, record in environment.slots.items():
        if slot != environment.active and record.state != SlotState.WARM:
            continue
        rendered = store.release(environment.pipeline, record.release).environments.get(environment.name)
        if rendered:
            kind = kind_of(environment.engine)
            yield _limits(rendered.service, serving=slot == environment.active, requests=kind.machines)


def _limits(service: Service, *, serving: bool, requests: bool) -> Use:
    """Processes run beside what serves alone."""
    beside = sum(one.replicas for one in service.processes_in_use.values()) if serving else 0
    count, cpu, memory = service.web_replicas + beside, service.cpu, service.memory
    if requests:
        asked = service.requests
        cpu, memory = asked.cpu or cpu * USUAL_REQUEST, asked.memory or memory
    return Use(cpu * count, float(memory * count))


def _step(config: Config, key: str, size: Size | None, more: Fit, pipelines: int) -> str:
    """What would have to grow first, and what that costs, a sentence; "" if nothing is known."""
    if more.more is None or not more.first:
        return ""
    what = {"cores": "the cores", "memory": "the memory", "disk": "the disk"}[more.first]
    one = "node" if kind_of(key).machines else "machine"
    price = config.costs.machine_of(key)
    cost = (
        f"costs {price[1].monthly:.2f} {config.costs.currency} a month"
        if price
        else "has no price in `costs.machines`, so what it costs is not known"
    )
    first = f"{what} would have to grow first"
    if one == "node" or size is None or not pipelines:
        return f"{first}; one more {one} like these {cost}"
    return f"{first}; one more machine like it {cost}, with room for about {pipelines + more.more} pipelines"


def _unknown(key: str, series: Series, found: list[Taken], now: float) -> Iterable[str]:
    """What is not known, and what to do about it, a sentence each."""
    kind, room = kind_of(key), series.room
    if not series.looked:
        yield "the keeper has not looked at it yet: within five minutes of the start of `pushlive up`, if it answers"
        return
    if now - series.looked > LATE:
        yield f"it was looked at last {show_age(now - series.looked)} ago: `pushlive doctor` says whether it answers"
    if series.size is None:
        yield "this account may not list the nodes (docker/kubernetes/nodes), so what the cluster has is not known"
    elif kind.machines:
        yield "how full the disks of nodes are only their kubelets know; a node that is short of disk is named here"
        if room.memory is None:
            yield "what the nodes use needs the metrics API, and the permissions in docker/kubernetes/nodes"
    elif room.disk_free is None:
        yield "its disk is seen through Pushlive's proxy on it, which does not run yet"
    if not found:
        yield "no pipeline was measured there in the last 7 days, so there is no size to plan with"


def _data_folder(settings: Settings, series: Series | None, *, shared: bool) -> dict[str, Any]:
    room = series.room if series else Room()
    return {
        "path": str(settings.data),
        "disk": room.disk,
        "disk_free": room.disk_free,
        "takers": room.takers,
        "shared": shared,
    }


def _shortage(one: Shortage, now: float) -> dict[str, Any]:
    return {
        "engine": one.engine,
        "what": one.what,
        "at": one.at,
        "per_day": one.per_day,
        "since": one.since * DAY,
        "text": words.text(one, now),
        "advice": words.advice(one),
    }
