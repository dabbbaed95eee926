"""Paths of a release that lead elsewhere (308): ``http.redirects``.

``redirects.map`` has the very paths, ``e3-blue/old`` → ``/new``. ``below.map`` has those before `*`, of which the
longest holds, ``e3-blue/blog/`` → ``3.https://blog.example/``: with which of the fields between slashes the rest of the
path begins that is put there, 0 if nothing is. It has no slash in front: `//evil.example` would be another host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pipeline.config.http.keys import Http
from pipeline.config.http.redirects import DEEPEST

EXACT, BELOW = "redirects.map", "below.map"

_FOUND = "{ var(txn.lead) -m found }"
_WHERE = "%[var(txn.lead)]%[var(txn.rest)]"
LINES = "\n    ".join(
    f"http-request {line}"
    for line in [
        "set-var-fmt(txn.led) %[var(txn.slot)]%[path]",
        f"set-var(txn.lead) var(txn.led),map(/proxy/{EXACT}) unless {{ var(txn.passes) -m bool }}",
        f"set-var(txn.below) var(txn.led),map_beg(/proxy/{BELOW}) unless {_FOUND} or {{ var(txn.passes) -m bool }}",
        "set-var(txn.lead) var(txn.below),field(2,.,0) if { var(txn.below) -m found }",
        "set-var(txn.rest) str()",
        *(
            f"set-var(txn.rest) path,field({number},/,0),ltrim(/\\\\) if {{ var(txn.below) -m beg {number}. }}"
            for number in range(2, DEEPEST + 2)
        ),
        f"redirect location {_WHERE}?%[query] code 308 if {_FOUND} {{ query -m len 1: }}",
        f"redirect location {_WHERE} code 308 if {_FOUND}",
    ]
)


def exact(http: Http) -> str:
    """Those of very paths, as JSON; "" for none."""
    return _text({one: to for one, to in http.redirects.items() if not one.endswith("*")})


def below(http: Http) -> str:
    """Those before `*`, the same."""
    return _text({one[:-1]: _value(one, to) for one, to in http.redirects.items() if one.endswith("*")})


def entries(slot: str, value: str) -> Mapping[str, str]:
    """What a map has for a slot, ``e3-blue``. ``value``: of ``exact`` or ``below``."""
    return {f"{slot}{path}": to for path, to in json.loads(value).items()}


def _value(one: str, to: str) -> str:
    return f"{one.count('/') + 1}.{to[:-1]}" if to.endswith("*") else f"0.{to}"


def _text(found: dict[str, str]) -> str:
    return json.dumps(found, sort_keys=True) if found else ""
