"""The commands that bring a running HAProxy to the state. Pure: from two states to commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipeline.adapters.haproxy.config import FOLDER, SERVERS, Server
from pipeline.adapters.haproxy.last_resort import LAST, SPARE

Running = Mapping[int, tuple[Server, bool]]  # see ``Control.servers``


def server_commands(backend: str, wanted: tuple[Server, ...], running: Running) -> list[str]:
    """Brings a backend's servers to the wanted addresses, and the rest to maintenance.

    A server goes into maintenance before its address changes. That closes the idle connections to the former
    address, so that none of them is used for a request to the new one.
    """
    commands = []
    for number in range(1, SERVERS + 1):
        server = wanted[number - 1] if number <= len(wanted) else SPARE
        on = number <= len(wanted)
        if running.get(number) == (server, on):
            continue
        name = f"{backend}/s{number}"
        commands.append(f"set server {name} state maint")
        commands.append(f"set server {name} addr {server[0]} port {server[1]}")
        if on:
            commands.append(f"set server {name} state ready")
            # Otherwise the first check that fails takes it out, in place of three in a row.
            commands.append(f"set server {name} health up")
    if 0 in running and running[0][1] != bool(wanted):
        commands.append(f"set server {backend}/{LAST} state {'ready' if wanted else 'maint'}")
    return commands


def map_commands(
    name: str,
    wanted: Mapping[str, str],
    running: Mapping[str, str],
    stays: Callable[[str], bool] = lambda _: False,
) -> list[str]:
    """Brings a map to the wanted entries. A value changes in one step: its key is never missing. ``stays``: whether an
    entry stays that is not wanted."""
    path = f"{FOLDER}/{name}"
    gone = [f"del map {path} {key}" for key in running if key not in wanted and not stays(key)]
    new = [f"add map {path} {key} {value}" for key, value in wanted.items() if key not in running]
    changed = [
        f"set map {path} {key} {value}"
        for key, value in wanted.items()
        if key in running and running[key] != value
    ]
    return gone + new + changed
