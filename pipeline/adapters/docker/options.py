"""What a container is given besides CPU and memory, in the Engine API's terms. Pure.

A key at its default adds nothing, so that the containers of earlier releases are what they were.
"""

from __future__ import annotations

from pipeline.adapters.docker_api.addresses import subnet
from pipeline.adapters.docker_api.labels import Body
from pipeline.config.settings import Settings
from pipeline.config.workload import binds
from pipeline.config.workload.container import GATEWAY, USUAL_SHM, limits_of, refused_devices
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import ConfigError

MACHINE = "host.docker.internal"  # the name that Docker Desktop gives the machine
TMP = "rw,nosuid,nodev,exec,mode=1777"  # counts towards the container's memory limit


def with_options(settings: Settings, body: Body, spec: SlotSpec) -> Body:
    """The container's body with what the service's keys say."""
    service = spec.config.service
    own: Body = {}
    if service.working_dir:
        own["WorkingDir"] = service.working_dir
    if service.user:
        own["User"] = service.user
    return {**body, **own, "HostConfig": {**body["HostConfig"], **_host(settings, body["HostConfig"], spec)}}


def _host(settings: Settings, there: Body, spec: SlotSpec) -> Body:
    service = spec.config.service
    host: Body = {}
    if service.shm != USUAL_SHM:
        host["ShmSize"] = service.shm
    if service.tmpfs:
        sizes = {path: f"{TMP},size={size}" for path, size in service.tmpfs.items()}
        host["Tmpfs"] = {**there.get("Tmpfs", {}), **sizes}
    if service.ulimits:
        host["Ulimits"] = [_ulimit(name, text) for name, text in sorted(service.ulimits.items())]
    if hosts := _hosts(settings, spec):
        host["ExtraHosts"] = [f"{name}:{address}" for name, address in sorted(hosts.items())]
    if service.devices:
        host["Devices"] = [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rw"}
            for path in service.devices
        ]
    if service.binds:
        host["Mounts"] = [*there.get("Mounts", ()), *(_mount(*one) for one in sorted(service.binds.items()))]
    return host


def _mount(path: str, source: str) -> Body:
    """Docker refuses a folder that is not there, where the older ``Binds`` would make one."""
    alone = source.endswith(binds.READ_ONLY)
    return {"Type": "bind", "Source": binds.folder_of(source), "Target": path, "ReadOnly": alone}


def _ulimit(name: str, text: str) -> Body:
    soft, hard = limits_of(text)
    return {"Name": name, "Soft": soft, "Hard": hard}


def _hosts(settings: Settings, spec: SlotSpec) -> dict[str, str]:
    """Names and addresses. The machine's is that in the environment's network: Docker's own is missing if its default
    bridge is switched off."""
    machine = str(subnet(settings, spec.ref.index).network_address + 1)
    given = spec.config.service.extra_hosts
    own = {MACHINE: GATEWAY} if spec.form else {}
    return {name: machine if to == GATEWAY else to for name, to in {**own, **given}.items()}


def refuse_binds(settings: Settings, spec: SlotSpec) -> None:
    """Raises ConfigError for a folder that the settings do not allow."""
    for folder, why in binds.refused(spec.config.service.binds.values(), settings.binds):
        raise ConfigError(
            f"{spec.ref.pipeline}-{spec.ref.environment}: containers are not given {folder} of the machine: {why}.",
            advice="Add the folder to PUSHLIVE_BINDS and restart the service, or remove it from `binds`.",
        )


def refuse_devices(settings: Settings, spec: SlotSpec) -> None:
    """Raises ConfigError for a device that the settings do not allow."""
    if refused := refused_devices(spec.config.service.devices, settings.devices):
        raise ConfigError(
            f"{spec.ref.pipeline}-{spec.ref.environment}: {', '.join(refused)} is not among the devices that "
            "containers may be given.",
            advice="Add it to PUSHLIVE_DEVICES and restart the service, or remove it from `devices`.",
        )
