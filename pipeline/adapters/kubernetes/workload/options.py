"""What a container is given besides CPU and memory, and where it may run, in a pod's terms. Pure."""

from __future__ import annotations

from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.config.models import Service
from pipeline.config.workload.container import USUAL_SHM
from pipeline.config.workload.kubernetes import KubernetesOptions, toleration_of


def with_options(pod: Manifest, service: Service) -> Manifest:
    """The pod, whose first container is the application's, with what the service's keys say. A key at its default
    leaves it as it is."""
    container, *others = pod["containers"]
    container, pod = _with_folders(container, pod, service)
    if service.working_dir:
        container["workingDir"] = service.working_dir
    if service.user:
        container["securityContext"] = {**container["securityContext"], **_user(service.user)}
    pod |= _placed(service.kubernetes)
    if service.extra_hosts:
        pod["hostAliases"] = _aliases(service.extra_hosts)
    return {**pod, "containers": [container, *others]}


def _placed(options: KubernetesOptions) -> Manifest:
    """On which nodes it runs, and as whom."""
    placed: Manifest = {}
    if options.node_selector:
        placed["nodeSelector"] = options.node_selector
    if options.tolerations:
        placed["tolerations"] = [toleration_of(one) for one in options.tolerations]
    if options.service_account:
        placed |= {"serviceAccountName": options.service_account, "automountServiceAccountToken": True}
    return placed


def _with_folders(container: Manifest, pod: Manifest, service: Service) -> tuple[Manifest, Manifest]:
    """Folders in memory: they count towards the container's memory limit, as on Docker."""
    sizes = dict(service.tmpfs)
    if service.shm != USUAL_SHM:
        sizes["/dev/shm"] = service.shm  # noqa: S108 - in the container
    volumes, mounts = list(pod.get("volumes", ())), list(container.get("volumeMounts", ()))
    for number, (path, size) in enumerate(sorted(sizes.items())):
        source = {"emptyDir": {"medium": "Memory", "sizeLimit": str(size)}}
        same = next((one["name"] for one in mounts if one["mountPath"] == path), "")
        if same:  # `security: strict` has one at /tmp
            volumes = [one for one in volumes if one["name"] != same]
        else:
            mounts.append({"name": f"memory-{number}", "mountPath": path})
        volumes.append({"name": same or f"memory-{number}", **source})
    if not sizes:
        return dict(container), dict(pod)
    return {**container, "volumeMounts": mounts}, {**pod, "volumes": volumes}


def _user(text: str) -> Manifest:
    """``check`` refuses a name on a cluster."""
    user, _, group = text.partition(":")
    return {"runAsUser": int(user), **({"runAsGroup": int(group)} if group else {})}


def _aliases(hosts: dict[str, str]) -> list[Manifest]:
    addresses = sorted(set(hosts.values()))
    return [
        {"ip": ip, "hostnames": sorted(name for name, to in hosts.items() if to == ip)} for ip in addresses
    ]
