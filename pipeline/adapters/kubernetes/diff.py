"""How an object on the cluster differs from what it is to be, and whose hand it was. Pure.

A server-side apply alone would not do: it leaves what others added. Who set what is in the object's ``managedFields``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from pipeline.adapters.kubernetes.names import MANAGER, SPEC

Found = dict[str, Any]
Path = tuple[str, ...]  # as in managedFields: "f:spec", 'k:{"name":"app"}', "f:image"

_HIDDEN = (".env", ".args", ".command")
SHOWN = 80  # characters of one value
MOST = 12  # lines about one object


def changes(live: Found, wanted: Found) -> list[str]:
    """``Deployment hello-live-blue (kubectl-edit): spec.replicas: 5 → 2`` for each value that is otherwise; in brackets
    who changed anything in it."""
    hands = others(live)
    what = f"{live['kind']} {live['metadata']['name']}" + (f" ({', '.join(hands)})" if hands else "")
    found = list(_walk("spec", live.get("spec"), wanted.get("spec")))
    more = [f"{what}: {len(found) - MOST} more"] if len(found) > MOST else []
    return [f"{what}: {line}" for line in found[:MOST]] + more


def others(live: Found) -> list[str]:
    """The field managers beside us that set anything in ``spec``."""
    return sorted({str(entry.get("manager")) for entry in _owners(live) if entry.get("manager") != MANAGER})


def restored(live: Found, manifest: Found) -> Found:
    """The object as it is to be: what anybody set in ``spec`` is taken out, the manifest's put in. What the cluster
    itself dealt (an address, defaults) stays."""
    owned = [path for entry in _owners(live) for path in _leaves({"f:spec": entry["fieldsV1"]["f:spec"]})]
    rest = without(live, owned)
    rest["spec"] = _laid_over(rest.get("spec") or {}, manifest["spec"])
    return rest


def _owners(live: Found) -> list[Found]:
    entries = live["metadata"].get("managedFields") or ()
    return [
        one for one in entries if not one.get("subresource") and (one.get("fieldsV1") or {}).get("f:spec")
    ]


def _laid_over(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        laid = {key: _laid_over(below.get(key), value) for key, value in above.items()}
        return {**below, **laid}
    if isinstance(below, list) and isinstance(above, list) and _named(below) and _named(above):
        there = {one["name"]: one for one in below}
        return [_laid_over(there.get(one["name"]), one) for one in above]
    return above


def without(live: Found, paths: list[Path]) -> Found:
    """The object without what lies there."""
    rest = copy.deepcopy(live)
    for path in paths:
        _take(rest, path)
    return rest


def _leaves(fields: Found, above: Path = ()) -> Iterator[Path]:
    """The ends of the tree; an entry of a list that is owned itself (``.``) before what is in it."""
    for key, inside in fields.items():
        if key == ".":
            if above and above[-1].startswith("k:"):
                yield above
        elif inside:
            yield from _leaves({".": {}, **inside} if "." in inside else inside, (*above, key))
        else:
            yield (*above, key)


def _walk(path: str, live: Any, wanted: Any) -> Iterator[str]:
    if live == wanted:
        return
    if isinstance(live, dict) and isinstance(wanted, dict):
        for key in sorted({*live, *wanted}):
            if key != SPEC:  # a hash of all the rest
                yield from _walk(f"{path}.{key}", live.get(key), wanted.get(key))
    elif isinstance(live, list) and isinstance(wanted, list) and _named(live) and _named(wanted):
        before, after = ({one["name"]: one for one in side} for side in (live, wanted))
        for name in dict.fromkeys([*before, *after]):
            yield from _walk(f"{path}[{name}]", before.get(name), after.get(name))
    elif any(part in path for part in _HIDDEN) and not path.endswith((".name", "].valueFrom")):
        # A value that somebody set by hand may be a secret that no mask knows.
        yield f"{path}: {_veiled(live)} → {_veiled(wanted)}"
    else:
        yield f"{path}: {_shown(live)} → {_shown(wanted)}"


def _veiled(value: Any) -> str:
    return "nothing" if value is None else "•••"


def _named(values: list[Any]) -> bool:
    return all(isinstance(one, dict) and "name" in one for one in values)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _take(rest: Any, path: Path) -> None:
    for part in path[:-1]:
        rest = _step(rest, part)
        if rest is None:
            return
    kind, _, name = path[-1].partition(":")
    if kind == "f" and isinstance(rest, dict):
        rest.pop(name, None)
    elif kind == "k" and isinstance(rest, list):
        rest[:] = [one for one in rest if not _has(one, name)]


def _step(rest: Any, part: str) -> Any:
    kind, _, name = part.partition(":")
    if kind == "f":
        return rest.get(name) if isinstance(rest, dict) else None
    return next((one for one in rest if _has(one, name)), None) if isinstance(rest, list) else None


def _has(one: Any, keys: str) -> bool:
    return isinstance(one, dict) and all(one.get(key) == value for key, value in json.loads(keys).items())
