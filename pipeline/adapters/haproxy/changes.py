"""Changes of the proxy's state. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.adapters.haproxy.config import Routes, Server, State
from pipeline.adapters.haproxy.rules.sharing import Shared
from pipeline.adapters.haproxy.timeouts import TIMEOUT
from pipeline.config.address.entries import covers
from pipeline.domain.environment import SLOTS, Slot
from pipeline.domain.visitors.maintenance import Notice
from pipeline.errors import EngineFailed, RequestError


def routes_of(state: State, index: int) -> Routes:
    if index not in state.environments:
        raise RequestError(f"The proxy does not know environment {index}.", advice="Prepare it first.")
    return state.environments[index]


def with_slot(
    routes: Routes,
    slot: Slot,
    servers: tuple[Server, ...],
    timeout: float,
    check: str = "",
    *,
    sticky: bool = False,
    rules: Mapping[str, str] | None = None,
) -> Routes:
    timeouts = {other: seconds for other, seconds in routes.timeouts.items() if other != slot}
    if timeout != TIMEOUT:
        timeouts[slot] = timeout
    checks = {other: text for other, text in {**routes.checks, slot: check}.items() if text}
    stay = tuple(one for one in SLOTS if (sticky if one == slot else one in routes.sticky))
    kept = {other: values for other, values in routes.rules.items() if other != slot}
    if rules:
        kept[slot] = dict(rules)
    servers_of = {**routes.servers, slot: servers}
    return replace(routes, servers=servers_of, timeouts=timeouts, checks=checks, sticky=stay, rules=kept)


def added(state: State, index: int, name: str, hosts: tuple[str, ...]) -> State:
    """The environment with those hosts. One that another environment serves, by itself or as a part of what it has,
    stays there until this one's next switch;
    one that this environment no longer has goes to the environment that waits for it. Raises EngineFailed if another
    one has this name: two names of a pipeline and an environment can be the same once they are joined."""
    for number, routes in state.environments.items():
        if number != index and routes.name == name:
            raise EngineFailed(
                f"{name}: the host name {name}.localhost is served by another environment.",
                advice="Give the environment or its pipeline another name in pipelines.yaml.",
            )
    known = state.environments.get(index, Routes(name))
    others = [routes for number, routes in state.environments.items() if number != index and routes.active]
    there = {host for routes in others for host in routes.hosts}
    new = [host for host in hosts if host not in known.hosts]
    served = there | {host for host in new if any(covers(wide, host) for wide in there)}
    own = tuple(host for host in hosts if host not in served)
    wanted = tuple(host for host in hosts if host in served)
    changed = _taken(state, index, own)
    changed = changed.with_routes(index, replace(known, name=name, hosts=own, wanted=wanted))
    return _handed_over(changed, index, tuple(host for host in known.hosts if host not in hosts))


def switched(state: State, index: int, slot: Slot | None) -> State:
    """The environment's traffic goes to that slot, and the hosts that it waits for come with it. With None for a slot
    they go back to where they came from. Raises RequestError if the slot has no servers."""
    routes = routes_of(state, index)
    if slot and not routes.servers.get(slot):
        raise RequestError(
            f"{routes.name}: the proxy knows no containers in {slot}.",
            advice="Start the release there first.",
        )
    if slot is None:
        return _given_back(
            state.with_routes(index, replace(routes, active=None, waits=0.0, sleeps=0.0, shared=None)), index
        )
    from_ = {host: number for host in routes.wanted if (number := _serves(state, host, index)) is not None}
    moved = replace(
        routes,
        active=slot,
        hosts=(*routes.hosts, *routes.wanted),
        wanted=(),
        came={**routes.came, **from_},
        waits=0.0,
        sleeps=0.0,
        shared=None,
    )
    return _taken(state, index, routes.wanted).with_routes(index, moved)


def paused(state: State, index: int, seconds: float) -> State:
    """The environment's requests wait for its next switch. It keeps its hosts meanwhile."""
    return state.with_routes(index, replace(routes_of(state, index), waits=seconds, sleeps=0.0, shared=None))


def asleep(state: State, index: int, seconds: float) -> State:
    """The environment's requests wait until it was woken. It keeps its hosts meanwhile."""
    return state.with_routes(index, replace(routes_of(state, index), waits=0.0, sleeps=seconds, shared=None))


def sharing(state: State, index: int, shared: Shared | None) -> State:
    """A part of the visitors goes to another slot than the one that serves; with None no longer. Raises RequestError if
    that slot has no servers, or if there is nothing to share."""
    routes = routes_of(state, index)
    if shared and not routes.servers.get(shared.slot):
        raise RequestError(
            f"{routes.name}: the proxy knows no containers in {shared.slot}.",
            advice="Start the release there first.",
        )
    if shared and (routes.active in (None, shared.slot) or routes.waits or routes.sleeps):
        raise RequestError(
            f"{routes.name}: there is no other release to share the traffic with {shared.slot}.",
            advice="Switch to it.",
        )
    return state.with_routes(index, replace(routes, shared=shared))


def noticed(state: State, index: int, notice: Notice | None) -> State:
    """Visitors get that notice, whichever slot serves; with None the application's answers again."""
    return state.with_routes(index, replace(routes_of(state, index), notice=notice))


def removed(state: State, index: int) -> State:
    """Without the environment; hosts that others wait for go to them."""
    hosts = state.environments[index].hosts
    return _handed_over(_given_back(state, index).without(index), index, hosts)


def _has(state: State, host: str) -> int | None:
    return next((number for number, routes in state.environments.items() if host in routes.hosts), None)


def _serves(state: State, host: str, index: int) -> int | None:
    """Which environment has it, or else one, not ``index``, that has it as a part of what it has."""
    if (owner := _has(state, host)) is not None:
        return owner
    others = (
        (number, routes) for number, routes in state.environments.items() if number != index and routes.active
    )
    return next((n for n, routes in others if any(covers(wide, host) for wide in routes.hosts)), None)


def _taken(state: State, index: int, hosts: tuple[str, ...]) -> State:
    """No environment but this one has those hosts."""
    for number, routes in state.environments.items():
        if number != index and set(hosts) & set(routes.hosts):
            left = tuple(host for host in routes.hosts if host not in hosts)
            state = state.with_routes(number, replace(routes, hosts=left))
    return state


def _handed_over(state: State, index: int, hosts: tuple[str, ...]) -> State:
    """Each of the hosts, which that environment had, belongs to one that serves and waits for it, if there is one."""
    for host in hosts:
        for number, routes in state.environments.items():
            if number != index and routes.active and host in routes.wanted and _has(state, host) is None:
                wanted = tuple(one for one in routes.wanted if one != host)
                state = state.with_routes(number, replace(routes, hosts=(*routes.hosts, host), wanted=wanted))
                break
    return state


def _given_back(state: State, index: int) -> State:
    """Hosts that came from environments which still serve lead there again."""
    routes = state.environments[index]
    for host, number in routes.came.items():
        before = state.environments.get(number)
        if host in routes.hosts and before and before.active:
            if not any(covers(wide, host) for wide in before.hosts):
                state = state.with_routes(number, replace(before, hosts=(*before.hosts, host)))
            routes = replace(
                routes, hosts=tuple(one for one in routes.hosts if one != host), wanted=(*routes.wanted, host)
            )
    return state.with_routes(index, replace(routes, came={}))
