"""Slots on Docker: each replica is a container with a fixed address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from pipeline.adapters.docker import containers, images
from pipeline.adapters.docker.accessories import DockerAccessories
from pipeline.adapters.docker.base import (
    in_slot,
    is_as_wanted,
    name_of_environment,
    place_of,
    ref_of,
)
from pipeline.adapters.docker.readiness import Readiness
from pipeline.adapters.docker.start import create, start
from pipeline.adapters.docker.written import tar_of, written
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import Found, name_of
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.tar_stream import END
from pipeline.domain.engine_types import Replica, SlotRef, SlotSpec, Written
from pipeline.domain.environment import SLOTS
from pipeline.domain.volumes import volumes_of
from pipeline.lib.parallel import together
from pipeline.lib.retry import poll
from pipeline.lib.secret import Secret
from pipeline.lib.units import show_size
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Deadline, Watch

IN_USE = 403  # the status for a network that something is in
COUNTED_WITHIN = 3.0  # seconds in which the Engine notices that a container has left its network
PULL_LIMIT = 60.0  # seconds, when a slot is repaired: other slots wait meanwhile
_STATES = {"created": "created", "running": "running", "restarting": "starting", "paused": "starting"}


class DockerSlots(DockerAccessories):
    """See ``ports.Slots``."""

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...], *, routes: bool = True) -> None:
        name = name_of_environment(ref)
        if routes:
            self._proxy.add_environment(ref.index, name, (f"{name}.localhost", *hosts))
        self._ensure_network(ref)
        if routes:
            self._proxy.join(ref.index)

    def fits(self, spec: SlotSpec) -> None:
        service, name = spec.config.service, name_of_environment(spec.ref)
        # The processes of what serves end before those of the spec start.
        ending = self._memory_of_processes(spec.ref)
        processes = sum(one.replicas for one in service.processes_in_use.values())
        wanted = service.memory * service.web_replicas + max(service.memory * processes, ending)
        self._insist_on_room(
            wanted,
            f"{name}: {service.web_replicas + processes} × {show_size(service.memory)} for {spec.ref.slot}",
            "Lower `memory` or `replicas`, or use a larger machine.",
            apart=lambda one: in_slot(one, spec.ref),
            ending=ending,
        )

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        watch.check()
        self._fill(spec, watch)

    def _fill(self, spec: SlotSpec, watch: Watch | None) -> bool:
        """Makes the slot hold just the spec's containers, started; True if that changed anything."""
        wanted = self._bodies(spec)
        found = self._in_slot(spec.ref)
        kept = {name_of(one): one for one in found if is_as_wanted(one, wanted.get(name_of(one)))}
        unfit = [one for one in found if name_of(one) not in kept]
        # Before anything ends: if the image or a secret is not available, the slot stays as it is.
        secrets: dict[str, Secret] = {}
        # Without a web process nothing is started here; the image is there before the old processes end.
        if wanted.keys() - kept.keys() or not spec.web:
            deadline = watch or Deadline(self._clock, PULL_LIMIT, "Pulling the image from its registry")
            images.provide(self._api, self._settings, self._clock, spec, deadline)
            secrets = spec.reveal()
            self._provide_volumes(spec)
        # A serving slot may lose a container that has died, never one that works.
        if any(one["State"] == "running" for one in unfit):
            self._refuse_serving(spec.ref, "started again")
            self._proxy.set_servers(spec.ref.index, spec.ref.slot, [])
        ends = [partial(self._api.end, one) for one in unfit]
        starts = [
            partial(self._begin, name, self._whole(body, spec, secrets), kept.get(name), spec)
            for name, body in wanted.items()
            # A repair leaves one that Docker is about to start again to Docker, which waits longer and longer.
            if name not in kept or kept[name]["State"] not in ("running", "" if watch else "restarting")
        ]
        for volume in volumes_of(spec) if starts else ():
            self.settle_volume(volume)
        check = watch.check if watch else None
        if _collide(unfit, wanted):
            together(ends, check)
            together(starts, check)
        else:
            together([*ends, *starts], check)
        return bool(ends or starts)

    def _whole(self, body: Body, spec: SlotSpec, secrets: dict[str, Secret]) -> Body:
        return containers.with_memory(containers.with_secrets(body, secrets, spec.filled), spec)

    def _begin(self, name: str, body: Body, found: Found | None, spec: SlotSpec) -> None:
        if found is None:
            create(self._api, name, body, spec.config.uses)
        start(self._api, name)

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        names = list(self._bodies(spec))
        Readiness(self._api, self._probe, self._clock, self._settings, self._visited(spec)).wait(
            names, emit, watch
        )
        together([partial(self._api.restart_always, name) for name in names])
        return self.replicas(spec.ref)

    def scaled(self, ref: SlotRef) -> int:  # noqa: ARG002
        return 0

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        return tuple(self._replica(one) for one in self._in_order(ref))

    def _replica(self, found: Found) -> Replica:
        """A listed container as a Replica."""
        inspected = self._api.container(found["Id"]) or {}
        state, restarts = inspected.get("State", {}), int(inspected.get("RestartCount") or 0)
        # Not the listed one: between the two questions a container that has ended may run again.
        status = state.get("Status", found["State"])
        code, memory = state.get("ExitCode"), bool(state.get("OOMKilled"))
        if status in ("running", "created", "paused"):
            code, memory = self._api.last_end(inspected) if restarts else (None, False)
        return Replica(
            name=name_of(found),
            address=found["Labels"].get(labels.ADDRESS, ""),
            port=int(found["Labels"].get(labels.PORT) or 0),
            release=int(found["Labels"].get(labels.RELEASE) or 0),
            state=_STATES.get(status, "exited"),
            exit_code=code,
            out_of_memory=memory,
            # Docker itself restarts one that has exited; it is stopped together with the daemon, or by a person.
            stopped=status == "exited" and _is_restarted(inspected),
            restarts=restarts,
            paused=status == "paused",
        )

    def _in_order(self, ref: SlotRef) -> list[Found]:
        return sorted(self._in_slot(ref), key=lambda one: int(one["Labels"][labels.REPLICA]))

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        found = self._in_order(ref)
        merged: list[tuple[str, str]] = []
        for one in found:
            prefix = f"{one['Labels'][labels.REPLICA]}: " if len(found) > 1 else ""
            stamped = (line.partition(" ") for line in self._api.output(one["Id"], lines, times=True))
            merged += [(at, prefix + text) for at, _, text in stamped]
        merged.sort(key=lambda pair: pair[0])
        return tuple(text for _, text in merged[-lines:])

    def written(self, ref: SlotRef) -> tuple[Written, ...]:
        found: dict[str, Written] = {}
        for one in self._in_order(ref):
            inspected = self._api.container(one["Id"])
            found |= {each.path: each for each in (written(self._api, inspected) if inspected else ())}
        return tuple(found.values())

    def written_tar(self, ref: SlotRef, paths: tuple[str, ...]) -> Iterator[bytes]:
        for one in self._in_order(ref):
            yield from tar_of(self._api, one, one["Labels"][labels.REPLICA], paths)
        yield END

    def stop_and_keep(self, ref: SlotRef) -> None:
        self._end_all(ref, self._api.stop)

    def stop(self, ref: SlotRef) -> None:
        self._end_all(ref, self._api.end)

    def _end_all(self, ref: SlotRef, end: Callable[[Found], None]) -> None:
        found = self._whole_slot(ref)
        self._refuse_serving(ref, "stopped")
        self._proxy.set_servers(ref.index, ref.slot, [])
        together([partial(end, one) for one in found])

    def remove(self, ref: SlotRef) -> str:
        self._proxy.switch(ref.index, None)
        for slot in SLOTS:
            self._proxy.set_servers(ref.index, slot, [])
        try:
            together([partial(self._api.end, one) for one in self._in_environment(ref)])
        finally:
            self._proxy.remove_environment(ref.index)
        self._detach_from(ref)
        return self._remove_network(containers.network_name(self._settings, ref))

    def _remove_network(self, name: str) -> str:
        """ "", or what keeps it: containers of others, or a mistake of the Engine."""

        def tried() -> tuple[str, ...]:
            try:
                self._api.remove_network(name)
            except DockerRefused as error:
                if error.status != IN_USE:
                    raise
                inside = (self._api.network(name) or {}).get("Containers") or {}
                others = sorted(str(one["Name"]) for one in inside.values())
                return (_in_it(name, others),) if others else ()
            return ("",)

        # Docker 20.10 may count a container that has ended at the same moment as others, for a while or for good.
        (kept,) = poll(tried, 0.1, self._clock, timeout=COUNTED_WITHIN) or (
            f"the network {name} stays, because Docker counts a container in it that is gone. To free it, restart the "
            "Docker daemon",
        )
        return kept

    def slots(self) -> Iterable[SlotRef]:
        found = [
            one for key in (labels.REPLICA, labels.PROCESS) for one in self._api.containers(self._own, key)
        ]
        return sorted({ref_of(one, self._key) for one in found}, key=str)

    def environments(self) -> Iterable[SlotRef]:
        found = [*self._api.containers(self._own, labels.ENVIRONMENT), *self._api.networks(self._own)]
        refs = (place_of(one, self._key) for one in found if labels.ENVIRONMENT in (one["Labels"] or {}))
        return tuple({(ref.pipeline, ref.environment): ref for ref in sorted(refs, key=str)}.values())


def _in_it(network: str, others: list[str]) -> str:
    commands = ", ".join(f"`docker network disconnect {network} {other}`" for other in others)
    return (
        f"the network {network} stays, because {', '.join(others)} is in it, which is not managed by Pushlive. To "
        f"free it: {commands}"
    )


def _is_restarted(inspected: Found) -> bool:
    policy = inspected.get("HostConfig", {}).get("RestartPolicy") or {}
    return policy.get("Name", "no") not in ("", "no")


def _collide(old: list[Found], wanted: dict[str, Body]) -> bool:
    """True if the new containers need a name or an address that the old ones have until they are removed."""
    addresses = {body["Labels"][labels.ADDRESS] for body in wanted.values()}
    return any(name_of(one) in wanted or one["Labels"].get(labels.ADDRESS) in addresses for one in old)
