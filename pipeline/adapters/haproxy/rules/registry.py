"""The rules that a release brings along for its visitors, one module each.

A rule has one map, whose keys are slots (``e3-blue``): what a release wants holds for its slot, and a revert brings
back what held before. One more rule is a module and a line in ``ALL``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.adapters.haproxy.rules import allow, basic, body, paths, redirects
from pipeline.config.http.keys import Http


def _alone(slot: str, value: str) -> Mapping[str, str]:
    return {slot: value}


@dataclass(frozen=True)
class Rule:
    """``map``: its file; ``value``: what the map has for a slot, "" for nothing, never with a line break; ``lines``: of
    the public frontends, once ``txn.slot`` is known; ``entries``: of the map, for a slot and its value; ``guards``:
    it keeps people out, so a proxy that does not know it must not serve the release."""

    map: str
    value: Callable[[Http], str]
    lines: str
    entries: Callable[[str, str], Mapping[str, str]] = _alone
    guards: bool = False


ALL = (
    Rule(allow.MAP, allow.value, allow.LINES, allow.entries, guards=True),
    Rule(basic.MAP, basic.value, basic.LINES, basic.entries, guards=True),
    # Before what changes the path: they are for that which was asked for.
    Rule(redirects.EXACT, redirects.exact, redirects.LINES, redirects.entries),
    Rule(redirects.BELOW, redirects.below, "", redirects.entries),
    Rule(body.MAP, body.value, body.LINES),
    Rule(paths.STRIP, paths.strip_value, paths.STRIP_LINES),
)
MAPS = tuple(rule.map for rule in ALL)
TABLES = (allow.WITHIN, allow.CLOSEST)
"""More maps, in the order in which they get new entries; they lose entries in the other one, after all others."""

# Before those of the rules. An authority asks for a file of one name, which cannot lead anywhere else.
_PASSES = """
    http-request set-var(txn.passes) bool(true) if { var(txn.probe) -m bool } || { method GET HEAD } \
{ path -m reg ^/[.]well-known/acme-challenge/[A-Za-z0-9_-]+$ }
""".strip()


def lines(token: str) -> str:
    """Of the public frontends. ``token``: a secret of the proxy."""
    found = "\n    ".join([_PASSES, *(rule.lines for rule in ALL if rule.lines)])
    return found.replace(basic.KEY, basic.key(token))


def values(http: Http) -> Mapping[str, str]:
    """By map, what a slot has there; {} if the release wants nothing."""
    return {rule.map: value for rule in ALL if (value := rule.value(http))}


def maps(slots: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """All maps. ``slots``: the values of each one."""
    found: dict[str, dict[str, str]] = {name: {} for name in MAPS}
    for slot, own in slots.items():
        for rule in ALL:
            if rule.map in own:
                found[rule.map] |= rule.entries(slot, own[rule.map])
    return found | allow.tables(own[allow.MAP] for own in slots.values() if allow.MAP in own)


def kept(name: str, wanted: Mapping[str, Mapping[str, str]], entry: str) -> bool:
    """Whether an entry of one of ``TABLES`` stays that is not in ``wanted``, which has all maps."""
    return name == allow.WITHIN and allow.kept(entry, wanted[allow.MAP])


def guarded(own: Mapping[str, str]) -> tuple[str, ...]:
    """The maps without which a slot with those values would be open to all."""
    return tuple(rule.map for rule in ALL if rule.guards and rule.map in own)
