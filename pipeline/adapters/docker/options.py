"""What a container is given besides CPU and memory, in the Engine API's terms. Pure.

A key at its default adds nothing, so that the containers of earlier releases are what they were.
"""

from __future__ import annotations

from pipeline.adapters.docker_api.labels import Body
from pipeline.config.models import Service
from pipeline.config.workload.container import USUAL_SHM


def with_options(body: Body, service: Service) -> Body:
    """The container's body with what the service's keys say."""
    own: Body = {}
    if service.working_dir:
        own["WorkingDir"] = service.working_dir
    host: Body = {}
    if service.shm != USUAL_SHM:
        host["ShmSize"] = service.shm
    return {**body, **own, "HostConfig": {**body["HostConfig"], **host}}
