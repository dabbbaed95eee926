"""What a container gets on Docker and on Kubernetes alike: variables, capabilities, and a fingerprint."""

from __future__ import annotations

import hashlib
import json

from pipeline.adapters.docker_api.labels import Body
from pipeline.domain.engine_types import SlotSpec

# Those of Docker's default capabilities that an application behind a proxy does not need: the kernel's audit log,
# device nodes, raw sockets, file capabilities. The others stay, for images that start as root and drop privileges
# themselves.
CAP_DROP = ["AUDIT_WRITE", "MKNOD", "NET_RAW", "SETFCAP"]
PORT = "PORT"

MARK = "PUSHLIVE_SESSION"  # the variable by which the processes of a person's command are found
# Run in their container, as its user: ends each that has the mark ("$1"), and so all that they have started.
END_MARKED = (
    'for p in /proc/[0-9]*; do [ "$p" = "/proc/$$" ] && continue; '
    'grep -q "$1" "$p/environ" 2>/dev/null && kill -9 "${p#/proc/}"; done; true'
)


def environment(spec: SlotSpec, more: dict[str, str]) -> list[str]:
    """``PORT``, the configuration's ``env``, then Pushlive's own variables, which it cannot replace."""
    own = {
        "PUSHLIVE_COMMIT": spec.commit,
        "PUSHLIVE_RELEASE": f"r{spec.release}",
        "PUSHLIVE_ENVIRONMENT": spec.ref.environment,
    }
    return [
        f"{key}={value}" for key, value in {**port(spec), **spec.config.service.env, **more, **own}.items()
    ]


def port(spec: SlotSpec) -> dict[str, str]:
    """The variable that tells the application its port, unless the configuration has one of that name."""
    service = spec.config.service
    if not spec.form or not spec.web or PORT in service.env or PORT in spec.given:
        return {}
    return {PORT: str(service.port)}


def fingerprint(body: Body) -> str:
    """A short hash, equal for equal bodies."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def tar_of(path: str) -> tuple[str, ...]:
    """The command that writes an archive of that file or folder, its own name in front of every path."""
    folder, _, name = path.rpartition("/")
    return ("tar", "-c", "-C", folder or "/", "-f", "-", "--", name)
