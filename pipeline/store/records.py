"""The keys of an installation's records, and each record read with any client: a connection or a transaction's pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from pipeline.config.previews.names import pipeline_of
from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import SecretRecord
from pipeline.errors import DamagedRecord, NotFound
from pipeline.store.connection import damaged, read, read_all, read_kept

T = TypeVar("T")

BATCH = 20  # runs that are read at a time


class Records:
    """``prefix``: what every key of this installation begins with. The methods raise DamagedRecord for a record that
    Pushlive did not write; Redis's own errors are left to the caller."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def key(self, *parts: str) -> str:
        return self._prefix + ":".join(parts)

    # ── one record; raises NotFound ──────────────────────────────────────────

    def run(self, client: Any, pipeline: str, number: int) -> Run:
        return self.read_run(client.hget(self.key("runs", pipeline), str(number)), pipeline, number)

    def read_run(self, text: str | None, pipeline: str, number: int) -> Run:
        """The run from what its field has."""
        if not text:
            raise NotFound(
                f"there is no run {pipeline}#{number}.", advice=f"`pushlive runs {pipeline}` lists them."
            )
        return read_kept(Run, text, self.key("runs", pipeline), str(number))

    def release(self, client: Any, pipeline: str, number: int) -> Release:
        key = self.key("releases", pipeline)
        text = client.hget(key, str(number))
        if not text:
            raise NotFound(
                f"there is no release r{number} of {pipeline}.",
                advice=f"`pushlive runs {pipeline}` lists them.",
            )
        return read_kept(Release, text, key, str(number))

    def environment(self, client: Any, pipeline: str, name: str) -> Environment:
        return self.read_environment(client.hget(self.key("environments", pipeline), name), pipeline, name)

    def read_environment(self, text: str | None, pipeline: str, name: str) -> Environment:
        """The environment from what its field has."""
        if not text:
            raise NotFound(f"{pipeline}/{name} has no record: nothing has been deployed there yet.")
        return read_kept(Environment, text, self.key("environments", pipeline), name)

    def fields(self, pipeline: str, run: int, environment: str) -> tuple[tuple[str, str], ...]:
        """Where the records of that run and that environment ("" for none) are: each a hash's key, and the field."""
        runs, environments = self.key("runs", pipeline), self.key("environments", pipeline)
        return ((runs, str(run)), *([(environments, environment)] if environment else ()))

    # ── all of a pipeline ────────────────────────────────────────────────────

    def runs(
        self, client: Any, pipeline: str, wanted: Iterable[int], readable: bool = False
    ) -> tuple[Run, ...]:
        """Those of the wanted runs that exist, in that order; ``readable``: without damaged ones."""
        key, fields = self.key("runs", pipeline), [str(number) for number in wanted]
        found = client.hmget(key, fields) if fields else []
        runs: list[Run] = []
        for field, text in zip(fields, found, strict=True):
            try:
                runs += [read(Run, text, key, field)] if text else []
            except DamagedRecord:
                if not readable:
                    raise
        return tuple(runs)

    def open_runs(self, client: Any, pipeline: str) -> tuple[Run, ...]:
        """Runs that have not ended, oldest first."""
        numbers = self._members(client, self.key("open", pipeline))
        texts = self.run_texts(client, pipeline, numbers)
        return tuple(self.read_run(text, pipeline, number) for number, text in texts)

    def run_texts(
        self, client: Any, pipeline: str, numbers: Iterable[int]
    ) -> Iterator[tuple[int, str | None]]:
        """Each number with what ``read_run`` reads, a batch of them in one round trip."""
        left = list(numbers)
        while left:
            batch, left = left[:BATCH], left[BATCH:]
            found = client.hmget(self.key("runs", pipeline), [str(number) for number in batch])
            yield from zip(batch, found, strict=True)

    def due(self, client: Any, pipeline: str) -> tuple[int, ...]:
        """The numbers of runs that a worker must take, or has taken, lowest first."""
        return self._members(client, self.key("due", pipeline))

    def last_run(self, client: Any, pipeline: str) -> int:
        """The highest run number, 0 before the first run."""
        return int(client.get(self.key("last-runs", pipeline)) or 0)

    def releases(self, client: Any, pipeline: str) -> tuple[Release, ...]:
        """Every release, oldest first."""
        releases = self._all(client, Release, self.key("releases", pipeline)).values()
        return tuple(sorted(releases, key=lambda release: release.number))

    def environments(self, client: Any, pipeline: str) -> dict[str, Environment]:
        """Every environment by its name."""
        key = self.key("environments", pipeline)
        return {
            str(name): read_kept(Environment, text, key, str(name))
            for name, text in client.hgetall(key).items()
        }

    def damaged_environments(self, client: Any, pipeline: str) -> dict[str, str]:
        """The text of each record of an environment that cannot be read, by its name."""
        key = self.key("environments", pipeline)
        found = client.hgetall(key)
        _, errors = read_all(Environment, found, key)
        return {name: str(found[name]) for name in errors}

    def secrets(self, client: Any, pipeline: str) -> dict[str, SecretRecord]:
        """Every secret by its name; the values are encrypted. A preview has those of its pipeline: which of them it is
        given is decided in ``secret_versions``."""
        return self._all(client, SecretRecord, self.key("secrets", pipeline_of(pipeline)))

    # ── small values; "" if there is none ────────────────────────────────────

    def head(self, client: Any, pipeline: str, ref: str) -> str:
        """The commit that was last accepted on that ref."""
        return str(client.hget(self.key("heads", pipeline), ref) or "")

    def config(self, client: Any, digest: str) -> str:
        """A configuration's text by its hash."""
        return str(client.hget(self.key("configs"), digest) or "")

    def fact(self, client: Any, name: str) -> str:
        return str(client.get(self.key("fact", name)) or "")

    def evidence_due(self, client: Any) -> tuple[tuple[str, str, int], ...]:
        """What ``Transaction.evidence`` noted: kind, pipeline, number."""
        key = self.key("evidence-due")
        found = [str(one).replace("#", " ").split(" ") for one in client.smembers(key)]
        try:
            return tuple(sorted((kind, pipeline, int(number)) for kind, pipeline, number in found))
        except ValueError:
            raise damaged(key, "", "a member does not name a run") from None

    # ─────────────────────────────────────────────────────────────────────────

    def _all(self, client: Any, kind: type[T], key: str) -> dict[str, T]:
        return {str(field): read(kind, text, key, str(field)) for field, text in client.hgetall(key).items()}

    def _members(self, client: Any, key: str) -> tuple[int, ...]:
        try:
            return tuple(sorted(int(member) for member in client.smembers(key)))
        except ValueError:
            raise damaged(key, "", "a member is not a number") from None
