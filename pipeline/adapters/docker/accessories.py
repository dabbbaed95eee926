"""Accessories on Docker: one container each, with a fixed address in the network of every environment that uses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.adapters.docker import containers
from pipeline.adapters.docker.tools.terminals import DockerTerminals
from pipeline.adapters.docker.volumes.bodies import volume_name
from pipeline.adapters.docker.volumes.owners import OwnedVolumes
from pipeline.adapters.docker_api import labels, registry
from pipeline.adapters.docker_api.addresses import subnet
from pipeline.adapters.docker_api.api import Found
from pipeline.adapters.docker_api.container_calls import UNLESS_STOPPED
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.dumps import Dumps, described
from pipeline.adapters.workload import CAP_DROP, fingerprint
from pipeline.config.settings import Settings
from pipeline.domain.accessories import (
    AccessoryRef,
    AccessorySpec,
    AccessoryState,
    Attachment,
    remembered,
    slot_ref_of,
)
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import SLOTS
from pipeline.domain.events import Event
from pipeline.errors import ConfigError, EngineFailed, TryAgain
from pipeline.lib.units import show_size
from pipeline.ports.clock import Watch

PIDS = 4096  # processes and threads of one accessory
ASK = 3.0  # seconds for a connection to its port
_STATES = {"created": "created", "running": "running", "restarting": "starting", "paused": "starting"}


def accessory_name(settings: Settings, ref: AccessoryRef) -> str:
    """Of its container."""
    return f"{settings.instance}-{ref.name}-{ref.environment}"


def accessory_ref(found: Mapping[str, str], engine: str) -> AccessoryRef:
    """From the labels of its container."""
    return AccessoryRef(found[labels.ACCESSORY], found[labels.ACCESSORY_IN], engine)


def address(settings: Settings, attachment: Attachment) -> str:
    """Its address in the network of that environment."""
    return str(subnet(settings, attachment.index).network_address + attachment.place)


def accessory_body(settings: Settings, spec: AccessorySpec) -> Body:
    """Its container, still without networks and secrets. The labels are none of those by which slots are found."""
    config, ref = spec.config, spec.ref
    body: Body = {
        "Image": config.image,
        "Env": [f"{name}={value}" for name, value in config.env.items()],
        "HostConfig": {
            "Memory": config.memory,
            "MemorySwap": config.memory,
            "NanoCpus": round(config.cpu * 1e9),
            "PidsLimit": PIDS,
            "LogConfig": labels.LOGS,
            "SecurityOpt": ["no-new-privileges"],
            "CapDrop": CAP_DROP,
            "RestartPolicy": UNLESS_STOPPED,
        },
    }
    if config.command:
        body["Cmd"] = list(config.command)
    if config.volume:
        mount = {"Type": "volume", "Source": volume_name(settings, ref.volume), "Target": config.volume}
        body["HostConfig"]["Mounts"] = [mount]
    spec_hash = fingerprint({**body, "Secrets": spec.secrets})
    body["Labels"] = {
        labels.INSTANCE: settings.instance,
        labels.ACCESSORY: ref.name,
        labels.ACCESSORY_IN: ref.environment,
        labels.MEMORY: str(config.memory),
        labels.STOP: str(max(1, round(config.stop))),
        labels.SPEC: spec_hash,
        labels.MADE: remembered(spec),
    }
    body["StopTimeout"] = max(1, round(config.stop))
    return body


class DockerAccessories(Dumps, DockerTerminals, OwnedVolumes):
    """See ``ports.Accessories``."""

    def keep_accessory(self, spec: AccessorySpec, watch: Watch) -> bool:
        acted = sum(self._ensure_network(slot_ref_of(spec, one)) for one in spec.attached) > 0
        found = self._container(spec.ref)
        if found is None:
            self._provide(spec, watch)
            watch.check()
            if spec.config.volume:
                self._provide_volume(spec.ref.volume, spec.config.image)
            found, acted = self._create(spec), True
        acted |= self._connect_all(spec, found)
        if found["State"]["Status"] not in ("running", "restarting"):
            if spec.config.volume:
                self.settle_volume(spec.ref.volume)
            watch.check()
            self._api.start(found["Id"])
            acted = True
        return acted

    def provide_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        self._provide(spec, watch)

    def replace_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        found = self._container(spec.ref)
        if found and found["Config"]["Labels"].get(labels.SPEC) != self.accessory_hash(spec):
            self._provide(spec, watch)
            spec.reveal()  # a secret that cannot be read is noticed while it still runs
            watch.check()
            self._halt(found)
            watch.check()
            self._api.remove_keeping_volumes(found["Id"])
        self.keep_accessory(spec, watch)

    def halt_accessory(self, ref: AccessoryRef) -> None:
        if found := self._container(ref):
            self._halt(found)

    def remove_accessory(self, ref: AccessoryRef) -> None:
        if found := self._container(ref):
            self._halt(found)
            self._api.remove_keeping_volumes(found["Id"])

    def detach_accessory(self, ref: AccessoryRef, attachment: Attachment) -> None:
        slot = SlotRef(attachment.pipeline, ref.environment, attachment.index, SLOTS[0], ref.engine)
        name, found = containers.network_name(self._settings, slot), self._container(ref)
        if found and name in found["NetworkSettings"]["Networks"]:
            self._api.disconnect_by_name(found["Id"], name)

    def restart_accessory(self, spec: AccessorySpec, watch: Watch) -> None:
        watch.check()
        self.halt_accessory(spec.ref)
        self.keep_accessory(spec, watch)

    def accessory_state(self, ref: AccessoryRef) -> AccessoryState:
        found, name = self._container(ref), accessory_name(self._settings, ref)
        if found is None:
            return AccessoryState(name, "missing")
        state, restarts = found["State"], int(found.get("RestartCount") or 0)
        status = _STATES.get(state["Status"], "exited")
        code, memory = int(state["ExitCode"]) if status == "exited" else None, bool(state.get("OOMKilled"))
        if status != "exited" and restarts:
            code, memory = self._api.last_end(found)
        spec = found["Config"]["Labels"].get(labels.SPEC, "")
        return AccessoryState(
            name, status, spec, code, memory, restarts, str(found["Config"].get("Image", ""))
        )

    def accessory_unready(self, spec: AccessorySpec) -> str:
        state, config = self.accessory_state(spec.ref), spec.config
        if state.state != "running":
            return described(state)
        if config.health.run:
            code, output = self._api.execute(state.container, config.health.run)
            last = output.strip().splitlines()[-1:] or ["no output"]
            return "" if code == 0 else f"{config.health.run[0]} exited with {code}: {last[0][:200]}"
        if config.tcp and spec.attached:
            try:
                self._probe.tcp(address(self._settings, spec.attached[0]), config.tcp, ASK)
            except TryAgain as error:
                return error.message
        return ""

    def accessory_output(self, ref: AccessoryRef, lines: int) -> tuple[str, ...]:
        return self._api.output(accessory_name(self._settings, ref), lines)

    def accessory_hash(self, spec: AccessorySpec) -> str:
        return str(accessory_body(self._settings, spec)["Labels"][labels.SPEC])

    def accessories(self) -> Iterable[AccessoryRef]:
        found = self._api.containers(self._own, labels.ACCESSORY)
        return sorted((accessory_ref(one["Labels"], self._key) for one in found), key=lambda ref: ref.id)

    # ── its container ────────────────────────────────────────────────────────

    def _container(self, ref: AccessoryRef) -> Found | None:
        """Raises EngineFailed if another program's container has its name."""
        name = accessory_name(self._settings, ref)
        found = self._api.container(name)
        if found and (found["Config"]["Labels"] or {}).get(labels.ACCESSORY) != ref.name:
            raise EngineFailed(
                f"a container named {name} exists, and it is not the accessory {ref.id}.",
                advice=f"Rename it (`docker rename {name} NEW`), or rename the accessory in pipelines.yaml.",
            )
        return found

    def _provide(self, spec: AccessorySpec, watch: Watch) -> None:
        """Room and the image."""
        config = spec.config
        self._insist_on_room(
            config.memory,
            f"{spec.ref.id}: {show_size(config.memory)}",
            f"Lower `memory` under accessories.{spec.ref.name}, or use a larger machine.",
            apart=lambda one: (
                one["Labels"].get(labels.ACCESSORY) == spec.ref.name
                and one["Labels"].get(labels.ACCESSORY_IN) == spec.ref.environment
            ),
        )
        if self._api.image(config.image) is None:
            self._pull(spec, watch)

    def _pull(self, spec: AccessorySpec, watch: Watch) -> None:
        """Raises EngineFailed if the image cannot be had, which was tried for long enough, and TryAgain if the Engine
        does not answer."""
        image = spec.config.image
        try:
            registry.pull(self._api, self._clock, image, None, _ignore, watch)
        except (ConfigError, EngineFailed, TryAgain) as error:
            if isinstance(error, TryAgain):
                self._api.image(image)  # does the Engine answer?
            raise EngineFailed(
                f"the accessory {spec.ref.id} has no image: {error.message}",
                advice=f"`image` under accessories.{spec.ref.name} in pipelines.yaml names it; `docker pull {image}` "
                "on the Engine's machine tries the same.",
                again=True,
            ) from error

    def _create(self, spec: AccessorySpec) -> Found:
        """Idempotent: another process may have created it at the same moment."""
        name, first = accessory_name(self._settings, spec.ref), spec.attached[0]
        body = containers.with_secrets(accessory_body(self._settings, spec), spec.reveal(), ())
        network = containers.network_name(self._settings, slot_ref_of(spec, first))
        body["HostConfig"] = {**body["HostConfig"], "NetworkMode": network}
        body["NetworkingConfig"] = {"EndpointsConfig": {network: self._endpoint(first)}}
        try:
            self._api.create(name, body)
        except DockerRefused as error:
            if error.status != 409:
                raise
        found = self._container(spec.ref)
        if found is None:
            raise EngineFailed(f"{name} was removed while it was made.", advice="Try again.", again=True)
        return found

    def _halt(self, found: Found) -> None:
        limit = int(found["Config"]["Labels"].get(labels.STOP) or 10)
        self._api.stop_within(found["Id"], limit)

    # ── networks ─────────────────────────────────────────────────────────────

    def _endpoint(self, one: Attachment) -> Body:
        return {"IPAMConfig": {"IPv4Address": address(self._settings, one)}, "Aliases": list(one.names)}

    def _connect_all(self, spec: AccessorySpec, found: Found) -> bool:
        """Connects it to the networks of its environments, and disconnects it from networks that are gone: Docker does
        not start a container that has one."""
        has, acted = found["NetworkSettings"]["Networks"], False
        wanted = {
            containers.network_name(self._settings, slot_ref_of(spec, one)): one for one in spec.attached
        }
        for name in has:
            if name not in wanted and self._api.network(name) is None:
                self._api.disconnect_by_name(found["Id"], name)
                acted = True
        for name, one in wanted.items():
            network = self._api.network(name)
            if network is None or self._as_wanted(has.get(name), one, network):
                continue
            if name in has:
                self._api.disconnect_by_name(found["Id"], name)
            self._api.connect(found["Id"], network, address(self._settings, one), one.names)
            acted = True
        return acted

    def _as_wanted(self, endpoint: Found | None, one: Attachment, network: Found) -> bool:
        if endpoint is None:
            return False
        fixed = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
        named = set(one.names) <= set(endpoint.get("Aliases") or ())
        same = endpoint.get("NetworkID") in ("", network["Id"])
        return fixed == address(self._settings, one) and named and same

    def _detach_from(self, ref: SlotRef) -> None:
        """Disconnects every accessory from an environment's network, so that the network can be removed."""
        name = containers.network_name(self._settings, ref)
        for one in self._api.containers(self._own, labels.ACCESSORY):
            if name in ((one.get("NetworkSettings") or {}).get("Networks") or {}):
                self._api.disconnect_by_name(one["Id"], name)


def _ignore(_event: Event) -> None:
    """Progress is not shown while a run waits."""
