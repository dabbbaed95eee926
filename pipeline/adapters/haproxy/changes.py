"""Changes of the proxy's state. Pure."""

from __future__ import annotations

from dataclasses import replace

from pipeline.adapters.haproxy.config import Routes, Server, State
from pipeline.adapters.haproxy.timeouts import TIMEOUT
from pipeline.domain.environment import Slot
from pipeline.errors import EngineFailed, RequestError


def routes_of(state: State, index: int) -> Routes:
    if index not in state.environments:
        raise RequestError(f"The proxy does not know environment {index}.", advice="Prepare it first.")
    return state.environments[index]


def with_slot(
    routes: Routes, slot: Slot, servers: tuple[Server, ...], timeout: float, check: str = ""
) -> Routes:
    timeouts = {other: seconds for other, seconds in routes.timeouts.items() if other != slot}
    if timeout != TIMEOUT:
        timeouts[slot] = timeout
    checks = {other: text for other, text in {**routes.checks, slot: check}.items() if text}
    return replace(routes, servers={**routes.servers, slot: servers}, timeouts=timeouts, checks=checks)


def added(state: State, index: int, name: str, hosts: tuple[str, ...]) -> State:
    for number, routes in state.environments.items():
        if number != index and (taken := set(routes.hosts) & set(hosts)):
            raise EngineFailed(
                f"{name}: the host name {min(taken)} is served by {routes.name}.",
                advice=f"Remove it from {routes.name} in pipelines.yaml, and deploy {routes.name} first.",
            )
    known = state.environments.get(index, Routes(name))
    return state.with_routes(index, replace(known, name=name, hosts=hosts))
