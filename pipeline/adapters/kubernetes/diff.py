"""The drift of an object on the cluster from its manifest, and who caused it. Pure.

A field that the manifest does not set is not Pushlive's: the type of a Service, the TLS section of an Ingress. Only a
Deployment's pods belong to their release as a whole, so that nothing may be added to them by hand. Server-side apply
alone is not enough to revert drift: it keeps what others added to pods, and fails if their fields exclude ours. The
object's ``managedFields`` say which manager set which field.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.names import MANAGER, SPEC
from pipeline.domain.parity.by_hand import ByHand, changed

Path = tuple[str, ...]  # as in managedFields: "f:spec", 'k:{"name":"app"}', "f:image"

PODS: Path = ("f:spec", "f:template", "f:spec")  # of a Deployment: they belong to their release
# What tells the entries of a list apart, as in the API's schema; otherwise their name.
_KEYS = {"f:ports": ("port", "protocol")}
_HIDDEN_PATHS = (".env", ".args", ".command")
SHOWN = 80  # characters of one value
LINES = 12  # about one object


def changes(live: KubeObject, wanted: KubeObject) -> list[ByHand]:
    """``Deployment hello-live-blue (kubectl-edit, 2026-11-29 00:40:12 UTC): spec.replicas: 2 → 5`` for each value that
    differs; in brackets, the other field managers that set one of them, and when each last did."""
    managers = sorted({name for name, path in _others(live) if _at(live, path) != _at(wanted, path)})
    by = "; ".join(f"{name}{_last(live, name)}" for name in managers)
    what = f"{live['kind']} {live['metadata']['name']}" + (f" ({by})" if by else "")
    found = list(_walk("spec", live.get("spec"), wanted.get("spec")))
    found += _walk("annotations", *(_own_words(one["metadata"].get("annotations")) for one in (live, wanted)))
    more = [ByHand(f"{what}: {len(found) - LINES} more")] if len(found) > LINES else []
    return [line.at(what) for line in found[:LINES]] + more


def _last(live: KubeObject, manager: str) -> str:
    """When that field manager last wrote, in the words of ``show_time``; "" if the cluster does not say."""
    entries = live["metadata"].get("managedFields") or ()
    times = [
        str(one.get("time") or "")
        for one in entries
        if one.get("manager") == manager and one.get("subresource") != "status"
    ]
    last = max(times, default="")
    return f", {last.replace('T', ' ').removesuffix('Z')} UTC" if last.endswith("Z") else ""


def other_managers(live: KubeObject) -> list[str]:
    """The field managers other than ours that set anything in ``spec``."""
    return sorted({name for name, _ in _others(live)})


def has_foreign_parts(live: KubeObject) -> bool:
    """True if another manager than ours set anything except the status."""
    entries = live["metadata"].get("managedFields") or ()
    return any(one.get("manager") != MANAGER and one.get("subresource") != "status" for one in entries)


def restored(live: KubeObject, manifest: KubeObject, *, whole: bool = False) -> KubeObject:
    """The object with its ``spec`` and annotations as the manifest says: the fields that the manifest sets, and those
    that an earlier manifest set. What the cluster assigned (an address, defaults) stays, and so do fields of others,
    except in pods. ``whole``: the fields of others go as well."""
    theirs = {path for _, path in _others(live)}
    paths = [
        path
        for manager, path in _managed(live)
        if whole or _in_pods(path) or _is_stale(path, _at(manifest, path), manager == MANAGER, path in theirs)
    ]
    rest = without(live, paths)
    rest["spec"] = _merged(("f:spec",), rest.get("spec") or {}, manifest["spec"], whole)
    if live["kind"] == "Deployment" and "replicas" not in manifest["spec"]:  # left to those who scale it
        rest["spec"]["replicas"] = live["spec"].get("replicas")
    if annotations := _own_words(manifest.get("metadata", {}).get("annotations")):
        rest["metadata"]["annotations"] = {**(rest["metadata"].get("annotations") or {}), **annotations}
    return rest


def _own_words(annotations: KubeObject | None) -> KubeObject:
    """Annotations without those that Pushlive keeps its own notes in."""
    return {key: text for key, text in (annotations or {}).items() if not key.startswith(f"{MANAGER}/")}


def _in_pods(path: Path) -> bool:
    return path[: len(PODS)] == PODS


def _is_stale(path: Path, wanted: Any, ours: bool, theirs: bool) -> bool:
    """True if the field must go before the manifest's value, ``wanted``, is merged in: a map or a list that has one
    manager as a whole is replaced, and what only an earlier manifest of ours had is removed. ``ours``, ``theirs``:
    whose it is; it may be both."""
    dropped = ours and not theirs and wanted is None
    if path[-1].startswith("k:"):  # an entry of a list; what is in it has paths of its own
        return dropped
    return dropped or isinstance(wanted, dict | list)


def _others(live: KubeObject) -> Iterator[tuple[str, Path]]:
    return ((manager, path) for manager, path in _managed(live) if manager != MANAGER)


def _managed(live: KubeObject) -> Iterator[tuple[str, Path]]:
    """Each field in ``spec`` that a manager set, with that manager."""
    for entry in live["metadata"].get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:spec")
        if fields and entry.get("subresource") != "status":
            for path in _leaves({"f:spec": fields}):
                yield str(entry.get("manager")), path


def _merged(path: Path, below: Any, above: Any, whole: bool) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        merged = {
            key: _merged((*path, f"f:{key}"), below.get(key), value, whole) for key, value in above.items()
        }
        return {**below, **merged}
    keys = _KEYS.get(path[-1], ("name",))
    if _listed(below, keys) and _listed(above, keys):
        there = {_identity(one, keys): one for one in below}
        ours = [_merged((*path, "k:"), there.get(_identity(one, keys)), one, whole) for one in above]
        # An entry with the name of one of ours is ours under another key: a Service's names are unique.
        taken = {*(_identity(one, keys) for one in above), *(one.get("name") for one in above)}
        strict = whole or _in_pods(path)
        theirs = [one for one in below if not {_identity(one, keys), one.get("name")} & taken]
        return ours if strict else ours + theirs
    return above


def _listed(values: Any, keys: tuple[str, ...]) -> bool:
    return isinstance(values, list) and all(isinstance(one, dict) and keys[0] in one for one in values)


def _identity(one: KubeObject, keys: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(one.get(key) for key in keys)


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


def _walk(path: str, live: Any, wanted: Any) -> Iterator[ByHand]:
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
        yield changed(path, _hidden(wanted), _hidden(live))
    else:
        yield changed(path, _shown(wanted), _shown(live))


def _hidden(value: Any) -> str:
    return "nothing" if value is None else "•••"


def _named(values: list[Any]) -> bool:
    return all(isinstance(one, dict) and "name" in one for one in values)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _at(rest: Any, path: Path) -> Any:
    """The value at that path, None if there is none."""
    for part in path:
        rest = _step(rest, part)
    return rest


def _remove(rest: Any, path: Path) -> None:
    rest = _at(rest, path[:-1])
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
