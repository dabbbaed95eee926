"""What a container is given besides CPU and memory, in a pod's terms. Pure."""

from __future__ import annotations

from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.config.models import Service
from pipeline.config.workload.container import USUAL_SHM


def with_options(pod: Manifest, service: Service) -> Manifest:
    """The pod, whose first container is the application's, with what the service's keys say. A key at its default
    leaves it as it is."""
    container, volumes, mounts = dict(pod["containers"][0]), list[Manifest](), list[Manifest]()
    if service.working_dir:
        container["workingDir"] = service.working_dir
    if service.shm != USUAL_SHM:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": str(service.shm)}})
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108 - in the container
    if mounts:
        container["volumeMounts"] = [*container.get("volumeMounts", ()), *mounts]
        pod = {**pod, "volumes": [*pod.get("volumes", ()), *volumes]}
    return {**pod, "containers": [container, *pod["containers"][1:]]}
