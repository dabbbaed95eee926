"""The last good backups of what an environment has, for people and scripts."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Config
from pipeline.deploy.data.backup_places import named, of_environment, state_of
from pipeline.lib import codec
from pipeline.store import Store


def shown(store: Store, config: Config, pipeline: str, environment: str, now: float) -> list[dict[str, Any]]:
    """Of its volumes and of the accessories that it uses, if they have a `backup` key: ``of``, a volume or an accessory
    as its commands name it, ``good``: ``{"file", "at", "size"}`` of the last good one, or null, and ``problem``, "" if
    there is none."""
    found = []
    for ref, said in sorted(of_environment(config, pipeline, environment).items()):
        state = state_of(store, ref)
        good = codec.plain(state.good) if state.good else None
        found.append({"of": named(ref), "good": good, "problem": state.problem(said, now)})
    return found
