"""How large the volumes of an environment are, and which of them a change of the file would leave behind."""

from __future__ import annotations

import json
from typing import Any

from pipeline.config.models import Rendered
from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.lib.units import show_size
from pipeline.store import Store


def shown(store: Store, pipeline: str, environment: str, release: Release | None) -> list[dict[str, Any]]:
    """The volumes of the release that serves there: ``name``, ``path``, ``size`` in bytes as the keeper last counted
    it, or null, ``counted``: when, in seconds since the epoch, or null, and ``text`` for people."""
    config = release.environments.get(environment) if release else None
    if config is None or not config.service.volumes:
        return []
    known = json.loads(store.facts.get(f"volume-sizes:{pipeline}") or "{}")
    sizes, at = known.get("sizes", {}), known.get("at")
    found = []
    for name, volume in config.service.volumes.items():
        size = sizes.get(f"{environment}/{name}")
        counted = at if size is not None else None
        text = f"volume {name} " + ("not counted yet" if size is None else show_size(size))
        found.append({"name": name, "path": volume.path, "size": size, "counted": counted, "text": text})
    return found


def data_left(record: Environment, serving: Release | None, wanted: Rendered | None) -> tuple[str, ...]:
    """What the release that serves has stored and the next one would not have. ``wanted``: None if the environment
    goes; a renamed one, or a renamed pipeline, begins with empty volumes."""
    config = serving.environments.get(record.name) if serving else None
    after = wanted.service.volumes if wanted else {}
    gone = [f"{record.id}/{name}" for name in (config.service.volumes if config else {}) if name not in after]
    if not gone:
        return ()
    what = "the files of the volume" if len(gone) == 1 else "the files of the volumes"
    how = (
        f"copy each out (`pushlive volume backup {gone[0]}`) and restore it under its new name"
        if wanted
        else f"take up this file, end what serves with `pushlive gc`, and give each its new name: "
        f"`pushlive volume mv {gone[0]} NEW`"
    )
    text = (
        f"volumes: {what} {', '.join(gone)} stay, and no release has them any more; to take them along, {how}"
    )
    return (text,)
