"""The Engine on one machine: containers on Docker, traffic through the proxy. Implements ports.Engine."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from pipeline.adapters.docker import containers, images, readiness
from pipeline.adapters.docker.command import run_command
from pipeline.adapters.docker_api import labels as labels_rules
from pipeline.adapters.docker_api.api import (
    ClientFactory,
    DockerApi,
    Found,
    memory_of,
    name_of,
    replica_of,
    together,
)
from pipeline.adapters.haproxy.config import backend, server_name
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.config.engines import DOCKER
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import CommandResult, Replica, Route, SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS, Slot
from pipeline.errors import DoesNotFit, EngineFailed, RequestError
from pipeline.lib.units import show_size
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Deadline, Watch
from pipeline.ports.probe import Probe

PULL_LIMIT = 60.0  # seconds, where a slot is mended beside others


class DockerEngine:
    """See ``ports.Engine`` for every method's promise. ``key``: which engine this is (``Where.key``)."""

    def __init__(
        self,
        client_factory: ClientFactory,
        proxy: Proxy,
        settings: Settings,
        probe: Probe,
        clock: Clock,
        key: str = DOCKER,
    ) -> None:
        self._key = key
        self._api = DockerApi(client_factory)
        self._proxy = proxy
        self._settings = settings
        self._probe = probe
        self._clock = clock

    # --- before

    def prepare(self, ref: SlotRef, hosts: tuple[str, ...]) -> None:
        self._proxy.add_environment(ref.index, _name(ref), (f"{_name(ref)}.localhost", *hosts))
        body = containers.network_body(self._settings, ref)
        found = self._api.network(body["Name"])
        if found and not _same_network(found, body):
            self._replace_network(found, ref)
            found = None
        if not found:
            self._api.create_network(body)
        self._proxy.join(ref.index)

    def _replace_network(self, found: Found, ref: SlotRef) -> None:
        """A network of that name with other addresses: ours and empty, or a clear error."""
        theirs = (found.get("Labels") or {}).get(labels_rules.INSTANCE) != self._settings.instance
        if theirs or found.get("Containers"):
            raise EngineFailed(
                f"A Docker network {found['Name']} is there with other addresses or another owner.",
                advice="Remove it, or restore PUSHLIVE_SUBNETS and PUSHLIVE_INSTANCE as they were.",
            )
        together([partial(self._api.end, one) for one in self._of_environment(ref)])
        self._api.remove_network(found["Name"])

    def fits(self, spec: SlotSpec) -> None:
        service = spec.config.service
        wanted, total = service.memory * service.replicas, self._api.memory()
        held = memory_of(
            one
            for one in self._api.list(self._ours, all=False)
            if not _in(one, spec.ref) and labels_rules.SLOT in one["Labels"]
        )
        if wanted + held > total:
            raise DoesNotFit(
                f"{_name(spec.ref)}: {service.replicas} × {show_size(service.memory)} for "
                f"{spec.ref.slot} do not fit beside {show_size(held)} that is promised already: "
                f"the machine has {show_size(total)}.",
                advice="Lower `memory` or `replicas`, shorten `keep_warm`, or take a larger machine.",
            )

    # --- the slot

    def start(self, spec: SlotSpec, watch: Watch) -> None:
        watch.check()
        self._fill(spec, watch)

    def _fill(self, spec: SlotSpec, watch: Watch | None) -> bool:
        """Makes the slot hold just the spec's containers, started; True if it acted."""
        wanted = self._bodies(spec)
        found = self._containers(spec.ref)
        kept = {name_of(one): one for one in found if self._keeps(one, wanted)}
        unfit = [one for one in found if name_of(one) not in kept]
        # Before anything is ended: an image or values that cannot be had leave the slot as it is.
        secrets = {}
        if wanted.keys() - kept.keys():
            patience = watch or Deadline(self._clock, PULL_LIMIT, "Taking the image from its registry")
            images.have(self._api, self._clock, spec, patience)
            secrets = spec.reveal()
        # A serving slot may lose a container that has died, never one that works.
        if any(one["State"] == "running" for one in unfit):
            self._refuse_serving(spec.ref, "filled anew")
            self._proxy.set_servers(spec.ref.index, spec.ref.slot, [])
        ends = [partial(self._api.end, one) for one in unfit]
        acts = [
            partial(self._begin, name, containers.given(body, secrets), kept.get(name))
            for name, body in wanted.items()
            if name not in kept or kept[name]["State"] != "running"
        ]
        if _clash(unfit, wanted):
            together([*ends], watch)
            together([*acts], watch)
        else:
            together([*ends, *acts], watch)
        return bool(ends or acts)

    def _keeps(self, one: Found, wanted: dict[str, labels_rules.Body]) -> bool:
        body = wanted.get(name_of(one))
        same = body is not None and body["Labels"][labels_rules.SPEC] == one["Labels"].get(labels_rules.SPEC)
        return same and one["State"] in ("running", "created", "restarting")

    def _begin(self, name: str, body: labels_rules.Body, there: Found | None) -> None:
        if there is None:
            self._api.create(name, body)
        self._api.start(name)

    def _bodies(self, spec: SlotSpec) -> dict[str, labels_rules.Body]:
        numbers = range(1, spec.config.service.replicas + 1)
        return {
            containers.container_name(self._settings, spec, n): containers.slot_body(self._settings, spec, n)
            for n in numbers
        }

    def ready(self, spec: SlotSpec, emit: Emit, watch: Watch) -> tuple[Replica, ...]:
        names = list(self._bodies(spec))
        waiting = readiness.Waiting(self._api, self._probe, self._clock, self._settings, spec)
        waiting.until_ready(names, emit, watch)
        together([partial(self._api.restart_always, name) for name in names])
        return self.replicas(spec.ref)

    def replicas(self, ref: SlotRef) -> tuple[Replica, ...]:
        found = sorted(self._containers(ref), key=lambda one: int(one["Labels"][labels_rules.REPLICA]))
        ended = {one["Id"] for one in found if one["State"] not in ("running", "created")}
        return tuple(
            replica_of(one, self._api.inspect(one["Id"]) if one["Id"] in ended else None) for one in found
        )

    def missing(self, spec: SlotSpec) -> tuple[str, ...]:
        wanted = self._bodies(spec)
        found = {name_of(one): one for one in self._containers(spec.ref)}
        problems = [f"{name} does not belong there" for name in found if name not in wanted]
        for name, body in wanted.items():
            problems += self._wrong(found.get(name), name, body)
        if not problems and self._proxy.servers(spec.ref.index, spec.ref.slot) != tuple(self._servers(spec)):
            problems.append("the proxy does not know its containers")
        return tuple(problems)

    def _wrong(self, one: Found | None, name: str, body: labels_rules.Body) -> list[str]:
        if one is None:
            return [f"{name} is missing"]
        if one["State"] not in ("running", "restarting"):
            return [f"{name} is {one['State']}"]
        if not self._keeps(one, {name: body}):
            return [f"{name} was made otherwise"]
        return self._elsewhere(name, body)

    def restore(self, spec: SlotSpec) -> bool:
        self._proxy.ensure()
        acted = self._fill(spec, None)
        for name, body in self._bodies(spec).items():
            self._verify(name, body)
            if acted:
                self._api.restart_always(name)
        if self._proxy.servers(spec.ref.index, spec.ref.slot) != tuple(self._servers(spec)):
            self.expose(spec)
            acted = True
        return acted

    def drift(self, spec: SlotSpec) -> tuple[str, ...]:  # noqa: ARG002
        return ()  # a container cannot be changed in place but for its limits; `lacks` finds one made otherwise

    def revert_drift(self, spec: SlotSpec) -> None:
        self.restore(spec)

    def _verify(self, name: str, body: labels_rules.Body) -> None:
        """The container really has the address under which the proxy knows it."""
        for problem in self._elsewhere(name, body):
            raise EngineFailed(f"{problem}.", advice=f"`docker rm -f {name}`; reconciliation makes it anew.")

    def _elsewhere(self, name: str, body: labels_rules.Body) -> list[str]:
        found = self._api.inspect(name)
        networks = found["NetworkSettings"]["Networks"] if found else {}
        has = networks.get(body["HostConfig"]["NetworkMode"], {}).get("IPAddress", "")
        wanted = body["Labels"][labels_rules.ADDRESS]
        wrong = bool(found and found["State"]["Running"] and has != wanted)
        return [f"{name} has the address {has or 'none'} instead of {wanted}"] if wrong else []

    # --- traffic

    def expose(self, spec: SlotSpec) -> None:
        self._proxy.set_servers(spec.ref.index, spec.ref.slot, self._servers(spec))

    def preview(self, spec: SlotSpec) -> Route:
        ref = spec.ref
        return Route(
            f"http://127.0.0.1:{self._settings.preview_port}",
            {"Host": f"{_name(ref)}.localhost", "X-Pushlive-Slot": backend(ref.index, ref.slot)},
            self._expected(spec),
            self._key,
        )

    def public(self, spec: SlotSpec) -> Route:
        ref = spec.ref
        return Route(
            f"http://127.0.0.1:{self._settings.port_range[ref.index]}",
            {"Host": f"{_name(ref)}.localhost", "X-Pushlive-Probe": self._proxy.token},
            self._expected(spec),
            self._key,
        )

    def switch(self, spec: SlotSpec) -> None:
        ref, wanted = spec.ref, self._servers(spec)
        if self._proxy.servers(ref.index, ref.slot) != tuple(wanted):
            raise RequestError(
                f"{_name(ref)}: the proxy does not know r{spec.release} in {ref.slot}.",
                advice="It has to be started, ready and exposed before traffic goes there.",
            )
        self._proxy.switch(ref.index, ref.slot)

    def unroute(self, ref: SlotRef) -> None:
        self._proxy.switch(ref.index, None)

    def serving(self, ref: SlotRef) -> Slot | None:
        self._proxy.ensure()
        return self._proxy.serving(ref.index)

    def open_sessions(self, ref: SlotRef) -> int:
        return self._proxy.sessions(ref.index, ref.slot)

    def drain(self, ref: SlotRef, limit: float, watch: Watch) -> int:
        self._refuse_serving(ref, "drained")
        end = self._clock.monotonic() + limit
        while count := self.open_sessions(ref):
            left = end - self._clock.monotonic()
            if left <= 0:
                self._proxy.shutdown_sessions(ref.index, ref.slot)
                return count
            watch.wait(min(0.05, left))
        return 0

    def detach(self, ref: SlotRef, mark: str) -> int:  # noqa: ARG002 - there is nothing to remember
        self._refuse_serving(ref, "detached")
        return 0  # the proxy sends the next request of every connection to the slot that serves

    def _servers(self, spec: SlotSpec) -> list[tuple[str, int]]:
        service = spec.config.service
        numbers = range(1, service.replicas + 1)
        return [
            (containers.address(self._settings, spec.ref, spec.release, n), service.port) for n in numbers
        ]

    def _expected(self, spec: SlotSpec) -> tuple[str, ...]:
        return tuple(server_name(spec.ref.index, spec.ref.slot, one) for one in self._servers(spec))

    # --- after

    def stop(self, ref: SlotRef) -> None:
        found = self._containers(ref)
        self._refuse_serving(ref, "stopped")
        self._proxy.set_servers(ref.index, ref.slot, [])
        together([partial(self._api.end, one) for one in found])

    def _refuse_serving(self, ref: SlotRef, what: str) -> None:
        if self.serving(ref) == ref.slot:
            raise RequestError(
                f"{_name(ref)}: {ref.slot} takes the traffic, it cannot be {what}.",
                advice="Switch to the other slot first.",
            )

    def command(
        self,
        spec: SlotSpec,
        name: str,
        argv: tuple[str, ...],
        env: dict[str, str],
        emit: Emit,
        watch: Watch,
    ) -> CommandResult:
        images.have(self._api, self._clock, spec, watch)
        full = containers.command_name(self._settings, spec, name)
        body = containers.command_body(self._settings, spec, name, argv, env)
        return run_command(
            self._api, self._clock, full, lambda: containers.given(body, spec.reveal()), emit, watch
        )

    def forget_command(self, spec: SlotSpec, name: str) -> None:
        self._api.remove(containers.command_name(self._settings, spec, name))

    def command_runs(self, ref: SlotRef) -> frozenset[int]:
        return frozenset(int(one["Labels"][labels_rules.RUN]) for one in self._commands(ref))

    def forget_commands(self, ref: SlotRef, run: int) -> None:
        for one in self._commands(ref):
            if one["Labels"][labels_rules.RUN] == str(run):
                self._api.remove(one["Id"])

    def _commands(self, ref: SlotRef) -> list[Found]:
        return [one for one in self._of_environment(ref) if labels_rules.COMMAND in one["Labels"]]

    def logs(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        found = sorted(self._containers(ref), key=lambda one: int(one["Labels"][labels_rules.REPLICA]))
        merged: list[tuple[str, str]] = []
        for one in found:
            prefix = f"{one['Labels'][labels_rules.REPLICA]}: " if len(found) > 1 else ""
            stamped = (line.partition(" ") for line in self._api.output(one["Id"], lines, times=True))
            merged += [(at, prefix + text) for at, _, text in stamped]
        merged.sort(key=lambda pair: pair[0])
        return tuple(text for _, text in merged[-lines:])

    def remove(self, ref: SlotRef) -> None:
        self.unroute(ref)
        for slot in SLOTS:
            self._proxy.set_servers(ref.index, slot, [])
        together([partial(self._api.end, one) for one in self._of_environment(ref)])
        self._proxy.remove_environment(ref.index)
        self._api.remove_network(containers.network_name(self._settings, ref))

    def slots(self) -> Iterable[SlotRef]:
        found = self._api.list(self._ours, labels_rules.REPLICA)
        return sorted({_ref(one, self._key) for one in found}, key=str)

    # --- what is there

    @property
    def _ours(self) -> str:
        return f"{labels_rules.INSTANCE}={self._settings.instance}"

    def _of_environment(self, ref: SlotRef) -> list[Found]:
        return self._api.list(
            self._ours,
            f"{labels_rules.PIPELINE}={ref.pipeline}",
            f"{labels_rules.ENVIRONMENT}={ref.environment}",
        )

    def _containers(self, ref: SlotRef) -> list[Found]:
        """The slot's replicas, without containers of commands."""
        return [one for one in self._of_environment(ref) if _in(one, ref)]


def _name(ref: SlotRef) -> str:
    return f"{ref.pipeline}-{ref.environment}"


def _in(one: Found, ref: SlotRef) -> bool:
    return labels_rules.REPLICA in one["Labels"] and _ref(one, ref.engine) == ref


def _clash(there: list[Found], wanted: dict[str, labels_rules.Body]) -> bool:
    """True when the new containers want a name or an address that the old ones have until they are gone."""
    addresses = {body["Labels"][labels_rules.ADDRESS] for body in wanted.values()}
    return any(
        name_of(one) in wanted or one["Labels"].get(labels_rules.ADDRESS) in addresses for one in there
    )


def _ref(one: Found, engine: str) -> SlotRef:
    labels = one["Labels"]
    index = int(labels.get(labels_rules.INDEX) or 0)
    return SlotRef(
        labels[labels_rules.PIPELINE],
        labels[labels_rules.ENVIRONMENT],
        index,
        labels[labels_rules.SLOT],
        engine,
    )


def _same_network(found: Found, body: labels_rules.Body) -> bool:
    pools = found["IPAM"]["Config"] or [{}]
    same_addresses = pools[0].get("Subnet") == body["IPAM"]["Config"][0]["Subnet"]
    labels = found.get("Labels") or {}
    return same_addresses and all(labels.get(key) == value for key, value in body["Labels"].items())
