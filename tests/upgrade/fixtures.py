"""What was recorded, one folder for each earlier version: tests/upgrade/README.md says what is in one."""

from __future__ import annotations

import base64
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from redis import Redis

from pipeline.config import settings as settings_module
from pipeline.config.settings import Settings
from pipeline.domain import slots
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.release import Release
from pipeline.lib import codec
from pipeline.lib.secret import Secret

JOB_LIFE = 600  # seconds
FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = sorted(path.name for path in FIXTURES.iterdir() if path.is_dir())


@dataclass(frozen=True)
class Fixture:
    """One version's."""

    version: str

    @property
    def folder(self) -> Path:
        return FIXTURES / self.version

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    @cached_property
    def settings(self) -> Settings:
        return settings_module.load(self.read("settings.json"))

    @cached_property
    def engine(self) -> dict[str, Any]:
        found: dict[str, Any] = self.read("engine.json")
        return found

    @cached_property
    def store(self) -> dict[str, Any]:
        """Every key of the store with its value, as the backup has them."""
        with tarfile.open(self.folder / "backup.tgz") as archive:
            lines = archive.extractfile("store.jsonl")
            assert lines
            return {line["key"]: line["value"] for line in map(json.loads, lines)}

    def releases(self, pipeline: str) -> dict[int, Release]:
        found = self.store[f"releases:{pipeline}"]
        return {int(number): codec.load(Release, text) for number, text in found.items()}

    def put_queue(self, client: Redis) -> None:
        """Puts the jobs into the queue as they were, with their whole time to live."""
        recorded = self.read("queue.json")
        client.delete(recorded["queue"])
        for name, fields in recorded["jobs"].items():
            client.hset(
                f"rq:job:{name}", mapping={key: base64.b64decode(value) for key, value in fields.items()}
            )
            client.expire(f"rq:job:{name}", JOB_LIFE)
            client.rpush(recorded["queue"], name)

    # ── what the Engine was told ─────────────────────────────────────────────

    def created(self, what: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and body of everything that was made: ``containers`` or ``networks``, in the order of making."""
        for request in self.engine["requests"]:
            if request["path"] == f"/{what}/create":
                yield request["query"].removeprefix("name="), request["body"]

    def spec(self, body: Mapping[str, Any]) -> SlotSpec:
        """What the engine was asked for when it made that container. The secrets' values are the container's."""
        labels = {name.removeprefix("pushlive."): value for name, value in body["Labels"].items()}
        ref = SlotRef(labels["pipeline"], labels["environment"], int(labels["index"]), labels["slot"])
        release = self.releases(ref.pipeline)[int(labels["release"])]
        given = dict(entry.split("=", 1) for entry in body["Env"])
        spec = slots.spec_of(ref, release, int(labels["run"]))
        return replace(spec, reveal=lambda: {name: Secret(given[name]) for name in spec.secrets})


ALL = [Fixture(version) for version in VERSIONS]


def lost(before: Any, after: Any, where: str = "") -> list[str]:
    """What of ``before`` is not in ``after``, or is otherwise; further keys of a mapping are no loss."""
    if isinstance(before, dict) and isinstance(after, dict):
        found = [f"{where}.{key} is gone" for key in before if key not in after]
        return found + [
            line for key in before.keys() & after for line in lost(before[key], after[key], f"{where}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            line
            for n, pair in enumerate(zip(before, after, strict=True))
            for line in lost(*pair, f"{where}[{n}]")
        ]
    return [] if before == after else [f"{where}: {before!r} has become {after!r}"]
