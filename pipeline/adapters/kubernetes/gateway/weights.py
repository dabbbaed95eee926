"""How the weights of an HTTPRoute divide the visitors between what serves and a slot. Pure.

A rule belongs to the environment if it sends to its public Service, which follows the release that serves. During a
shift the slot's own Service is beside it in that rule. Nothing else of the rule changes, and afterwards it is as it
was: while a Service is alone in its rule, the weights of both add up to a thousand times its own. Beside other Services
they add up to its own, which has to be a multiple of a thousand for that.

See https://gateway-api.sigs.k8s.io/reference/spec/#httpbackendref: a weight is at most a million, 1 if it is not said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.domain.engine_types import Share
from pipeline.domain.environment import SLOTS, Slot

PERMILLE = 1000
HEAVIEST = (
    1000  # of a Service that is alone in its rule: a thousand times as much is the most that the API takes
)

Backend = dict[str, Any]


@dataclass(frozen=True)
class Backends:
    """The Services of an environment. ``namespace``: theirs; ``public``: that of what serves; ``slots``: each slot's
    own."""

    namespace: str
    public: str
    slots: Mapping[Slot, str]

    def is_public(self, backend: Backend) -> bool:
        return self._named(backend) == self.public

    def slot_of(self, backend: Backend) -> Slot | None:
        name = self._named(backend)
        return next((slot for slot, service in self.slots.items() if service == name), None)

    def _named(self, backend: Backend) -> str:
        """The Service in this namespace, "" for anything else."""
        service = backend.get("kind", "Service") == "Service" and not backend.get("group")
        here = backend.get("namespace") in (None, "", self.namespace)
        return str(backend.get("name", "")) if service and here else ""


def backends_of(namespace: str, public: str) -> Backends:
    """Of the environment whose public Service has that name."""
    return Backends(namespace, public, {slot: f"{public}-{slot}" for slot in SLOTS})


def weight(backend: Backend) -> int:
    found = backend.get("weight")
    return 1 if found is None else int(found)


def rules(route: KubeObject, backends: Backends) -> Iterator[tuple[int, list[Backend]]]:
    """The backends of each rule that sends to the environment, with its place in the route. One in which all of its
    weights are 0 was turned off by someone."""
    for place, rule in enumerate(route.get("spec", {}).get("rules") or ()):
        found: list[Backend] = rule.get("backendRefs") or []
        public = [one for one in found if backends.is_public(one)]
        slots = [one for one in found if backends.slot_of(one)]
        if public and any(map(weight, [*public, *slots])):
            yield place, found


def shared(route: KubeObject, backends: Backends) -> Share | None:
    """The slot that gets a part of the visitors; 0 % if not all rules say the same."""
    found = [_share_in(one, backends) for _, one in rules(route, backends)]
    there = [one for one in found if one]
    if not there:
        return None
    same = len(set(found)) == 1 and there[0].percent > 0
    return there[0] if same else Share(there[0].slot, 0.0)


def _share_in(found: list[Backend], backends: Backends) -> Share | None:
    slots = [one for one in found if backends.slot_of(one) and weight(one)]
    if not slots:
        return None
    slot = backends.slot_of(slots[0]) or ""
    whole = sum(weight(one) for one in found if backends.is_public(one)) + weight(slots[0])
    return Share(slot, round(weight(slots[0]) * PERMILLE / whole) / 10 if len(slots) == 1 else 0.0)


def problem(route: KubeObject, backends: Backends) -> str:
    """Why its visitors cannot be divided, without a full stop; "" if they can."""
    found = list(rules(route, backends))
    if not found:
        return f"none of its rules sends visitors to the Service {backends.public}"
    return next(filter(None, (_problem_in(place, one, backends) for place, one in found)), "")


def _problem_in(place: int, found: list[Backend], backends: Backends) -> str:
    public = [one for one in found if backends.is_public(one)]
    if len(public) > 1:
        return f"its rule {place + 1} names the Service {backends.public} twice"
    mine, others = _resting(found, backends), _others(found, backends)
    if others and mine % PERMILLE:
        return (
            f"its rule {place + 1} also sends to {others[0].get('name')}, and {backends.public} has the weight {mine} "
            "there, which cannot be divided: multiply all weights of that rule by 1000"
        )
    if not others and mine > HEAVIEST:
        return (
            f"its rule {place + 1} gives {backends.public} the weight {mine}, which cannot be divided: write "
            f"{HEAVIEST} at most, or none, since it is alone there"
        )
    return ""


def _others(found: list[Backend], backends: Backends) -> list[Backend]:
    return [one for one in found if weight(one) and not backends.is_public(one) and not backends.slot_of(one)]


def _resting(found: list[Backend], backends: Backends) -> int:
    """The weight of the public Service while nothing is shared."""
    whole = sum(weight(one) for one in found if backends.is_public(one) or backends.slot_of(one))
    if _others(found, backends) or not _share_in(found, backends):
        return whole
    return max(1, whole // PERMILLE)


def divided(found: list[Backend], backends: Backends, share: Share | None) -> list[Backend]:
    """The backends of a rule with that share, or without one. The slot's is a copy of the public Service's, with its
    port and its filters."""
    whole = _resting(found, backends)
    part = round(share.percent * 10) if share else 0
    times = whole // PERMILLE if _others(found, backends) else whole
    result = []
    for one in found:
        slot = backends.slot_of(one)
        if slot and (weight(one) or (share and slot == share.slot)):
            continue
        if not backends.is_public(one):
            result.append(one)
        elif not share:
            result.append(one if weight(one) == whole else {**one, "weight": whole})
        else:
            result.append({**one, "weight": times * (PERMILLE - part)})
            result.append({**one, "name": backends.slots[share.slot], "weight": times * part})
    return result


def changes(route: KubeObject, backends: Backends, share: Share | None) -> list[dict[str, Any]]:
    """A JSON patch (RFC 6902) to that share, empty if it is there. It fails if someone has changed what it replaces,
    and touches nothing else: the rules are one atomic list, which server-side apply would replace as a whole."""
    result = []
    for place, found in rules(route, backends):
        if (wanted := divided(found, backends, share)) != found:
            path = f"/spec/rules/{place}/backendRefs"
            result.append({"op": "test", "path": path, "value": found})
            result.append({"op": "replace", "path": path, "value": wanted})
    return result


def refusal(route: KubeObject) -> str:
    """Why no Gateway sends it visitors, as its controller says, without a full stop; "" if one does, by what it has
    seen last."""
    parents = route.get("status", {}).get("parents") or ()
    if not parents:
        return "no Gateway has taken it up yet"
    conditions = [_condition(parent, "Accepted") for parent in parents]
    if any(one.get("status") == "True" for one in conditions):
        return ""
    said = next((one for one in conditions if one), {})
    return f"no Gateway has accepted it: {said.get('message') or said.get('reason') or 'it does not say why'}".rstrip(
        "."
    )


def unresolved(route: KubeObject) -> str:
    """What the controller that accepted it says of backends that it cannot reach; "" if there are none."""
    for parent in _accepting(route):
        found = _condition(parent, "ResolvedRefs")
        if found.get("status") == "False":
            return str(found.get("message") or found.get("reason") or "it does not say why").rstrip(".")
    return ""


def is_followed(route: KubeObject) -> bool:
    """True once every controller that has accepted it has seen its present state."""
    generation = route["metadata"].get("generation", 0)
    seen = [_condition(parent, "Accepted").get("observedGeneration", 0) for parent in _accepting(route)]
    return bool(seen) and min(seen) >= generation


def _accepting(route: KubeObject) -> list[dict[str, Any]]:
    parents = route.get("status", {}).get("parents") or ()
    return [one for one in parents if _condition(one, "Accepted").get("status") == "True"]


def _condition(parent: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((one for one in parent.get("conditions") or () if one.get("type") == kind), {})
