"""Ports and addresses of a session's own, however many sessions run on one machine at once.

A session reserves what it takes by locking a file for as long as it lives: looking whether a port is free is not enough
while two sessions look at the same time.
"""

from __future__ import annotations

import fcntl
import ipaddress
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

FIRST, LAST = 20200, 32700  # below the ports that the kernel assigns by itself
MANY, APART = 500, 29700  # so many in a row come from there on, where few others leave room for them
BLOCK = 4  # ports that are reserved together
_held: list[IO[str]] = []  # open for as long as the process lives


def free_port() -> int:
    """A loopback port that nothing listens on. It is not reserved: listen on it at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def free_ports(count: int) -> int:
    """The first of so many free loopback ports in a row, reserved for this process."""
    blocks = -(-count // BLOCK)
    lowest, highest = (APART, LAST) if count >= MANY else (FIRST, APART)
    starts = list(range(lowest // BLOCK, highest // BLOCK - blocks))
    random.shuffle(starts)
    for first in starts:
        before = len(_held)
        if not _reserve(f"ports-{block}" for block in range(first, first + blocks)):
            continue
        with suppress(OSError):
            for port in range(first * BLOCK, first * BLOCK + count):
                with socket.socket() as attempt:
                    attempt.bind(("127.0.0.1", port))
            return first * BLOCK
        while len(_held) > before:
            _held.pop().close()
    raise AssertionError("no free ports in a row")


def free_subnet(networks: list[dict[str, Any]], prefix: int = 21) -> str:
    """Addresses in 10.214.0.0–10.219.255.255 that none of those Docker networks uses, reserved for this process.

    ``prefix``: 21 has room for 32 environments, 19 for 128.
    """
    pools = [pool for network in networks for pool in network["IPAM"]["Config"] or []]
    used = [ipaddress.ip_network(pool["Subnet"]) for pool in pools if "." in pool.get("Subnet", "")]
    for _ in range(1000):
        third = random.randrange(0, 256, 1 << (24 - prefix))
        one = ipaddress.ip_network(f"10.{random.randrange(214, 220)}.{third}.0/{prefix}")
        parts = [f"subnet-{part.network_address}" for part in one.subnets(new_prefix=21)]
        if not any(one.overlaps(other) for other in used) and _reserve(parts):
            return str(one)
    raise AssertionError("no free subnet")


def daemon_subnet() -> tuple[str, str]:
    """For a Docker daemon beside the machine's own, which knows nothing of the networks of others: the bridge's address
    with its prefix, and addresses for networks. Reserved for this process."""
    for _ in range(1000):
        second, third = random.randrange(230, 240), random.randrange(0, 256, 8)
        if _reserve([f"subnet-10.{second}.{third}.0"]):
            return f"10.{second - 10}.{third}.1/24", f"10.{second}.{third}.0/21"
    raise AssertionError("no free subnet")


def _reserve(names: Iterator[str] | list[str]) -> bool:
    """All of these names for this process, or none of them."""
    folder = Path(tempfile.gettempdir()) / "pushlive-test-reservations"
    folder.mkdir(exist_ok=True)
    taken: list[IO[str]] = []
    for name in names:
        file = (folder / name).open("w")
        taken.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            for one in taken:
                one.close()
            return False
    _held.extend(taken)
    return True
