"""Networks of others that containers join (`networks`). They are neither made nor removed here.

A container is found there by its own name and id alone. A stable name would lead to a warm or starting release as well,
and could be that of another application there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import DockerApi, Found, name_of
from pipeline.adapters.docker_api.labels import Body
from pipeline.config.engines import kind_of, where_of
from pipeline.config.workload.accessory import Use
from pipeline.config.workload.machine_lint import MISSING, OURS
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import ConfigError

NOTHING: Found = {
    "Config": {"Labels": {}},
    "NetworkSettings": {"Networks": {}},
}  # of a container that is gone


def unfit(api: DockerApi, names: Iterable[str]) -> dict[str, str]:
    """Those that cannot be joined, with the reason: MISSING or OURS."""
    found = {name: api.network(name) for name in names}
    return {
        name: MISSING if one is None else OURS
        for name, one in found.items()
        if one is None or labels.INSTANCE in (one.get("Labels") or {})
    }


def refuse_unfit(api: DockerApi, spec: SlotSpec) -> None:
    """Raises ConfigError for a network that cannot be joined."""
    for name, why in unfit(api, spec.config.service.networks).items():
        raise _refused(f"{spec.ref.pipeline}-{spec.ref.environment}", name, why, spec.ref.engine)


def _refused(who: str, name: str, why: str, engine: str) -> ConfigError:
    advice = f"Name another one under `networks`; `{_docker(engine)} network ls` shows them."
    if why == MISSING:
        advice = (
            f"Make it: `{_docker(engine)} network create {name}`. Or correct `networks` in pipelines.yaml."
        )
    return ConfigError(f"{who}: the network {name} {why}.", advice=advice)


def _docker(engine: str) -> str:
    where = where_of(engine)
    return "docker" if kind_of(engine).local else f"docker -H {where.docker}"


def join_all(api: DockerApi, found: Found) -> bool:
    """Connects an inspected container to the networks that its label names; True if it was not in one. Raises
    ConfigError if one does not exist."""
    acted = False
    for name in wanted_by(found["Config"]["Labels"]):
        network = api.network(name)
        if network is None:
            own = found["Config"]["Labels"]
            where = f"{own.get(labels.PIPELINE, '')}-{own.get(labels.ENVIRONMENT, '')}"
            raise _refused(f"{where}: {name_of(found)}", name, MISSING, "docker")
        has = found["NetworkSettings"]["Networks"].get(name)
        if has is not None and has.get("NetworkID") in ("", network["Id"]):
            continue
        if has is not None:  # of that name was another one, which is gone
            api.disconnect_by_name(found["Id"], name)
        api.join(found["Id"], network)
        acted = True
    return acted


def with_own_names(api: DockerApi, body: Body, uses: Mapping[str, Use]) -> Body:
    """The body of a container with the names of the accessories that it uses in `/etc/hosts`, where Docker's own might
    lead to another: in networks of others, which Docker asks in the order of their names; and while another release of
    the environment uses another accessory under that name. Their addresses are fixed."""
    own = body.get("Labels") or {}
    if not any(use.accessory for use in uses.values()):
        return body
    network, hosts = body["HostConfig"]["NetworkMode"], list(body["HostConfig"].get("ExtraHosts") or ())
    attached = dict[str, tuple[str, set[str]]]()  # by accessory: its address there, and its names
    for listed in api.containers(f"{labels.INSTANCE}={own[labels.INSTANCE]}", labels.ACCESSORY):
        found = api.container(listed["Id"]) or NOTHING
        endpoint = found["NetworkSettings"]["Networks"].get(network) or {}
        fixed = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
        if fixed:
            attached[listed["Labels"][labels.ACCESSORY]] = (fixed, set(endpoint.get("Aliases") or ()))
    for name, use in sorted(uses.items()):
        if use.accessory in attached:
            known = [one for one, (_, names) in attached.items() if name in names]
            if wanted_by(own) or known != [use.accessory]:
                hosts.append(f"{name}:{attached[use.accessory][0]}")
    return {**body, "HostConfig": {**body["HostConfig"], "ExtraHosts": hosts}}


def left_by(found: Found) -> list[str]:
    """What a container that runs is not in, though it should be."""
    has = found["NetworkSettings"]["Networks"]
    return [name for name in wanted_by(found["Config"]["Labels"]) if name not in has]


def wanted_by(own: dict[str, str]) -> list[str]:
    return own.get(labels.NETWORKS, "").split()
