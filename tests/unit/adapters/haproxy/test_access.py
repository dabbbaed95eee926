"""Who is let in by `http.basic` and `http.allow`, as HAProxy's maps say it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.haproxy.config import Routes, State, files, maps, structure_of
from pipeline.adapters.haproxy.plan import map_commands
from pipeline.adapters.haproxy.rules import allow, basic, registry
from pipeline.config.http.keys import Http
from pipeline.config.settings import Settings
from pipeline.lib import codec
from pipeline.lib.secret import Secret

SETTINGS = Settings(ports="20000-20003")
BASES = ("10.0.0.0", "10.1.0.0", "10.1.2.3", "192.0.2.1", "2001:db8::", "2001:db8::7", "::1", "fc00::")
ADDRESSES = st.sampled_from([ipaddress.ip_address(base) for base in BASES])
NETWORKS = st.builds(
    lambda one, share: str(ipaddress.ip_network(f"{one}/{round(one.max_prefixlen * share)}", strict=False)),
    ADDRESSES,
    st.sampled_from([0, 0.25, 0.5, 1]),
)
SETS = st.lists(NETWORKS, min_size=1, max_size=4)


def lets_in(found: Mapping[str, Mapping[str, str]], slot: str, address: str) -> bool:
    """As HAProxy decides with those maps."""
    among = found[allow.MAP].get(slot)
    if among is None:
        return True
    one = ipaddress.ip_address(address)
    whole = ipaddress.IPv6Address(f"::ffff:{one}") if one.version == 4 else one
    known = [network for network in map(ipaddress.ip_network, found[allow.CLOSEST]) if whole in network]
    closest = max(known, key=lambda network: network.prefixlen, default=None)
    value = found[allow.CLOSEST][_key(found[allow.CLOSEST], closest)] if closest else ""
    return f"{among}/{value}" in found[allow.WITHIN]


def _key(closest: Mapping[str, str], network: object) -> str:
    return next(key for key in closest if ipaddress.ip_network(key) == network)


def slots(*sets: list[str]) -> dict[str, dict[str, str]]:
    return {f"e{i}-blue": dict(registry.values(Http(allow=tuple(one)))) for i, one in enumerate(sets)}


@given(st.lists(SETS, min_size=1, max_size=3), ADDRESSES)
def test_an_address_is_let_in_if_one_of_the_networks_has_it(
    sets: list[list[str]], address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    found = registry.maps(slots(*sets))
    for i, networks in enumerate(sets):
        wanted = any(address in ipaddress.ip_network(one) for one in networks)
        assert lets_in(found, f"e{i}-blue", str(address)) == wanted
    assert lets_in(found, "e9-blue", str(address))


@given(SETS, st.lists(SETS, max_size=2), st.lists(SETS, max_size=2), ADDRESSES)
def test_no_step_of_a_change_keeps_out_another_ones_visitor(
    own: list[str],
    before: list[list[str]],
    after: list[list[str]],
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """The steps of ``applying``."""
    old, new = registry.maps(slots(own, *before)), registry.maps(slots(own, *after))
    running = {name: dict(entries) for name, entries in old.items()}
    wanted = any(address in ipaddress.ip_network(one) for one in own)

    def steps() -> list[str]:
        grown = [c for n in registry.TABLES for c in map_commands(n, new[n], old[n], lambda _: True)]
        rules = [c for n in registry.MAPS for c in map_commands(n, new[n], old[n])]
        less = [
            c
            for n in reversed(registry.TABLES)
            for c in map_commands(n, new[n], old[n] | new[n], lambda entry, n=n: registry.kept(n, new, entry))
        ]
        return [*grown, *rules, *less]

    for command in steps():
        verb, _, path, key, *value = command.split()
        entries = running[path.rpartition("/")[2]]
        if verb == "del":
            entries.pop(key)
        else:
            entries[key] = value[0]
        assert lets_in(running, "e0-blue", str(address)) == wanted, command
    assert running[allow.CLOSEST] == new[allow.CLOSEST]
    assert running[allow.MAP] == new[allow.MAP]


def test_all_of_ipv6_is_no_address_of_ipv4() -> None:
    found = registry.maps(slots(["::/0"]))
    assert lets_in(found, "e0-blue", "2001:db8::1")
    assert not lets_in(found, "e0-blue", "10.0.0.1")


def test_what_a_slot_allows_is_read_again_and_goes_with_it() -> None:
    rules = dict(registry.values(Http(allow=("10.0.0.0/8",))))
    state = State("0123", {1: Routes("hello-dev", rules={"green": rules})})
    assert codec.load(State, codec.dump(state)) == state
    found = maps(state, SETTINGS)
    assert list(found[allow.MAP]) == ["e1-green"]
    assert found[allow.CLOSEST] == {"::ffff:0:0/96": "none", "::ffff:10.0.0.0/104": "10.0.0.0/8"}
    assert not any(maps(State("0123"), SETTINGS)[name] for name in (*registry.MAPS, *registry.TABLES))


def test_no_file_has_a_password_and_each_pair_is_its_own() -> None:
    http = Http(basic={"alice": "DEV", "bob": "DEV"})
    given = {"DEV": Secret('se:cr"et ☃')}
    value = basic.with_pairs(http, given, "e1-blue", "0123")
    state = State("0123", {1: Routes("hello-dev", rules={"blue": {basic.MAP: value}})})
    text = codec.dump(state) + "".join(files(state, SETTINGS).values())
    assert given["DEV"].reveal() not in text
    assert "alice" not in text
    entries = maps(state, SETTINGS)[basic.MAP]
    assert entries.pop("e1-blue")
    assert len(entries) == 2
    assert (
        value
        != basic.with_pairs(http, given, "e1-green", "0123")
        != basic.with_pairs(http, given, "e1-green", "4567")
    )


def test_a_password_may_be_sent_as_browsers_normalize_it() -> None:
    http, pair = Http(basic={"alice": "DEV"}), basic.hashed("e1-blue/alice:p\u00e4ssword", "0123")
    assert pair in basic.with_pairs(http, {"DEV": Secret("pa\u0308ssword")}, "e1-blue", "0123")


def test_who_asks_and_knows_no_one_lets_no_one_in() -> None:
    http = Http(basic={"alice": "DEV"})
    assert registry.maps({"e1-blue": registry.values(http)})[basic.MAP] == {"e1-blue": "asks"}
    with pytest.raises(KeyError):
        basic.with_pairs(http, {}, "e1-blue", "0123")


def test_rules_that_keep_people_out_are_known_as_such() -> None:
    assert registry.guarded(registry.values(Http(basic={"a": "B"}, allow=("::1/128",)))) == (
        allow.MAP,
        basic.MAP,
    )
    assert not registry.guarded(registry.values(Http(body=1)))


def test_the_proxys_secret_is_no_part_of_its_structure() -> None:
    one, other = (files(State(token), SETTINGS)["haproxy.cfg"] for token in ("0123", "4567"))
    assert structure_of(one) == structure_of(other)
    assert basic.key("0123") in one
    assert basic.KEY not in one
