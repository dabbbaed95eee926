"""Addresses for containers that are no replica: those of an environment's /26 that no slot uses (``containers``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pipeline.adapters.docker import containers
from pipeline.adapters.docker_api.addresses import subnet
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import Body
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import EngineFailed

T = TypeVar("T")

OFFSETS = (16, 46, 47, 48, 61, 62)


def free_addresses(api: DockerApi, settings: Settings, ref: SlotRef) -> list[str]:
    """Those that nothing has now. Raises EngineFailed if there are none."""
    name = containers.network_name(settings, ref)
    inside = ((api.network(name) or {}).get("Containers") or {}).values()
    used = {str(one.get("IPv4Address", "")).partition("/")[0] for one in inside}
    first = subnet(settings, ref.index).network_address
    free = [str(first + offset) for offset in OFFSETS if str(first + offset) not in used]
    if not free:
        raise EngineFailed(
            f"{len(OFFSETS)} commands run in {ref.pipeline}/{ref.environment} already, as many as it has addresses "
            "for.",
            advice=f"Try again when one has ended; `docker network inspect {name}` names them.",
        )
    return free


def with_free_address(api: DockerApi, settings: Settings, ref: SlotRef, begin: Callable[[str], T]) -> T:
    """What ``begin`` returns for a free address. It is called with the next one if another container has taken that
    meanwhile, which Docker says by ``DockerRefused.address_in_use``: then it has to leave nothing."""
    *others, last = free_addresses(api, settings, ref)
    for address in others:
        try:
            return begin(address)
        except DockerRefused as error:
            if not error.address_in_use:
                raise
    return begin(last)


def at(body: Body, network: str, address: str) -> Body:
    """The body of a container with that address."""
    return {
        **body,
        "NetworkingConfig": {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": address}}}},
    }
