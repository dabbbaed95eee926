"""What is shown of copies of volumes that have not ended."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Config
from pipeline.deploy.data.unfinished import at_work, unfinished
from pipeline.domain.accessories import AccessoryRecord
from pipeline.domain.volumes import UnfinishedCopy, VolumeRef
from pipeline.errors import DamagedRecord
from pipeline.store import Store


def shown(store: Store, config: Config, pipeline: str, environment: str) -> list[dict[str, Any]]:
    """Those that keep a release out of that environment: ``volume``, ``act``, ``since``, ``at_work``, ``text`` and
    ``command``, which goes on with it."""
    return [_row(store, one) for one in _all(store) if _concerns(config, one.ref, pipeline, environment)]


def text_of(store: Store, ref: VolumeRef) -> str:
    """The same about one volume in words, "" if there is nothing to say."""
    return next((_text(store, one) for one in _all(store) if one.ref == ref), "")


def why_stopped(store: Store, record: AccessoryRecord) -> str:
    """Of an accessory that is stopped: by whom, or by a move of its data that was broken off and what goes on with
    it."""
    for one in _all(store):
        if one.source == str(record.ref.volume):
            goes_on = "" if at_work(store, one.ref) else f"; `{one.command}` goes on with it"
            return f"it is stopped: {_text(store, one)}{goes_on}"
    return f"it was stopped by {record.stopped}"


def planned(store: Store, config: Config) -> list[tuple[str, str, str]]:
    """(pipeline, environment, line) for each environment that waits for one."""
    return [
        (name, environment, f"volumes: {one['text']}; `{one['command']}`")
        for name, pipeline in config.pipelines.items()
        for environment in pipeline.environments
        for one in shown(store, config, name, environment)
    ]


def _all(store: Store) -> tuple[UnfinishedCopy, ...]:
    try:
        return unfinished(store)
    except DamagedRecord:  # `pushlive doctor` reports it
        return ()


def _row(store: Store, one: UnfinishedCopy) -> dict[str, Any]:
    return {
        "volume": str(one.ref),
        "act": one.act,
        "since": one.since,
        "at_work": at_work(store, one.ref),
        "text": _text(store, one),
        "command": one.command,
    }


def _text(store: Store, one: UnfinishedCopy) -> str:
    return one.text(at_work=at_work(store, one.ref))


def _concerns(config: Config, ref: VolumeRef, pipeline: str, environment: str) -> bool:
    if ref.environment != environment:
        return False
    if ref.kind == "pipeline":
        return ref.owner == pipeline
    found = config.pipelines.get(pipeline)
    if found is None or environment not in found.environments:
        return False
    return any(use.accessory == ref.owner for use in found.render(environment).uses.values())
