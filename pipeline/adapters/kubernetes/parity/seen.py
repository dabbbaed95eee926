"""What runs in a slot on a cluster, as properties that can be compared. Pure."""

from __future__ import annotations

import json

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.capacity import parse_quantity
from pipeline.adapters.kubernetes.manifests import NO_HOST
from pipeline.adapters.kubernetes.pods.state import app_spec
from pipeline.adapters.kubernetes.workload.routes import entries_of
from pipeline.config.parity.properties import SET, Value, plain
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.parity import seen


def inside(spec: SlotSpec, live: KubeObject, wanted: KubeObject) -> dict[str, Value | None]:
    """``live``, ``wanted``: the Deployment as it is, and as Pushlive makes it, with the cluster's defaults in both."""
    service = spec.config.service
    has, made = (app_spec(one["spec"]["template"]["spec"]) for one in (live, wanted))
    found: dict[str, Value | None] = {
        "image": seen.image(spec.image if has["image"] == made["image"] else str(has["image"])),
    }
    for key, property_name, shown in (("memory", "memory", _memory), ("cpu", "cpu", _cores)):
        sides = [((one.get("resources") or {}).get("limits") or {}).get(key) for one in (has, made)]
        if sides[0] != sides[1]:
            found[property_name] = shown(sides[0]) if sides[0] else plain("no limit")
    asked = [(one.get("resources") or {}).get("requests") or {} for one in (has, made)]
    if asked[0] != asked[1]:
        found["requests"] = plain(json.dumps(asked[0], sort_keys=True))
    if spec.web and not service.autoscaled:
        found["replicas"] = seen.count(int(live["spec"].get("replicas") or 0))
    if has.get("args") != made.get("args"):
        found["command"] = plain(json.dumps(has.get("args") or []))
    found |= {f"secrets.{name}": plain(SET) for name in spec.given}
    if has.get("envFrom") != made.get("envFrom"):
        found["env"] = seen.hidden(json.dumps(has.get("envFrom") or []))
    return found | _variables(spec, has, made)


def hosts(ingress: KubeObject | None, wanted: tuple[str, ...]) -> dict[str, Value | None]:
    """Those that the Ingress routes, if they are not these."""
    has = set(entries_of(ingress) if ingress else ()) - {NO_HOST}
    return {} if has == set(wanted) else {"hosts": plain(", ".join(sorted(has)) or "none")}


def tls(ingress: KubeObject | None, spec: SlotSpec) -> Value:
    """Without an Ingress: as the one that comes with the spec."""
    to_come = bool(spec.hosts and spec.config.service.kubernetes.ingress.tls)
    return plain("on" if (ingress["spec"].get("tls") if ingress else to_come) else "off")


def _variables(spec: SlotSpec, has: KubeObject, made: KubeObject) -> dict[str, Value | None]:
    """Those that the container itself has otherwise than Pushlive gives it. The configuration's own come from a
    ConfigMap whose name has the hash of its content."""
    sides = [{str(one["name"]): one for one in side.get("env") or ()} for side in (has, made)]
    found: dict[str, Value | None] = {}
    for name in sorted({*sides[0], *sides[1]}):
        there = sides[0].get(name)
        if there != sides[1].get(name):
            found[f"env.{name}"] = seen.hidden(_value(there)) if there else None
    for name in sorted(spec.given.keys() & sides[0].keys()):
        found[f"secrets.{name}"] = plain("replaced by a variable")
    return found


def _value(variable: KubeObject) -> str:
    return str(variable["value"]) if "value" in variable else json.dumps(variable, sort_keys=True)


def _memory(quantity: str) -> Value:
    return seen.memory(int(parse_quantity(quantity)))


def _cores(quantity: str) -> Value:
    return seen.cores(float(parse_quantity(quantity)))
