"""What runs on a Docker Engine, from the labels of containers and networks and the proxy's state."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from pipeline.adapters.docker import containers
from pipeline.adapters.docker.accessories import accessory_ref
from pipeline.adapters.docker.base import EngineBase, ref_of
from pipeline.adapters.docker.processes import process_bodies
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.addresses import subnet
from pipeline.adapters.docker_api.api import Found
from pipeline.adapters.docker_api.container_calls import UNLESS_STOPPED
from pipeline.config.engines import kind_of
from pipeline.domain import accessories
from pipeline.domain.accessories import Attachment, FoundAccessory
from pipeline.domain.adoption import FoundEnvironment, FoundSlot, made_of, runs_by_schedule_alone
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.lib.secret import Secret

_Key = tuple[str, str, int]  # pipeline, environment, index


class DockerAdoption(EngineBase):
    """See ``ports.Adoption``."""

    def survey(self) -> Iterator[FoundEnvironment]:
        replicas = self._api.containers(self._own, labels.REPLICA)
        processes = self._api.containers(self._own, labels.PROCESS)
        jobs = self._api.containers(self._own, labels.CRON)
        everything = [*replicas, *processes, *self._api.networks(self._own)]
        keys = {key for one in everything if (key := _key(one["Labels"]))}
        for key in sorted(keys):
            routes = self._proxy.routes(key[2])
            # Without a web process the others tell which release is in a slot.
            found = [one for one in replicas if _key(one["Labels"]) == key]
            found = found or [one for one in processes if _key(one["Labels"]) == key]
            yield FoundEnvironment(
                *key,
                self._key,
                routes is not None,
                routes.active if routes else None,
                tuple(self._slots(found) if found else self._last_job(key, jobs)),
            )

    def _slots(self, found: list[Found]) -> Iterator[FoundSlot]:
        for ref in sorted({ref_of(one, self._key) for one in found}, key=str):
            yield self._slot(ref, [one for one in found if ref_of(one, self._key) == ref])

    def _last_job(self, key: _Key, jobs: list[Found]) -> Iterator[FoundSlot]:
        """The slot of an environment with schedules alone, as its newest run remembers it. Docker lists the second in
        which one was made."""
        own = sorted(
            (one for one in jobs if _key(one["Labels"]) == key),
            key=lambda one: (float(one["Created"]), int(one["Labels"][labels.CRON_AT])),
        )
        made = made_of(own[-1]["Labels"].get(labels.MADE)) if own else None
        if made is None or not runs_by_schedule_alone(made.config):
            return
        has = own[-1]["Labels"]
        yield FoundSlot(
            ref=ref_of(own[-1], self._key),
            release=int(has[labels.RELEASE]),
            run=int(has.get(labels.RUN) or 0),
            commit=has.get(labels.COMMIT, ""),
            spec="",
            replicas=1,
            well=True,
            created=float(own[-1]["Created"]),
            image=own[-1]["ImageID"] if kind_of(self._key).local else "",
            remote="" if kind_of(self._key).local else own[-1]["Image"],
            made=made,
        )

    def _slot(self, ref: SlotRef, found: list[Found]) -> FoundSlot:
        found = sorted(found, key=lambda one: self._place(ref, one))
        first = found[0]["Labels"]
        web = labels.REPLICA in first
        return FoundSlot(
            ref=ref,
            release=int(first[labels.RELEASE]),
            run=int(first.get(labels.RUN) or 0),
            commit=first.get(labels.COMMIT, ""),
            spec=first.get(labels.SPEC, ""),
            replicas=len(found) if web else 1,
            # Processes run in the slot that serves alone, and one that fails is started again and again.
            well=(all if web else any)(self._well(one) for one in found),
            created=float(found[0]["Created"]),
            image=found[0]["ImageID"] if kind_of(self._key).local else "",
            remote="" if kind_of(self._key).local else found[0]["Image"],
            replica=self._place(ref, found[0]),
            made=made_of(first.get(labels.MADE)),
        )

    def _place(self, ref: SlotRef, one: Found) -> int:
        has = one["Labels"]
        if labels.REPLICA in has:
            return int(has[labels.REPLICA])
        return containers.place_of(self._settings, ref, int(has[labels.RELEASE]), has[labels.ADDRESS])

    def _well(self, one: Found) -> bool:
        """True if it runs, and was ready: only then Docker is told to start it again always."""
        inspected = self._api.container(one["Id"])
        policy = inspected["HostConfig"]["RestartPolicy"] if inspected else {}
        runs = ("running",) if labels.REPLICA in one["Labels"] else ("running", "restarting")
        return bool(one["State"] in runs and policy.get("Name") == UNLESS_STOPPED["Name"])

    def accessories_found(self) -> Iterator[FoundAccessory]:
        networks = {one["Name"]: one for one in self._api.networks(self._own)}
        for one in self._api.containers(self._own, labels.ACCESSORY):
            if inspected := self._api.container(one["Id"]):
                yield self._accessory(inspected, networks)

    def _accessory(self, found: Found, networks: dict[str, Found]) -> FoundAccessory:
        own, variables = found["Config"]["Labels"], found["Config"]["Env"] or ()
        pairs = (text.partition("=") for text in variables)
        endpoints = found["NetworkSettings"]["Networks"].items()
        short = found["Id"][:12]  # an alias of every container, with some versions of the Engine
        places = (
            self._attachment(end, networks[name]["Labels"], short)
            for name, end in endpoints
            if name in networks
        )
        return FoundAccessory(
            accessory_ref(own, self._key),
            own.get(labels.SPEC, ""),
            tuple(place for place in places if place),
            {name: Secret(value) for name, _, value in pairs},
            accessories.made_of(own.get(labels.MADE)),
        )

    def _attachment(self, endpoint: Found, network: dict[str, str], short: str) -> Attachment | None:
        """None for a network that is no environment's, or without a fixed address."""
        key, fixed = _key(network), (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
        if key is None or not fixed:
            return None
        place = int(ip_address(fixed)) - int(subnet(self._settings, key[2]).network_address)
        names = tuple(sorted({*(endpoint.get("Aliases") or ())} - {short}))
        return Attachment(key[0], key[2], names, place) if place in accessories.PLACES else None

    def spec_hash(self, spec: SlotSpec, replica: int) -> str:
        if spec.web:
            return str(containers.slot_body(self._settings, spec, replica)["Labels"][labels.SPEC])
        bodies = list(process_bodies(self._settings, spec).values())
        return str(bodies[replica - 1]["Labels"][labels.SPEC]) if 0 < replica <= len(bodies) else ""


def _key(found: dict[str, str]) -> _Key | None:
    """The environment that a container or network belongs to; None for the proxy."""
    if labels.INDEX not in found or labels.ENVIRONMENT not in found:
        return None
    return found[labels.PIPELINE], found[labels.ENVIRONMENT], int(found[labels.INDEX])
