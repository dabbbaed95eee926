"""What tests give to an engine."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Registry, Rendered, Service
from pipeline.domain.engine_types import SlotRef, SlotSpec

# The sample application's, in a container that ends at once. It starts three processes for each request, and what the
# kernel keeps of those that have ended counts until it has time to free it: under load 32 MiB were too few.
SAMPLE: dict[str, Any] = {"health": "/healthz", "memory": 128 << 20, "stop": 1.0, "ready": 20.0}


def slot_spec(
    ref: SlotRef,
    release: int = 1,
    run: int | None = None,
    /,  # `release` is a key of `Service` as well
    *,
    image: str = "sha256:1",
    remote: str = "",
    hosts: tuple[str, ...] = (),
    registry: Registry | None = None,
    **service: Any,
) -> SlotSpec:
    """A release in that slot, of a commit of its own; the run has the release's number unless it is given.

    ``service``: keys of ``Service``; all others have their defaults.
    """
    config = Rendered(service=Service(**service), hosts=hosts, registry=registry)
    number = release if run is None else run
    return SlotSpec(ref, release, number, f"{release:040x}", image, config, remote=remote)
