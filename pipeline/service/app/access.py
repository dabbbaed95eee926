"""Whether there is an access log of an environment."""

from __future__ import annotations

from pipeline.config.engines import DOCKER, kind_of
from pipeline.config.settings import Settings
from pipeline.errors import RequestError


def insist(settings: Settings, environment: str, engine: str) -> None:
    """Raises RequestError, which says what to use in its place. ``environment``: its id."""
    if not kind_of(engine).proxied:
        raise RequestError(
            f"{environment} is on a cluster: its requests do not come through Pushlive's proxy.",
            advice="The Ingress controller's own log has them (`kubectl logs` of its pods).",
        )
    if engine != DOCKER:
        raise RequestError(
            f"{environment} is on another machine: only the proxy on this one writes an access log.",
            advice="`/metrics` counts its requests, errors and times all the same.",
        )
    if settings.access_log == "off":
        raise RequestError(
            "no access log is kept.",
            advice="Set PUSHLIVE_ACCESS_LOG to paths or urls, and restart the service.",
        )
