"""How many failed authentications are processed.

Tokens have 160 random bits and signatures 256, so guessing is hopeless at any rate. What this bounds is the cost of
failures: writes, log lines, audit entries. A valid token or signature always passes, from any address, so no one can
lock others out. After too many failures, further ones are answered 429 and nothing is written.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

PER_ADDRESS = 20  # a minute; also the burst
ALTOGETHER = 600  # a minute, from all addresses
LOGINS_RECORDED = 100  # failed log-ins an hour that go into the audit log
REMEMBERED = 4096  # addresses
_UNKNOWN = "unknown"


@dataclass
class Bucket:
    """A token bucket. ``rate``: refilled per second, up to ``size``. ``left`` at the time ``at`` (monotonic)."""

    size: float
    rate: float
    left: float
    at: float

    def take(self, now: float) -> float:
        """Takes one: 0 if one was left, otherwise the seconds until the next."""
        self.left = min(self.size, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / self.rate


class Failures:
    """Counters in memory, bounded for any number of addresses. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_group: OrderedDict[str, Bucket] = OrderedDict()  # least recent first
        self._all = Bucket(ALTOGETHER, ALTOGETHER / 60, ALTOGETHER, clock())
        self._logins = Bucket(LOGINS_RECORDED, LOGINS_RECORDED / 3600, LOGINS_RECORDED, clock())

    def failed(self, address: str) -> int:
        """0, or the seconds to wait before this address's next attempt."""
        with self._lock:
            now = self._clock()
            wait = self._bucket(group(address), now).take(now) or self._all.take(now)
        return math.ceil(wait)

    def should_record_login(self) -> bool:
        """True if a failed log-in goes into the audit log; their number is limited."""
        with self._lock:
            return self._logins.take(self._clock()) == 0

    def __len__(self) -> int:
        return len(self._by_group)

    def _bucket(self, name: str, now: float) -> Bucket:
        if name not in self._by_group:
            self._by_group[name] = Bucket(PER_ADDRESS, PER_ADDRESS / 60, PER_ADDRESS, now)
        self._by_group.move_to_end(name)
        if len(self._by_group) > REMEMBERED:
            # The removed address starts over; ``_all`` bounds what that can cost.
            self._by_group.popitem(last=False)
        return self._by_group[name]


def group(address: str) -> str:
    """What counts as one sender: an IPv4 address, or an IPv6 /64, since every customer gets a whole one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _UNKNOWN
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 64), strict=False))
        return str(found.ipv4_mapped)
    return str(found)


def sender(remote: str, forwarded: str, trusted: tuple[str, ...]) -> str:
    """Where a request comes from: the last entry of X-Forwarded-For if ``remote`` is a trusted proxy, else ``remote``.
    The sender can forge all earlier entries."""
    if not forwarded or not _within(remote, trusted):
        return remote
    last = forwarded.rpartition(",")[2].strip()
    return remote if group(last) == _UNKNOWN else last


def _within(address: str, networks: tuple[str, ...]) -> bool:
    name = group(address)
    if name == _UNKNOWN:
        return False
    found = ipaddress.ip_address(name if ":" not in name else address.partition("%")[0])
    return any(found in ipaddress.ip_network(network) for network in networks)
