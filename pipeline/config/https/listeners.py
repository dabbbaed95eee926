"""Where the proxy listens: ``0.0.0.0:80``, ``[::1]:80``, ``*:80`` for IPv4 and IPv6, several separated by commas."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

EXAMPLE = "write ADDRESS:PORT, e.g. 127.0.0.1:7080 or *:80, several separated by commas"
MOST = 16
_ANY = {"*", "0.0.0.0", "::"}  # noqa: S104 - compared


@dataclass(frozen=True)
class Listener:
    """``host``: an address without brackets, or ``*``."""

    host: str
    port: int

    @property
    def everywhere(self) -> bool:
        """True if it takes connections to every address of the machine, or all of a family."""
        return self.host in _ANY

    @property
    def both(self) -> bool:
        """True if it takes IPv4 and IPv6."""
        return self.host in ("*", "::")

    @property
    def is_ipv6(self) -> bool:
        """True for an IPv6 address; False for ``*``, which does without."""
        return ":" in self.host

    @property
    def nearby(self) -> str:
        """The address under which this machine reaches it."""
        return "127.0.0.1" if self.everywhere else self.host

    def overlaps(self, other: Listener) -> bool:
        """True if not both of them can listen."""
        if self.port != other.port:
            return False
        if self.both or other.both or self.host == other.host:
            return True
        return (self.everywhere or other.everywhere) and self.is_ipv6 == other.is_ipv6

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def listeners(value: str) -> tuple[Listener, ...]:
    """All that the setting names, () for "". Raises ValueError with what is wrong and what to write."""
    found: list[Listener] = []
    for text in (one.strip() for one in value.split(",") if value):
        one = _listener(text)
        if other := next((other for other in found if one.overlaps(other)), None):
            raise ValueError(f"{one} and {other} take the same connections: write one of them")
        found.append(one)
    if len(found) > MOST:
        raise ValueError(f"names {len(found)} addresses; {MOST} are the most")
    return tuple(found)


def port_of(value: str) -> str:
    """The port of the first listener, as text."""
    return value.partition(",")[0].rpartition(":")[2]


def _listener(text: str) -> Listener:
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"{text[:60]!r}: {EXAMPLE}")
    if host == "*":
        return Listener("*", int(port))
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if "%" not in bare:
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            address = None
        if address and (address.version == 6) == (bare != host):
            return Listener(str(address), int(port))
        if address and address.version == 6:
            raise ValueError(f"{text[:60]!r}: an IPv6 address is written in brackets, [{bare}]:{port}")
    elif bare != host:
        raise ValueError(f"{text[:60]!r}: an address with a zone is not possible; write [::]:{port}")
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", host) and not re.fullmatch(r"[0-9.]+", host):
        return Listener(host, int(port))  # a name, which HAProxy resolves when it starts, such as localhost
    raise ValueError(f"{text[:60]!r}: {host[:50]} is not a valid address; {EXAMPLE}")
