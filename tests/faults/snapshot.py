"""A world of fakes as it is at one moment, to begin again from as often as a test wants."""

from __future__ import annotations

import copy
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import redis

from tests.story.conftest import World


class Snapshot:
    """Of a world in which nobody works: its records, and what its fakes have. What a test has put into the fakes, such
    as other answers, is not in it."""

    def __init__(self, world: World, url: str, config: str) -> None:
        self._url, self._config, self._instance = url, config, world.settings.instance
        self._fakes = [_copied(vars(one) | {"calls": []}) for one in _fakes(world)]
        with redis.Redis.from_url(url) as client:
            keys = sorted(client.scan_iter(f"{self._instance}:*"))
            pipe = client.pipeline(transaction=False)
            for key in keys:
                pipe.dump(key)
                pipe.pttl(key)
            found = pipe.execute()
        self._records = [
            (key, max(0, left), value)
            for key, value, left in zip(keys, found[::2], found[1::2], strict=True)
            if value is not None  # it was to be kept only so long
        ]

    def world(self, folder: Path) -> World:
        """The same once more, in a folder of its own. There is one at a time: it has the instance of the first."""
        with redis.Redis.from_url(self._url) as client:
            pipe = client.pipeline()
            for key in client.scan_iter(f"{self._instance}:*"):
                pipe.delete(key)
            for key, left, value in self._records:
                pipe.restore(key, left, value)
            pipe.execute()
        world = World(self._url, folder, self._config, self._instance)
        for one, state in zip(_fakes(world), self._fakes, strict=True):
            vars(one).update(_copied(state))
        return world


def _fakes(world: World) -> tuple[Any, ...]:
    return world.clock, world.queue, world.source, world.builder, world.engine


def _copied(value: Any) -> Any:
    """Everything that a fake may change in place; the rest is shared."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    if isinstance(value, set):
        return set(value)
    if is_dataclass(value) and not isinstance(value, type) and not value.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        same = copy.copy(value)
        vars(same).update(_copied(vars(value)))
        return same
    return value
