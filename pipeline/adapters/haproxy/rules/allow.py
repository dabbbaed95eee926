"""The addresses that are let in: ``http.allow``.

HAProxy 2.6 compares an address with networks that are the same for all, or looks it up in a map, which then has the
closest network. So there is one map of all networks that any slot names, and what follows from that is looked up:

| map | key → value |
| --- | --- |
| ``closest.map`` | a network that any slot names → itself. HAProxy finds the smallest one that has an address |
| ``within.map`` | ``<set>/<network>``, if that set of networks has the whole network → ``1`` |
| ``allow.map`` | a slot → its set, as a hash |

What ``within.map`` says is true whatever else is served. So while one application's networks change, nothing changes
for another's visitors, if it is written before ``closest.map`` has the network, see ``applying``.

Networks of IPv4 are written as the part of IPv6 that stands for them. That part is always in ``closest.map``: ``::/0``
means all of IPv6, and no address of IPv4.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from pipeline.config.http.access import Network
from pipeline.config.http.keys import Http

MAP, CLOSEST, WITHIN = "allow.map", "closest.map", "within.map"

_IPV4 = "::ffff:0:0/96"
_FOUND = "{ var(txn.among) -m found }"
_TEXT = 'content-type "text/plain; charset=utf-8" hdr Cache-Control no-store'
_SAID = (
    "403: your address, %[var(txn.visitor)], is not one of those that %[var(txn.name)] lets in.\\nFor its operators:"
    " `http.allow` in pipelines.yaml, and PUSHLIVE_PROXY_TRUSTED if that is the address of a proxy."
)
LINES = f"""
    http-request set-var(txn.among) var(txn.slot),map(/proxy/{MAP}) unless {{ var(txn.passes) -m bool }}
    http-request set-var(txn.closest) var(txn.visitor),map_ip(/proxy/{CLOSEST}) if {_FOUND}
    http-request set-var-fmt(txn.closest) %[var(txn.among)]/%[var(txn.closest)] if {_FOUND}
    http-request set-var(txn.within) var(txn.closest),map(/proxy/{WITHIN}) if {_FOUND}
    http-request return status 403 {_TEXT} lf-string "{_SAID}\\n" if {_FOUND} !{{ var(txn.within) -m found }}
""".strip()


def value(http: Http) -> str:
    """The networks, "" if all are let in."""
    return ",".join(sorted(http.allow))


def entries(slot: str, value: str) -> Mapping[str, str]:
    """Those of one slot in the map."""
    return {slot: _mark(value)}


def tables(values: Iterable[str]) -> dict[str, dict[str, str]]:
    """The two other maps. ``values``: of all slots."""
    return {name: dict(entries) for name, entries in _tables(tuple(sorted(set(values)))).items()}


@lru_cache(4)  # a change is seldom one of networks
def _tables(values: tuple[str, ...]) -> dict[str, dict[str, str]]:
    sets = {value: _networks(value) for value in values}
    known = {one for networks in sets.values() for one in networks}
    within = {
        f"{_mark(value)}/{one}": "1"
        for value, networks in sets.items()
        for one in sorted(map(str, _covered(known, networks)))
    }
    closest = {_as_ipv6(one): str(one) for one in sorted(known, key=str)}
    if closest:
        closest.setdefault(_IPV4, "none")
    return {CLOSEST: closest, WITHIN: within}


def kept(entry: str, values: Mapping[str, str]) -> bool:
    """Whether an entry of ``within.map`` stays, though no network of these ``tables`` needs it: a request that was just
    looked up may still ask for it. ``values``: of ``allow.map``."""
    return entry.partition("/")[0] in values.values()


def _mark(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _networks(value: str) -> set[Network]:
    return {ipaddress.ip_network(one) for one in value.split(",")}


def _covered(known: set[Network], networks: set[Network]) -> Iterator[Network]:
    """Those of the known ones that are inside one of the networks."""
    wide = {_start(one, one.prefixlen) for one in networks}
    lengths = sorted({one.prefixlen for one in networks})
    for one in known:
        if any(_start(one, length) in wide for length in lengths if length <= one.prefixlen):
            yield one


def _start(network: Network, length: int) -> tuple[int, int, int]:
    """That many bits of it."""
    return network.version, length, int(network.network_address) >> network.max_prefixlen - length


def _as_ipv6(network: Network) -> str:
    if network.version == 4:
        return f"::ffff:{network.network_address}/{96 + network.prefixlen}"
    return str(network)
