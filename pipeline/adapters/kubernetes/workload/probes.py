"""The probes of a pod's web container: readiness always, liveness with the `liveness` key."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from pipeline.config.checks.health import ANSWER
from pipeline.config.models import Service

PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
PERIOD = 5  # seconds between two liveness probes


def probes(service: Service, port: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """``port``: the container port's name; ``headers``: of the request. A container that starts is not asked whether it
    lives: it has as long as `ready` says, each time."""
    get = {
        "path": service.health.path,
        "port": port,
        "scheme": "HTTP",
        "httpHeaders": [{"name": key, "value": text} for key, text in headers.items()],
    }
    ready = {"periodSeconds": 1, "timeoutSeconds": ANSWER, "failureThreshold": 3, "successThreshold": 1}
    found: dict[str, Any] = {"readinessProbe": {"httpGet": get, **ready}}
    if service.liveness.restart:
        failures = max(1, ceil(service.liveness.restart / PERIOD))
        found["livenessProbe"] = {
            "httpGet": get,
            "periodSeconds": PERIOD,
            "timeoutSeconds": ANSWER,
            "failureThreshold": failures,
            "successThreshold": 1,
        }
        found["startupProbe"] = {
            "httpGet": get,
            **ready,
            "failureThreshold": max(3, ceil(service.ready)),
        }
    return found
