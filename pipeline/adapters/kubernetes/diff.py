"""The drift of an object on the cluster from its manifest, and who caused it. Pure.

Server-side apply is not enough to revert drift: it keeps fields that other managers added. The object's
``managedFields`` say which manager set which field.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.names import MANAGER, SPEC

Path = tuple[str, ...]  # as in managedFields: "f:spec", 'k:{"name":"app"}', "f:image"

_HIDDEN_PATHS = (".env", ".args", ".command")
SHOWN = 80  # characters of one value
LINES = 12  # about one object


def changes(live: KubeObject, wanted: KubeObject) -> list[str]:
    """``Deployment hello-live-blue (kubectl-edit): spec.replicas: 5 → 2`` for each value that differs; in brackets, the
    other field managers of the object."""
    managers = other_managers(live)
    what = f"{live['kind']} {live['metadata']['name']}" + (f" ({', '.join(managers)})" if managers else "")
    found = list(_walk("spec", live.get("spec"), wanted.get("spec")))
    more = [f"{what}: {len(found) - LINES} more"] if len(found) > LINES else []
    return [f"{what}: {line}" for line in found[:LINES]] + more


def other_managers(live: KubeObject) -> list[str]:
    """The field managers other than ours that set anything in ``spec``."""
    return sorted(
        {str(entry.get("manager")) for entry in _managed_fields(live) if entry.get("manager") != MANAGER}
    )


def restored(live: KubeObject, manifest: KubeObject) -> KubeObject:
    """The object as the manifest says: every field of ``spec`` that a manager set is removed, then the manifest's are
    added. What the cluster itself assigned (an address, defaults) stays."""
    managed = [
        path for entry in _managed_fields(live) for path in _leaves({"f:spec": entry["fieldsV1"]["f:spec"]})
    ]
    rest = without(live, managed)
    rest["spec"] = _merged(rest.get("spec") or {}, manifest["spec"])
    return rest


def _managed_fields(live: KubeObject) -> list[KubeObject]:
    entries = live["metadata"].get("managedFields") or ()
    return [
        one for one in entries if not one.get("subresource") and (one.get("fieldsV1") or {}).get("f:spec")
    ]


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        merged = {key: _merged(below.get(key), value) for key, value in above.items()}
        return {**below, **merged}
    if isinstance(below, list) and isinstance(above, list) and _named(below) and _named(above):
        there = {one["name"]: one for one in below}
        return [_merged(there.get(one["name"]), one) for one in above]
    return above


def without(live: KubeObject, paths: list[Path]) -> KubeObject:
    """A copy of the object without those paths."""
    rest = copy.deepcopy(live)
    for path in paths:
        _remove(rest, path)
    return rest


def _leaves(fields: KubeObject, above: Path = ()) -> Iterator[Path]:
    """The leaves of a managedFields tree; a list entry that is managed itself (``.``) before what is in it."""
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
            if key != SPEC:  # a hash of everything else
                yield from _walk(f"{path}.{key}", live.get(key), wanted.get(key))
    elif isinstance(live, list) and isinstance(wanted, list) and _named(live) and _named(wanted):
        before, after = ({one["name"]: one for one in side} for side in (live, wanted))
        for name in dict.fromkeys([*before, *after]):
            yield from _walk(f"{path}[{name}]", before.get(name), after.get(name))
    elif any(part in path for part in _HIDDEN_PATHS) and not path.endswith((".name", "].valueFrom")):
        # A value set by hand may be a secret, which redaction does not know.
        yield f"{path}: {_hidden(live)} → {_hidden(wanted)}"
    else:
        yield f"{path}: {_shown(live)} → {_shown(wanted)}"


def _hidden(value: Any) -> str:
    return "nothing" if value is None else "•••"


def _named(values: list[Any]) -> bool:
    return all(isinstance(one, dict) and "name" in one for one in values)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _remove(rest: Any, path: Path) -> None:
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
