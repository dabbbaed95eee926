"""From a SlotSpec to what the Docker Engine is asked to create: plain data in the Engine API's own terms. Pure.

An environment's index decides its addresses: it has the index-th /26 of ``settings.subnets``. In it ``.1`` is the
gateway, ``.2``–``.13`` are for blue's replicas, ``.14``–``.15`` for commands, ``.17``–``.28`` for green's replicas,
``.29``–``.33`` for accessories. The upper half is divided in the same way for replicas. A slot's releases alternate
between the halves, so that a new one can start while the one before it ends.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from pipeline.adapters.docker.options import TMP, with_options
from pipeline.adapters.docker.volumes.bodies import mounts
from pipeline.adapters.docker_api.addresses import subnet
from pipeline.adapters.docker_api.labels import (
    ADDRESS,
    COMMAND,
    COMMIT,
    ENVIRONMENT,
    INDEX,
    INSTANCE,
    LOGS,
    MADE,
    MEMORY,
    NETWORKS,
    PIPELINE,
    PORT,
    RELEASE,
    REPLICA,
    RUN,
    SLOT,
    SPEC,
    STOP,
    Body,
)
from pipeline.adapters.workload import CAP_DROP, environment, fingerprint
from pipeline.config.engines import kind_of
from pipeline.config.settings import Settings
from pipeline.domain.adoption import remembered
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import AppFailed
from pipeline.lib.secret import Secret
from pipeline.lib.units import is_number


def address(settings: Settings, ref: SlotRef, release: int, replica: int) -> str:
    """The fixed address of a replica (1…12) of that release."""
    half = 32 * (release // 2 % 2)
    first = 1 if ref.slot == "blue" else 16
    return str(subnet(settings, ref.index).network_address + half + first + replica)


def place_of(settings: Settings, ref: SlotRef, release: int, fixed: str) -> int:
    """The number of the replica, or of what comes after the replicas, that has that address."""
    return int(ip_address(fixed)) - int(ip_address(address(settings, ref, release, 0)))


def network_name(settings: Settings, ref: SlotRef) -> str:
    return f"{settings.instance}-{ref.pipeline}-{ref.environment}"


def network_body(settings: Settings, ref: SlotRef) -> Body:
    """The network. Docker itself assigns only .14 and .15, to commands."""
    net = subnet(settings, ref.index)
    pool = {
        "Subnet": str(net),
        "Gateway": str(net.network_address + 1),
        "IPRange": f"{net.network_address + 14}/31",
    }
    return {
        "Name": network_name(settings, ref),
        "CheckDuplicate": True,
        "Driver": "bridge",
        "IPAM": {"Driver": "default", "Config": [pool]},
        "Labels": {
            INSTANCE: settings.instance,
            PIPELINE: ref.pipeline,
            ENVIRONMENT: ref.environment,
            INDEX: str(ref.index),
        },
    }


def container_name(settings: Settings, spec: SlotSpec, replica: int) -> str:
    return f"{network_name(settings, spec.ref)}-{spec.ref.slot}-r{spec.release}-{replica}"


def command_name(settings: Settings, spec: SlotSpec, name: str) -> str:
    return f"{network_name(settings, spec.ref)}-{spec.ref.slot}-r{spec.release}-command-{name}"


def labels(settings: Settings, spec: SlotSpec) -> dict[str, str]:
    """The labels of every container of the spec."""
    ref, joined = spec.ref, spec.config.service.networks
    return {
        **({NETWORKS: " ".join(joined)} if joined else {}),
        INSTANCE: settings.instance,
        PIPELINE: ref.pipeline,
        ENVIRONMENT: ref.environment,
        INDEX: str(ref.index),
        SLOT: ref.slot,
        RELEASE: str(spec.release),
        RUN: str(spec.run),
        COMMIT: spec.commit,
        MEMORY: str(spec.config.service.memory),
        STOP: str(stop_seconds(spec)),
    }


def stop_seconds(spec: SlotSpec) -> int:
    """The Engine accepts only whole seconds, and 0 would be a kill without SIGTERM."""
    return max(1, round(spec.config.service.stop))


def with_secrets(body: Body, secrets: dict[str, Secret], filled: Collection[str]) -> Body:
    """The body with the secrets as variables; only here do their values get in. A variable of the same name wins,
    unless it is one of ``filled``: those whose references the secret has filled in."""
    env = [one for one in body["Env"] if one.partition("=")[0] not in filled]
    names = {entry.partition("=")[0] for entry in env}
    more = [f"{name}={value.reveal()}" for name, value in secrets.items() if name not in names]
    return {**body, "Env": [*env, *more]}


def with_memory(body: Body, spec: SlotSpec) -> Body:
    """The body of a replica or process that remembers what it was made from, in case that the store is lost."""
    return {**body, "Labels": {**body["Labels"], MADE: remembered(spec)}}


def limits(spec: SlotSpec) -> Body:
    """The part of HostConfig that limits a container."""
    service = spec.config.service
    host: Body = {
        "Init": service.init,
        "Memory": service.memory,
        "MemorySwap": service.memory,  # equal to Memory: no swap
        "NanoCpus": round(service.cpu * 1e9),
        "PidsLimit": service.pids,
        "LogConfig": LOGS,
        "SecurityOpt": ["no-new-privileges"],
        "CapDrop": CAP_DROP,
    }
    if service.security == "strict":  # Docker's own seccomp profile applies by default
        host |= {"CapDrop": ["ALL"], "ReadonlyRootfs": True, "Tmpfs": {"/tmp": TMP}}  # noqa: S108 - inside
    return host


def refuse_root(spec: SlotSpec, user: str) -> None:
    """``user``: the image's ``USER``. Raises AppFailed if that may be root. A name is refused, as on Kubernetes: only
    the image's own files say which user it is."""
    user = spec.config.service.user or user
    number = user.partition(":")[0]
    if not is_number(number, 10) or int(number) == 0:
        said = f"as {user}" if user else "as root, because it names no user"
        raise AppFailed(
            f"{spec.ref.pipeline}-{spec.ref.environment}: the image runs {said}, and `security: strict` needs a "
            "user that cannot be root.",
            advice="End the Dockerfile's last stage with a number, such as `USER 10001`, and let that user read the "
            "application's files; or remove `security: strict`.",
        )


def image_of(spec: SlotSpec) -> str:
    """The image's name: its id on the local Engine, which built it; its registry reference on a remote one."""
    return spec.image if kind_of(spec.ref.engine).local else spec.remote


def slot_body(settings: Settings, spec: SlotSpec, replica: int) -> Body:
    """One replica, still without its secrets (``with_secrets``). It has no restart policy yet, so that an exit at start
    is noticed."""
    network = network_name(settings, spec.ref)
    fixed = address(settings, spec.ref, spec.release, replica)
    service = spec.config.service
    body: Body = {
        "Image": image_of(spec),
        "Env": environment(spec, {}),
        "StopTimeout": stop_seconds(spec),
        "HostConfig": {
            **limits(spec),
            **mounts(settings, spec),
            "NetworkMode": network,
            "RestartPolicy": {"Name": "no"},
        },
        "NetworkingConfig": {"EndpointsConfig": {network: {"IPAMConfig": {"IPv4Address": fixed}}}},
    }
    if service.command:
        body["Cmd"] = list(service.command)
    body = with_options(settings, body, spec)
    if service.labels:
        body["Labels"] = service.labels
    # Version numbers instead of values: a hash of a value would confirm a guess.
    what = {**body, "Secrets": spec.secrets} if spec.secrets else body
    own = {REPLICA: str(replica), ADDRESS: fixed, PORT: str(service.port), SPEC: fingerprint(what)}
    return {**body, "Labels": {**service.labels, **labels(settings, spec), **own}}


def command_body(
    settings: Settings,
    spec: SlotSpec,
    name: str,
    argv: tuple[str, ...],
    env: dict[str, str],
    entrypoint: bool = False,
) -> Body:
    """A command in a container of the release, still without its secrets. The container stays until it is removed.
    ``entrypoint``: it is given to the image's own."""
    what: Body = {"Cmd": list(argv)} if entrypoint else {"Entrypoint": list(argv[:1]), "Cmd": list(argv[1:])}
    body: Body = {
        "Image": image_of(spec),
        **what,
        "Env": environment(spec, env),
        "StopTimeout": stop_seconds(spec),
        "Labels": {**labels(settings, spec), COMMAND: name},
        "HostConfig": {
            **limits(spec),
            **mounts(settings, spec),
            "NetworkMode": network_name(settings, spec.ref),
            "RestartPolicy": {"Name": "no"},
        },
    }
    return with_options(settings, body, spec)
