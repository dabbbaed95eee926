"""What containers take of the machine of a Docker Engine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from pipeline.adapters.docker.base import EngineBase
from pipeline.adapters.docker.tools import own_use, room
from pipeline.adapters.docker.tools.outputs import is_here, measured_at_once
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import Found, name_of
from pipeline.domain.capacity.room import Room
from pipeline.domain.cost.taken import Role, Size, Taken


class DockerMetering(EngineBase):
    """See ``ports.cost.Metering``. Docker reserves nothing: limits are no requests."""

    def taken(self) -> tuple[Taken, ...]:
        running = sorted(self._api.containers(self._own, all=False), key=name_of)
        found = measured_at_once(self._api, running, here=is_here(self._key))
        containers = tuple(
            _taken(one, measured.memory, measured.spent or 0.0)
            for one in running
            if (measured := found.get(name_of(one)))
        )
        return containers + (self._beside() if is_here(self._key) else ())

    def _beside(self) -> tuple[Taken, ...]:
        """What takes of this machine in no container."""
        found = (own_use.builds(), own_use.service(self._settings.data / "up.pid"))
        return tuple(one for one in found if one)

    def machine_size(self, labels: Collection[str] = ()) -> Size | None:  # noqa: ARG002
        info = self._api.info()
        return Size(float(info["NCPU"]), int(info["MemTotal"]))

    def room(self, *, takers: bool = False) -> Room:
        counted = room.takers(self._api) if takers else {}
        found = None
        if is_here(self._key):
            found = room.of_this_machine(str(self._api.info().get("DockerRootDir", "")))
        if found is None:
            found = room.through(self._api, self._system_container())
        return replace(found, takers=counted)

    def _system_container(self) -> str:
        """The proxy's, in which the Engine's machine can be seen; "" if none runs."""
        running = (
            one for one in self._api.containers(self._own, all=False) if _role(one["Labels"]) == "system"
        )
        return min(map(name_of, running), default="")


def _taken(one: Found, memory: int, spent: float) -> Taken:
    has = one["Labels"]
    role = _role(has)
    accessory = has.get(labels.ACCESSORY, "")
    return Taken(
        one["Id"],
        role,
        memory,
        pipeline=accessory or has.get(labels.PIPELINE, ""),
        environment=has.get(labels.ACCESSORY_IN if accessory else labels.ENVIRONMENT, ""),
        slot=has.get(labels.SLOT, "") if role in ("web", "process") else "",
        process=has.get(labels.PROCESS, "") if role == "process" else "",
        spent=spent,
    )


def _role(has: dict[str, str]) -> Role:
    if labels.ACCESSORY in has:
        return "accessory"
    if labels.REPLICA in has:
        return "web"
    if labels.PROCESS in has:
        return "process"
    return "command" if labels.PIPELINE in has else "system"
