"""Where the public frontend listens, as HAProxy writes it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import cache

from pipeline.config.https.listeners import listeners


def bound(value: str) -> Iterator[str]:
    """What follows ``bind``, for each listener of the setting. One for IPv4 and IPv6 does with IPv4 if this machine has
    no IPv6."""
    for one in listeners(value):
        if not one.both:
            yield str(one)
        elif has_ipv6():
            yield f"[::]:{one.port} v4v6"
        else:
            yield f"0.0.0.0:{one.port}"


def without_ipv6(*values: str) -> str:
    """A sentence for ``doctor`` if the settings ask for IPv6 that this machine does not have."""
    if has_ipv6() or not any(one.both for value in values for one in listeners(value)):
        return ""
    return "It serves IPv4 alone: this machine has no IPv6"


@cache
def has_ipv6() -> bool:
    """Whether a process of this machine can listen on IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as attempt:
            attempt.bind(("::", 0))
    except OSError:
        return False
    return True
