"""What people do with backups. Reading one is as good as reading a database: a maintainer's act."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from pipeline.config.workload.accessory_rules import pairs
from pipeline.config.workload.backup import Backup
from pipeline.deploy.data.accessory_restore import AccessoryRestore
from pipeline.deploy.data.backup_places import LATEST, named
from pipeline.deploy.data.backups import BackupWork
from pipeline.deploy.data.kept import chunks
from pipeline.domain.audit_chain import Who
from pipeline.domain.volumes import DATA, BackupState, KeptBackup, OwnerKind, VolumeRef, WrittenBackup
from pipeline.errors import EngineFailed, NotFound, PushliveError, RequestError
from pipeline.lib.streams import Counted
from pipeline.lib.units import show_size
from pipeline.service.audited import OnEngines

_WORD = re.compile(r"[a-z][a-z0-9-]*")


class Backups(OnEngines):
    """Backups: what there is, made, sent and restored."""

    def overview(self, of: str = "") -> list[dict[str, Any]]:
        """Of everything with a `backup` key: ``owner``, ``kind`` (pipeline or accessory), ``environment``, ``name``,
        ``every`` in seconds (0: only when asked), ``keep``, ``to``, ``good`` and each of ``kept``, newest first:
        ``{"file", "at", "size"}``, ``failed`` and ``problem``: what is wrong, "" if nothing is. ``of``: only of that
        pipeline or accessory; then each has ``copies``, those that the bucket under `to` has, and ``copies_problem``:
        why they could not be listed, "" if they were."""
        work, now = self._work(), self._clock.now()
        rows = sorted((ref, said) for ref, said in work.configured().items() if of in ("", ref.owner))
        away: dict[str, str] = {}  # what does not answer is asked once: each answer takes seconds
        return [
            self._row(ref, said, work.state(ref), work.kept.of(ref), now)
            | (_copies(work, ref, str(said.to), away) if of else {})
            for ref, said in rows
        ]

    def _row(
        self, ref: VolumeRef, said: Backup, state: BackupState, kept: tuple[KeptBackup, ...], now: float
    ) -> dict[str, Any]:
        return {
            "owner": ref.owner,
            "kind": ref.kind,
            "environment": ref.environment,
            "name": ref.name,
            "every": said.every,
            "keep": said.keep,
            "to": str(said.to) if said.to else "",
            "good": _plain(state.good) if state.good else None,
            "kept": [_plain(one) for one in kept],
            "failed": state.failed,
            "problem": state.problem(said, now),
        }

    def make(self, owner: str, environment: str, name: str, by: Who) -> dict[str, Any]:
        """One now: ``{"file", "at", "size", "messages"}``. Raises NotFound, and what went wrong."""
        self.insist_on_store()
        ref = self._ref(owner, environment, name)
        self._insist(ref)
        with self.acting(by, _act("backup", ref), **_about(ref)) as outcome:
            made = self._work().make(ref)
            digest = f", sha256 {made.sha256}" if isinstance(made, WrittenBackup) else ""
            outcome.after = f"{made.file}, {show_size(made.size)}{digest}"
        return {**_plain(made), "messages": [f"{named(ref)}: {show_size(made.size)} in {made.file}"]}

    def path(self, owner: str, environment: str, name: str, file: str, by: Who) -> Path:
        """The file of one that is kept; `latest` is the newest. Raises NotFound."""
        ref = self._ref(owner, environment, name)
        found = self._path(ref, file)
        after = f"{found.name} was sent, {show_size(found.stat().st_size)}"
        self.record(by, _act("backup read", ref), **_about(ref, found.name), before=found.name, after=after)
        return found

    def restore_accessory(
        self, name: str, environment: str, by: Who, pieces: Iterable[bytes], kept: str = ""
    ) -> tuple[str, ...]:
        """``kept``: the name of one that is kept, `latest` for the newest, "" for the pieces. Raises NotFound,
        RequestError, EngineFailed."""
        self.insist_on_store()
        ref, work = self._ref(name, environment, DATA), self._work()
        if not kept:
            with closing(_given(pieces)) as data:
                return self._restored(work, ref, by, data)
        with work.at_hand(ref, kept) as (path, file), closing(_read(path)) as data:
            return self._restored(work, ref, by, data, path.stat().st_size, file)

    def _restored(
        self,
        work: BackupWork,
        ref: VolumeRef,
        by: Who,
        data: Iterable[bytes],
        size: int | None = None,
        file: str = "",
    ) -> tuple[str, ...]:
        restore = AccessoryRestore(self._services, self._adapters(), work.kept)
        about: dict[str, Any] = {"environment": ref.environment, "detail": f"{ref.owner} {file}".strip()}
        change: dict[str, Any] = {"before": "its data", "after": file or "those that were sent"}
        counted = Counted(data)
        end = self.ending(by, "accessory restore", **about, **change)
        try:
            done = restore.restore(
                ref, counted, size, lambda: self._entry(by, "accessory restore", **about, **change)
            )
        except PushliveError as error:
            if counted.size:
                end(f"failed: {error.message}")
            raise
        end(f"{change['after']}: {counted}")
        return done

    def restore_volume(
        self, owner: str, environment: str, name: str, by: Who, kept: str, *, stop: bool = False
    ) -> tuple[str, ...]:
        """From one that is kept. Raises as ``VolumeCommands.restore_volume``."""
        self.insist_on_store()
        ref = self._ref(owner, environment, name)
        with self._work().at_hand(ref, kept) as (path, file), closing(_read(path)) as tar:
            counted = Counted(tar)
            with self.acting(by, _act("restore", ref), **_about(ref, file), before="its files") as outcome:
                said = self._operations.volumes().restore(ref, counted, stop=stop)
                outcome.after = f"{file}: {counted}"
            return said

    def _path(self, ref: VolumeRef, file: str) -> Path:
        kept = self._work().kept
        if file == LATEST:
            newest = kept.of(ref)[:1]
            if not newest:
                raise NotFound(
                    f"There is no backup of {named(ref)}.", advice="`pushlive backups` lists them."
                )
            file = newest[0].file
        return kept.path(ref, file)

    def _ref(self, owner: str, environment: str, name: str) -> VolumeRef:
        """Raises NotFound for what has no name that a path could have."""
        if not all(_WORD.fullmatch(word) for word in (owner, environment, name)):
            raise NotFound("There is no such backup.", advice="`pushlive backups` lists them.")
        kind: OwnerKind = "accessory" if owner in self._config().accessories else "pipeline"
        return VolumeRef(owner, environment, name, kind)

    def _insist(self, ref: VolumeRef) -> None:
        """Raises NotFound unless the configuration has it."""
        config = self._config()
        if ref.kind == "accessory":
            found = (ref.owner, ref.environment) in pairs(config)
        else:
            pipeline = config.pipelines.get(ref.owner)
            found = bool(
                pipeline
                and ref.environment in pipeline.environments
                and ref.name in pipeline.render(ref.environment).service.volumes
            )
        if not found:
            raise NotFound(
                f"pipelines.yaml has no {named(ref)[:120]}.", advice="`pushlive backups` lists them."
            )

    def _work(self) -> BackupWork:
        return BackupWork(self._services, self._adapters())


def _act(act: str, ref: VolumeRef) -> str:
    return f"{'volume' if ref.kind == 'pipeline' else 'accessory'} {act}"


def _about(ref: VolumeRef, more: str = "") -> dict[str, str]:
    """Of an entry in the audit log."""
    of_pipeline = {"pipeline": ref.owner} if ref.kind == "pipeline" else {}
    return {"environment": ref.environment, "detail": f"{ref} {more}".strip(), **of_pipeline}


def _plain(one: KeptBackup) -> dict[str, Any]:
    return {"file": one.file, "at": one.at, "size": one.size}


def _copies(work: BackupWork, ref: VolumeRef, to: str, away: dict[str, str]) -> dict[str, Any]:
    if to not in away:
        try:
            return {"copies": [_plain(one) for one in work.copies(ref)], "copies_problem": ""}
        except EngineFailed as error:
            away[to] = str(error)
    return {"copies": [], "copies_problem": away[to]}


def _read(path: Path) -> Generator[bytes]:
    with path.open("rb") as file:
        yield from chunks(file)


def _given(pieces: Iterable[bytes]) -> Generator[bytes]:
    first = True
    for piece in pieces:
        first = False
        yield piece
    if first:
        raise RequestError("The backup is empty.", advice="Give the file with `--from`.")
