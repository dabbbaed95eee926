"""What the parts of ``DockerEngine`` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pipeline.adapters.docker import containers
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import ClientFactory, DockerApi, Found
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.haproxy.config import Server, backend
from pipeline.adapters.haproxy.health import request
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.adapters.haproxy.rules import basic, registry
from pipeline.config.engines import DOCKER
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS, Slot
from pipeline.domain.naming import own_name
from pipeline.errors import DoesNotFit, EngineFailed, RequestError
from pipeline.lib.parallel import together
from pipeline.lib.units import show_size
from pipeline.ports.clock import Clock
from pipeline.ports.probe import Probe


class EngineBase:
    """``key``: which engine this is (``Where.key``)."""

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

    def _bodies(self, spec: SlotSpec) -> dict[str, Body]:
        """The slot's containers as they should be, by name."""
        numbers = range(1, spec.config.service.web_replicas + 1)
        return {
            containers.container_name(self._settings, spec, n): containers.slot_body(self._settings, spec, n)
            for n in numbers
        }

    def _servers(self, spec: SlotSpec) -> list[tuple[str, int]]:
        """The slot's containers as the proxy should know them."""
        service = spec.config.service
        numbers = range(1, service.web_replicas + 1)
        return [
            (containers.address(self._settings, spec.ref, spec.release, n), service.port) for n in numbers
        ]

    def _expose(self, spec: SlotSpec, servers: list[Server]) -> None:
        """Gives the proxy these of the slot's containers, and all that the spec says of its visitors."""
        ref, service = spec.ref, spec.config.service
        self._proxy.set_servers(
            ref.index, ref.slot, servers, service.timeout, self._check(spec), sticky=service.http.sticky,
            rules=self._rules(spec),
        )  # fmt: skip

    def _check(self, spec: SlotSpec) -> str:
        """The request by which the proxy checks the slot's containers."""
        return request(spec.config.service.health.path, self._visited(spec).health_headers)

    def _rules(self, spec: SlotSpec) -> dict[str, str]:
        """What the proxy does with the slot's visitors, see ``registry.values``. Raises what ``spec.passwords`` does,
        and EngineFailed for passwords that are not known."""
        http, ref = spec.config.service.http, spec.ref
        found = dict(registry.values(http))
        if http.basic:
            passwords = spec.passwords()
            if missing := sorted(set(http.basic.values()) - passwords.keys()):
                names = ", ".join(missing)
                raise EngineFailed(
                    f"{name_of_environment(ref)}: r{spec.release} has no value of {names} (`http.basic`), so no one"
                    " could be let in.",
                    advice=f"`pushlive deploy {ref.pipeline} --config pipelines.yaml` makes a release that has them.",
                )
            slot = backend(ref.index, ref.slot)
            found[basic.MAP] = basic.with_pairs(http, passwords, slot, self._proxy.token)
        return found

    def _visited(self, spec: SlotSpec) -> SlotSpec:
        """The spec with the scheme over which people reach the environment."""
        return replace(spec, scheme=self._proxy.schemes.of(spec.host))

    def _known_to_proxy(self, spec: SlotSpec) -> bool:
        return self._proxy.servers(spec.ref.index, spec.ref.slot) == tuple(self._servers(spec))

    @property
    def _own(self) -> str:
        """The label of everything that belongs to this instance."""
        return f"{labels.INSTANCE}={self._settings.instance}"

    def _in_environment(self, ref: SlotRef) -> list[Found]:
        """The environment's containers: replicas and commands."""
        return self._api.containers(
            self._own, f"{labels.PIPELINE}={ref.pipeline}", f"{labels.ENVIRONMENT}={ref.environment}"
        )

    def _in_slot(self, ref: SlotRef) -> list[Found]:
        """The slot's replicas."""
        return [one for one in self._in_environment(ref) if in_slot(one, ref)]

    def _ensure_network(self, ref: SlotRef) -> bool:
        """The environment's network; True if it was created."""
        body = containers.network_body(self._settings, ref)
        found = self._api.network(body["Name"])
        if found and not _same_network(found, body):
            self._remove_old_network(found, ref)
            found = None
        if not found:
            self._api.create_network(body)
        return not found

    def _remove_old_network(self, found: Found, ref: SlotRef) -> None:
        """A network of that name with other addresses: removed if it is this instance's and empty."""
        own = (found.get("Labels") or {}).get(labels.INSTANCE) == self._settings.instance
        if not own or found.get("Containers"):
            raise EngineFailed(
                f"The Docker network {found['Name']} exists with other addresses or another owner.",
                advice="Remove it, or set PUSHLIVE_SUBNETS and PUSHLIVE_INSTANCE to their former values.",
            )
        together([partial(self._api.end, one) for one in self._in_environment(ref)])
        self._api.remove_network(found["Name"])

    def _insist_on_room(
        self,
        wanted: int,
        what: str,
        advice: str,
        *,
        apart: Callable[[Found], bool] = lambda _: False,
        ending: int = 0,
    ) -> None:
        """Raises DoesNotFit unless ``wanted`` bytes of memory are there beside those that this instance's running
        containers may use. ``what``: is wanted, for the message; ``apart``: containers that do not count, as they give
        way; ``ending``: bytes of others that do."""
        running = self._api.containers(self._own, all=False)
        sizes = (int(one["Labels"].get(labels.MEMORY) or 0) for one in running if not apart(one))
        reserved, total = sum(sizes) - ending, self._api.memory()
        if wanted + reserved > total:
            raise DoesNotFit(
                f"{what} do not fit beside {show_size(reserved)} that other containers may use: the machine has "
                f"{show_size(total)}.",
                advice=advice,
            )

    def _fits_one_more(self, spec: SlotSpec, what: str, advice: str) -> None:
        """Raises DoesNotFit unless there is room for one more container like a replica of the spec. ``what``: it is
        for."""
        memory = spec.config.service.memory
        name = name_of_environment(spec.ref)
        self._insist_on_room(memory, f"{name}: {show_size(memory)} for {what}", advice)

    def _memory_of_processes(self, ref: SlotRef) -> int:
        """Bytes of memory that the environment's running processes may use."""
        found = [one for one in self._in_environment(ref) if labels.PROCESS in one["Labels"]]
        return sum(int(one["Labels"].get(labels.MEMORY) or 0) for one in found if one["State"] == "running")

    def _whole_slot(self, ref: SlotRef) -> list[Found]:
        """The slot's replicas and processes."""
        kinds = (labels.REPLICA, labels.PROCESS)
        found = [one for one in self._in_environment(ref) if any(kind in one["Labels"] for kind in kinds)]
        return [one for one in found if ref_of(one, ref.engine) == ref]

    def serving(self, ref: SlotRef) -> Slot | None:
        self._proxy.ensure()
        return self._proxy.serving(ref.index)

    def _refuse_serving(self, ref: SlotRef, what: str) -> None:
        if self.serving(ref) == ref.slot:
            raise RequestError(
                f"{name_of_environment(ref)}: {ref.slot} serves the traffic and cannot be {what}.",
                advice="Switch to the other slot first.",
            )
        shared = self._proxy.shared(ref.index)
        if shared and shared[0] == ref.slot:
            raise RequestError(
                f"{name_of_environment(ref)}: {ref.slot} serves a part of the traffic and cannot be {what}.",
                advice=f"`pushlive cancel {ref.pipeline}` gives the other slot all of it.",
            )


def name_of_environment(ref: SlotRef) -> str:
    return own_name(ref.pipeline, ref.environment)


def ref_of(one: Found, engine: str) -> SlotRef:
    """The slot that a listed container belongs to."""
    found = one["Labels"]
    index = int(found.get(labels.INDEX) or 0)
    return SlotRef(found[labels.PIPELINE], found[labels.ENVIRONMENT], index, found[labels.SLOT], engine)


def place_of(one: Found, engine: str) -> SlotRef:
    """A slot of the environment that a listed container or network belongs to."""
    return ref_of({**one, "Labels": {labels.SLOT: SLOTS[0], **one["Labels"]}}, engine)


def _same_network(found: Found, body: Body) -> bool:
    pools = found["IPAM"]["Config"] or [{}]
    same_addresses = pools[0].get("Subnet") == body["IPAM"]["Config"][0]["Subnet"]
    has = found.get("Labels") or {}
    return same_addresses and all(has.get(key) == value for key, value in body["Labels"].items())


def in_slot(one: Found, ref: SlotRef) -> bool:
    """True for a replica of that slot."""
    return labels.REPLICA in one["Labels"] and ref_of(one, ref.engine) == ref


def is_as_wanted(one: Found, body: Body | None) -> bool:
    """True if a container was created from that body, and runs or will."""
    same = body is not None and body["Labels"][labels.SPEC] == one["Labels"].get(labels.SPEC)
    return same and one["State"] in ("running", "created", "restarting")
