"""Each environment's network within the configured range."""

from __future__ import annotations

import ipaddress

from pipeline.config.settings import Settings
from pipeline.errors import EngineFailed


def subnet(settings: Settings, index: int) -> ipaddress.IPv4Network:
    """The environment's /26 network. Raises EngineFailed if the range is too small for that index."""
    whole = ipaddress.IPv4Network(settings.subnets)
    first = int(whole.network_address) + 64 * index
    if first + 64 > int(whole.broadcast_address) + 1:
        raise EngineFailed(
            f"{settings.subnets} has no room for environment number {index + 1}.",
            advice="Give PUSHLIVE_SUBNETS a larger range: each environment takes 64 addresses.",
        )
    return ipaddress.IPv4Network((first, 26))
