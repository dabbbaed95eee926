"""The rules that a release brings along for its visitors, one module each.

A rule has one map, whose keys are slots (``e3-blue``): what a release wants holds for its slot, and a revert brings
back what held before. One more rule is a module and a line in ``ALL``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.adapters.haproxy.rules import body, paths
from pipeline.config.http.keys import Http


@dataclass(frozen=True)
class Rule:
    """``map``: its file; ``value``: what the map has for a slot, "" for nothing, never with a line break; ``lines``: of
    the public frontends, once ``txn.slot`` is known."""

    map: str
    value: Callable[[Http], str]
    lines: str


ALL = (
    Rule(body.MAP, body.value, body.LINES),
    Rule(paths.STRIP, paths.strip_value, paths.STRIP_LINES),
)
MAPS = tuple(rule.map for rule in ALL)
LINES = "\n    ".join(rule.lines for rule in ALL)


def values(http: Http) -> Mapping[str, str]:
    """By map, what a slot has there; {} if the release wants nothing."""
    return {rule.map: value for rule in ALL if (value := rule.value(http))}
