"""How often somebody may fail to prove who they are.

Tokens are 160 random bits and signatures 256: nobody guesses them, at whatever rate. What is bounded is what failures
cost us: writes, lines in the log, entries in the audit log. So a right token or signature always passes at once, from
whatever address, and no stranger can lock anybody out; only the answer to a wrong one changes, to 429, and then nothing
is written for it.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

PER_ADDRESS = 20  # a minute, and as many at once
ALTOGETHER = 600  # a minute, from everywhere
LOGINS_TOLD = 100  # failed log-ins an hour that go into the audit log
REMEMBERED = 4096  # addresses
_UNKNOWN = "unknown"


@dataclass
class Bucket:
    """``rate``: how many come back a second; at most ``size``. ``left`` of them at the time ``at`` (monotonic)."""

    size: float
    rate: float
    left: float
    at: float

    def take(self, now: float) -> float:
        """0 where one was left and is taken now; otherwise the seconds until the next."""
        self.left = min(self.size, self.left + (now - self.at) * self.rate)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / self.rate


class Failures:
    """Counts in memory, bounded however many addresses there are. ``clock``: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_group: OrderedDict[str, Bucket] = OrderedDict()  # the longest silent first
        self._all = Bucket(ALTOGETHER, ALTOGETHER / 60, ALTOGETHER, clock())
        self._told = Bucket(LOGINS_TOLD, LOGINS_TOLD / 3600, LOGINS_TOLD, clock())

    def failed(self, address: str) -> int:
        """0, or the seconds after which that address may fail again."""
        with self._lock:
            now = self._clock()
            wait = self._bucket(group(address), now).take(now) or self._all.take(now)
        return math.ceil(wait)

    def worth_telling(self) -> bool:
        """Whether a failed log-in goes into the audit log: only so many do."""
        with self._lock:
            return self._told.take(self._clock()) == 0

    def __len__(self) -> int:
        return len(self._by_group)

    def _bucket(self, name: str, now: float) -> Bucket:
        if name not in self._by_group:
            self._by_group[name] = Bucket(PER_ADDRESS, PER_ADDRESS / 60, PER_ADDRESS, now)
        self._by_group.move_to_end(name)
        if len(self._by_group) > REMEMBERED:
            # Forgetting one forgives it; ``_all`` bounds what that can cost.
            self._by_group.popitem(last=False)
        return self._by_group[name]


def group(address: str) -> str:
    """What counts as one sender: an IPv4 address, or an IPv6 /64, of which anybody has one whole."""
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
    """Where a request came from: the last entry of X-Forwarded-For where a trusted proxy says it, and the connection's
    own address otherwise. Earlier entries are whatever the sender wrote."""
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
