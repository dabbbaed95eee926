"""Backups of volumes and accessories: made when asked or by a schedule, kept in the data folder, sent elsewhere.

Each is made under a lease of its own. A process that dies in the middle leaves nothing that counts, and one that was
taken for dead finds its lease lost before its file would count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.config.models import Config
from pipeline.config.workload.backup import AccessoryBackup, Backup, Destination
from pipeline.deploy.data.kept import KeptBackups
from pipeline.deploy.data.volumes import TRANSFER, VolumeWork
from pipeline.deploy.heartbeat import HeldLease, holding
from pipeline.deploy.services import Services
from pipeline.domain.accessories import AccessoryRecord
from pipeline.domain.volumes import DATA, BackupState, KeptBackup, VolumeRef, backup_state, time_of
from pipeline.errors import EngineFailed, NotFound, PushliveError, RequestError, StoreUnavailable, TryAgain
from pipeline.lib import codec
from pipeline.lib.retry import poll
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline
from pipeline.store import Store, Transaction

LEASE = 10.0  # seconds that a person waits for a backup at work, which takes longer
LATEST = "latest"
_WORD = re.compile(r"[a-z][a-z0-9-]*")

Change = Callable[[BackupState], BackupState]


class BackupWork:
    """What is said about backups is read from the configuration in force, also for what an earlier one has made."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._store, self._vault = services.store, services.vault
        self._configurations, self._adapters = services.configurations, adapters
        self._clock = adapters.clock
        self._volumes = VolumeWork(services, adapters)
        self.kept = KeptBackups(services.settings.data, services.settings.disk_free)

    def configured(self) -> dict[VolumeRef, Backup]:
        """Everything with a `backup` key."""
        _, config = self._configurations.current()
        return configured(config)

    def said(self, ref: VolumeRef) -> Backup:
        """What is configured for it; the defaults if nothing is."""
        return self.configured().get(ref, Backup())

    def state(self, ref: VolumeRef) -> BackupState:
        return state_of(self._store, ref)

    # ── made ─────────────────────────────────────────────────────────────────

    def make(self, ref: VolumeRef) -> KeptBackup:
        """One now, because a person asked. Raises NotFound, TryAgain while another is made, and what went wrong."""
        take = partial(self._store.leases.take, _lease(ref), "backup")
        lease = poll(take, 0.05, self._clock, timeout=LEASE)
        if lease is None:
            raise TryAgain(
                f"A backup of {ref} is being made already.", advice="`pushlive backups` shows it when it is."
            )
        with holding(self._store, lease) as held:
            return self._make(ref, self.said(ref), held)

    def make_due(self, ref: VolumeRef) -> KeptBackup | None:
        """One by the schedule, if it is still due once the lease is held. None if it is not, if another process is at
        work, or if there is nothing yet of which one could be made."""
        lease = self._store.leases.take(_lease(ref), "keeper")
        if lease is None:
            return None
        with holding(self._store, lease) as held:
            said = self.said(ref)
            if not self.state(ref).is_due(said, self._clock.now()):
                return None
            try:
                return self._make(ref, said, held)
            except NotFound:
                return None

    def due(self) -> list[VolumeRef]:
        """Those that the schedule asks for now. Remembers since when it is known, and reports what is late."""
        found, now = [], self._clock.now()
        for ref, said in self.configured().items():
            if not said.every or not self._exists(ref):
                continue
            state = self.state(ref)
            if not state.since:
                state = self._change(ref, lambda one: replace(one, since=now))
            if state.is_due(said, now):
                found.append(ref)
            elif state.is_late(said, now) and not state.told:
                self._tell_late(ref, said, now)
        return found

    def _make(self, ref: VolumeRef, said: Backup, held: HeldLease) -> KeptBackup:
        now = self._clock.now()
        before = self._change(ref, lambda one: replace(one, tried=now), held)
        try:
            made = before.unsent(said, now) or self._written(ref, said, now, held)
            if said.to:
                self._send(ref, made, said, held)
        except (StoreUnavailable, NotFound):
            raise
        except PushliveError as error:
            self._failed(ref, said, error, held)
            raise
        self._change(
            ref, lambda one: replace(one, made=made, good=made, failed="", told=False), held, self._again(ref)
        )
        return made

    def _written(self, ref: VolumeRef, said: Backup, now: float, held: HeldLease) -> KeptBackup:
        with closing(self._pieces(ref, said, held)) as pieces:
            made = self.kept.write(ref, float(int(now)), pieces, held.insist)
        self._change(ref, lambda one: replace(one, made=made), held)
        self.kept.prune(ref, said.keep)
        return made

    def _pieces(self, ref: VolumeRef, said: Backup, held: HeldLease) -> Generator[bytes]:
        if ref.kind == "pipeline":
            return self._volumes.back_up(ref)
        record = self.accessory(ref)
        run = said.run if isinstance(said, AccessoryBackup) else ()
        if not run:
            raise RequestError(
                f"pipelines.yaml does not say how {ref.owner} is backed up.",
                advice=f"Under accessories.{ref.owner}, add the command that writes it to standard output, such as "
                "`backup: {run: [pg_dump, -U, postgres]}`.",
            )
        watch = Deadline(self._clock, TRANSFER, f"Backing up {record.id}")
        engine = held.fenced(self._adapters.engines.of(record.engine))
        return engine.accessories.dump_accessory(record.ref, run, watch)

    def _send(self, ref: VolumeRef, made: KeptBackup, said: Backup, held: HeldLease) -> None:
        held.insist()
        watch, copies = Deadline(self._clock, TRANSFER, f"Sending {made.file}"), self._adapters.copies
        copies.send(said.to, ref, self.kept.path(ref, made.file), watch)
        held.insist()
        with suppress(EngineFailed):  # it has arrived, and the next one tries again
            copies.prune(said.to, ref, said.keep)

    # ── elsewhere ────────────────────────────────────────────────────────────

    def copies(self, ref: VolumeRef) -> tuple[KeptBackup, ...]:
        """What is in the bucket that `to` names, newest first. Raises EngineFailed."""
        return self._adapters.copies.kept(self.said(ref).to, ref)

    @contextmanager
    def at_hand(self, ref: VolumeRef, file: str) -> Iterator[tuple[Path, str]]:
        """A backup as a file, and its name. ``file``: the name of one that is kept here or in the bucket that `to`
        names, `latest` for the newest of both, or the ``s3://…`` of one in a bucket that pipelines.yaml names. Raises
        NotFound, RequestError, EngineFailed."""
        to, of, name = self._found(ref, file)
        if to is None:
            yield self.kept.path(of, name), name
            return
        watch = Deadline(self._clock, TRANSFER, f"Reading {name}")
        with (
            closing(self._adapters.copies.read(to, of, name, watch)) as pieces,
            self.kept.spooled(ref, pieces) as (path, _),
        ):
            yield path, name

    def _found(self, ref: VolumeRef, file: str) -> tuple[Destination | None, VolumeRef, str]:
        """Where it is, None for here; whose it is there; and its name."""
        if file.startswith("s3://"):
            return self._in_a_bucket(file)
        to, here = self.said(ref).to, self.kept.of(ref)
        if file == LATEST:
            there = self.copies(ref)
            found = [*((None, one) for one in here), *((to, one) for one in there)]
            if not found:
                raise NotFound(
                    f"There is no backup of {named(ref)}.", advice="`pushlive backups` lists them."
                )
            where, newest = max(found, key=lambda one: (one[1].at, one[0] is None))
            return where, ref, newest.file
        return (to if to.s3 and file not in {one.file for one in here} else None), ref, file

    def _in_a_bucket(self, url: str) -> tuple[Destination, VolumeRef, str]:
        """Only what pipelines.yaml names: the key of the service may read more than a maintainer should."""
        for said in self.configured().values():
            rest = url.removeprefix(f"{said.to.url}/") if said.to.s3 else url
            parts = rest.split("/")
            if rest != url and len(parts) == 4 and all(map(_WORD.fullmatch, parts[:3])) and time_of(parts[3]):
                return said.to, VolumeRef(parts[0], parts[1], parts[2]), parts[3]
        raise RequestError(
            f"{url[:200]} is no backup in a bucket that pipelines.yaml names under `backup.to`.",
            advice="Write s3://BUCKET/FOLDER/NAME/ENVIRONMENT/VOLUME/FILE; `pushlive backups NAME` lists the files.",
        )

    def accessory(self, ref: VolumeRef) -> AccessoryRecord:
        """Raises NotFound if it was never made."""
        record = self._store.accessories.get(ref.owner, ref.environment)
        if record is None:
            raise NotFound(
                f"there is no accessory {ref.owner}/{ref.environment}.",
                advice="`pushlive accessory status` lists them.",
            )
        return record

    def _exists(self, ref: VolumeRef) -> bool:
        if ref.kind == "accessory":
            return self._store.accessories.get(ref.owner, ref.environment) is not None
        environment = self._store.environment(ref.owner, ref.environment)
        return environment is not None and environment.active is not None

    # ── records ──────────────────────────────────────────────────────────────

    def _change(
        self,
        ref: VolumeRef,
        change: Change,
        held: HeldLease | None = None,
        tell: Callable[[Transaction, BackupState, BackupState], None] = lambda *_: None,
    ) -> BackupState:
        """The state as it is then. ``tell``: queues what receivers get, in the same transaction."""

        def act(tx: Transaction) -> BackupState:
            before = backup_state(tx.fact(_fact(ref)))
            after = change(before)
            if after != before:
                tx.put_fact(_fact(ref), codec.dump(after))
                tell(tx, before, after)
            return after

        return self._store.transact(ref.owner, act, fence=held)

    def _failed(self, ref: VolumeRef, said: Backup, error: PushliveError, held: HeldLease) -> None:
        """Receivers hear of the first failure after a good one."""
        masked, _ = self._vault.mask(ref.owner)
        text = masked.lines((error.message,))[0]
        every = " It is tried again." if said.every else ""

        def tell(tx: Transaction, before: BackupState, after: BackupState) -> None:
            if not before.failed:
                messages.backup(tx, ref, self._users(ref), after.tried, f"the backup failed: {text}{every}")

        self._change(ref, lambda one: replace(one, failed=text), held, tell)

    def _again(self, ref: VolumeRef) -> Callable[[Transaction, BackupState, BackupState], None]:
        def tell(tx: Transaction, before: BackupState, after: BackupState) -> None:
            if (before.failed or before.told) and after.good:
                messages.backup(tx, ref, self._users(ref), self._clock.now(), "there is a good backup again")

        return tell

    def _tell_late(self, ref: VolumeRef, said: Backup, now: float) -> None:
        def tell(tx: Transaction, _: BackupState, after: BackupState) -> None:
            messages.backup(tx, ref, self._users(ref), now, after.problem(said, now))

        self._change(ref, lambda one: replace(one, told=True), None, tell)

    def _users(self, ref: VolumeRef) -> tuple[str, ...]:
        """The pipelines whose receivers are told."""
        if ref.kind == "pipeline":
            return (ref.owner,)
        record = self._store.accessories.get(ref.owner, ref.environment)
        return tuple(record.attached) if record else ()


def _fact(ref: VolumeRef) -> str:
    return f"backup:{ref}"


def _lease(ref: VolumeRef) -> str:
    return f"backup-of:{ref}"


def state_of(store: Store, ref: VolumeRef) -> BackupState:
    return backup_state(store.facts.get(_fact(ref)))


def named(ref: VolumeRef) -> str:
    """As its commands name it: an accessory, or a volume."""
    return f"{ref.owner}/{ref.environment}" if ref.kind == "accessory" else str(ref)


def configured(config: Config) -> dict[VolumeRef, Backup]:
    """Everything with a `backup` key."""
    found: dict[VolumeRef, Backup] = {}
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            found |= of_environment(config, name, environment)
    return found


def of_environment(config: Config, pipeline: str, environment: str) -> dict[VolumeRef, Backup]:
    """The same of its volumes, and of the accessories that it uses."""
    found = config.pipelines.get(pipeline)
    if found is None or environment not in found.environments:
        return {}
    rendered = found.render(environment)
    backups: dict[VolumeRef, Backup] = {
        VolumeRef(pipeline, environment, name): one.backup
        for name, one in rendered.service.volumes.items()
        if one.backup != Backup()
    }
    for use in rendered.uses.values():
        one = config.accessories.get(use.accessory)
        if one and one.backup.run:
            backups[VolumeRef(use.accessory, environment, DATA, "accessory")] = one.backup
    return backups
