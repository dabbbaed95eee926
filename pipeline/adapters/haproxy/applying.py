"""Brings a running HAProxy to the state, by commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from pipeline.adapters.haproxy.config import MAPS, SERVERS, Server, State, backend, maps
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.haproxy.last_resort import LAST
from pipeline.adapters.haproxy.plan import map_commands, server_commands
from pipeline.adapters.haproxy.rules import registry
from pipeline.config.settings import Settings
from pipeline.domain.environment import SLOTS
from pipeline.errors import TryAgain


def apply(control: Control, settings: Settings, state: State, indexes: Iterable[int]) -> None:
    """The maps, and the servers of these environments. Servers before maps, so that no route leads to a slot whose
    servers are not known yet. What the checks ask comes before the servers that they ask. Raises TryAgain."""
    wanted = maps(state, settings)
    apply_map(control, "health.map", wanted["health.map"])
    for index in indexes:
        routes = state.environments.get(index)
        for slot in SLOTS:
            apply_servers(control, backend(index, slot), routes.servers.get(slot, ()) if routes else ())
    for name in registry.TABLES:
        apply_map(control, name, wanted[name], lambda _: True)
    for name in MAPS[1:]:
        apply_map(control, name, wanted[name])
    for name in reversed(registry.TABLES):
        apply_map(control, name, wanted[name], partial(registry.kept, name, wanted))


def apply_map(
    control: Control, name: str, wanted: dict[str, str], stays: Callable[[str], bool] = lambda _: False
) -> None:
    """``stays``: whether an entry stays that is not wanted."""
    running = control.map(name)
    if running is not None:
        for command in map_commands(name, wanted, running, stays):
            control.ask(command)


def apply_servers(control: Control, name: str, wanted: tuple[Server, ...]) -> None:
    """Those of one backend. Raises TryAgain if they did not change."""
    commands = server_commands(name, wanted, control.servers(name))
    if not commands:
        return
    control.ask(";".join(commands))
    if refused := server_commands(name, wanted, control.servers(name)):
        raise TryAgain(f"The proxy did not change the servers of {name} ({refused[0]}).")


def shut_down(control: Control, name: str) -> bool:
    """Closes what a backend serves; True once it has no sessions."""
    if not control.sessions(name):
        return True
    servers = [*(f"s{number}" for number in range(1, SERVERS + 1)), LAST]
    control.ask(";".join(f"shutdown sessions server {name}/{server}" for server in servers))
    return False
