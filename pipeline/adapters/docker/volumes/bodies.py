"""The names and labels of volumes, and the mounts of containers that have them. Pure."""

from __future__ import annotations

from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.labels import Body
from pipeline.config.settings import Settings
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.volumes import VolumeRef, volumes_of


def volume_name(settings: Settings, ref: VolumeRef) -> str:
    return f"{settings.instance}-{ref.owner}-{ref.environment}-{ref.name}"


def volume_body(settings: Settings, ref: VolumeRef) -> Body:
    return {
        "Name": volume_name(settings, ref),
        "Labels": {
            labels.INSTANCE: settings.instance,
            labels.OWNER: ref.owner,
            labels.OWNER_KIND: ref.kind,
            # Not the label of an environment: a volume is no part of one that could be found and removed with it.
            labels.VOLUME: f"{ref.environment}/{ref.name}",
        },
    }


def mounts(settings: Settings, spec: SlotSpec) -> Body:
    """The part of HostConfig that gives a container its volumes; {} without any."""
    paths = [one.path for one in spec.config.service.volumes.values()]
    found = [
        {"Type": "volume", "Source": volume_name(settings, ref), "Target": path}
        for ref, path in zip(volumes_of(spec), paths, strict=True)
    ]
    return {"Mounts": found} if found else {}
