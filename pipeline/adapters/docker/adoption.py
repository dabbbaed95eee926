"""What runs on a Docker Engine, from the labels of containers and networks and the proxy's state."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.adapters.docker import containers
from pipeline.adapters.docker.base import EngineBase, ref_of
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import Found
from pipeline.adapters.docker_api.container_calls import UNLESS_STOPPED
from pipeline.config.engines import kind_of
from pipeline.domain.adoption import FoundEnvironment, FoundSlot, made_of
from pipeline.domain.engine_types import SlotRef, SlotSpec

_Key = tuple[str, str, int]  # pipeline, environment, index


class DockerAdoption(EngineBase):
    """See ``ports.Adoption``."""

    def survey(self) -> Iterator[FoundEnvironment]:
        replicas = self._api.containers(self._own, labels.REPLICA)
        everything = [*replicas, *self._api.networks(self._own)]
        keys = {key for one in everything if (key := _key(one["Labels"]))}
        for key in sorted(keys):
            routes = self._proxy.routes(key[2])
            found = [one for one in replicas if _key(one["Labels"]) == key]
            yield FoundEnvironment(
                *key,
                self._key,
                routes is not None,
                routes.active if routes else None,
                tuple(self._slots(found)),
            )

    def _slots(self, found: list[Found]) -> Iterator[FoundSlot]:
        for ref in sorted({ref_of(one, self._key) for one in found}, key=str):
            yield self._slot(ref, [one for one in found if ref_of(one, self._key) == ref])

    def _slot(self, ref: SlotRef, found: list[Found]) -> FoundSlot:
        found = sorted(found, key=lambda one: int(one["Labels"][labels.REPLICA]))
        first = found[0]["Labels"]
        return FoundSlot(
            ref=ref,
            release=int(first[labels.RELEASE]),
            run=int(first.get(labels.RUN) or 0),
            commit=first.get(labels.COMMIT, ""),
            spec=first.get(labels.SPEC, ""),
            replicas=len(found),
            well=all(self._well(one) for one in found),
            created=float(found[0]["Created"]),
            image=found[0]["ImageID"] if kind_of(self._key).local else "",
            remote="" if kind_of(self._key).local else found[0]["Image"],
            replica=int(first[labels.REPLICA]),
            made=made_of(first.get(labels.MADE)),
        )

    def _well(self, one: Found) -> bool:
        """True if it runs, and was ready: only then Docker is told to start it again always."""
        inspected = self._api.container(one["Id"])
        policy = inspected["HostConfig"]["RestartPolicy"] if inspected else {}
        return bool(one["State"] == "running" and policy.get("Name") == UNLESS_STOPPED["Name"])

    def spec_hash(self, spec: SlotSpec, replica: int) -> str:
        return str(containers.slot_body(self._settings, spec, replica)["Labels"][labels.SPEC])


def _key(found: dict[str, str]) -> _Key | None:
    """The environment that a container or network belongs to; None for the proxy."""
    if labels.INDEX not in found or labels.ENVIRONMENT not in found:
        return None
    return found[labels.PIPELINE], found[labels.ENVIRONMENT], int(found[labels.INDEX])
