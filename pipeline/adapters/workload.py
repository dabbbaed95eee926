"""What a container is given, on Docker and on Kubernetes alike: variables, rights, and a fingerprint of it all."""

from __future__ import annotations

import hashlib
import json

from pipeline.adapters.docker_api.labels import Body
from pipeline.domain.engine_types import SlotSpec

# Docker's default set without what an application behind a proxy has no use for: raw sockets, device nodes,
# file capabilities, the kernel's audit log. The rest stays, so that images that start as root and drop work.
CAP_DROP = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP"]


def environment(spec: SlotSpec, more: dict[str, str]) -> list[str]:
    """``env`` of the configuration, then ours, which it cannot replace."""
    ours = {
        "PUSHLIVE_COMMIT": spec.commit,
        "PUSHLIVE_RELEASE": f"r{spec.release}",
        "PUSHLIVE_ENVIRONMENT": spec.ref.environment,
    }
    return [f"{key}={value}" for key, value in {**spec.config.service.env, **more, **ours}.items()]


def fingerprint(body: Body) -> str:
    """A short hash, equal for equal bodies."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
