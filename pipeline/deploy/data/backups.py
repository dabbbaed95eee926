"""Backups of volumes and accessories: made when asked or by a schedule, kept in the data folder, sent elsewhere.

Each is made under a lease of its own. A process that dies in the middle leaves nothing that counts, and one that was
taken for dead finds its lease lost before its file would count.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial

from pipeline.config.workload.backup import AccessoryBackup, Backup
from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.backup_places import BackupPlaces, fact_of
from pipeline.deploy.data.unfinished import refuse
from pipeline.deploy.data.volumes import TRANSFER, VolumeWork
from pipeline.deploy.heartbeat import HeldLease, holding
from pipeline.deploy.services import Services
from pipeline.domain.accessories import AccessoryRecord
from pipeline.domain.volumes import BackupState, KeptBackup, VolumeRef, WrittenBackup, backup_state
from pipeline.errors import Busy, EngineFailed, NotFound, PushliveError, RequestError, StoreUnavailable
from pipeline.lib import codec
from pipeline.lib.retry import poll
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline
from pipeline.store import Transaction

LEASE = 10.0  # seconds that a person waits for a backup at work, which takes longer

Change = Callable[[BackupState], BackupState]


class BackupWork(BackupPlaces):
    """Makes them, and remembers how that went."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        super().__init__(services, adapters)
        self._vault = services.vault
        self._access = VolumeAccess(services.store, adapters.clock)
        self._volumes = VolumeWork(services, adapters)

    # ── made ─────────────────────────────────────────────────────────────────

    def make(self, ref: VolumeRef) -> KeptBackup:
        """One now, because a person asked. Raises NotFound, TryAgain while another is made, and what went wrong."""
        with self.making(ref) as held:
            return self._make(ref, self.said(ref), held, asked=True)

    def has_command(self, ref: VolumeRef) -> bool:
        """Whether pipelines.yaml says by which command an accessory is backed up."""
        said = self.said(ref)
        return isinstance(said, AccessoryBackup) and bool(said.run)

    @contextmanager
    def making(self, ref: VolumeRef) -> Iterator[HeldLease]:
        """No other process makes or sends one meanwhile. Raises TryAgain while one does."""
        take = partial(self._store.leases.take, _lease(ref), "backup")
        lease = poll(take, 0.05, self._clock, timeout=LEASE)
        if lease is None:
            raise Busy(
                f"A backup of {ref} is being made already.", advice="`pushlive backups` shows it when it is."
            )
        with holding(self._store, lease) as held:
            yield held

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

    def _make(self, ref: VolumeRef, said: Backup, held: HeldLease, *, asked: bool = False) -> KeptBackup:
        """``asked``: by a person, who wants the data of now. The schedule is content with sending what was made."""
        now, tried = self._clock.now(), self.state(ref).tried
        before = self._change(ref, lambda one: replace(one, tried=now), held)
        try:
            unsent = None if asked else before.unsent(said, now)
            made = unsent or self._written(ref, said, now, held)
            if said.to:
                self._send(ref, made, said, held)
        except (StoreUnavailable, NotFound):
            raise
        except Busy:  # nothing was tried; the schedule waits for a while all the same
            if asked:
                self._change(ref, lambda one: replace(one, tried=tried), held)
            raise
        except PushliveError as error:
            self._failed(ref, said, error, held)
            raise
        known = made.kept if isinstance(made, WrittenBackup) else made
        self._change(
            ref,
            lambda one: replace(one, made=known, good=known, failed="", told=False),
            held,
            self._again(ref),
        )
        return made

    def _written(self, ref: VolumeRef, said: Backup, now: float, held: HeldLease) -> WrittenBackup:
        with closing(self._pieces(ref, said, held)) as pieces:
            made = self.kept.write(ref, float(int(now)), pieces, held.insist)
        self._change(ref, lambda one: replace(one, made=made.kept), held)
        self.kept.prune(ref, said.keep, made.file)
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
        return self._dump(ref, engine.accessories.dump_accessory(record.ref, run, watch))

    def _dump(self, ref: VolumeRef, pieces: Generator[bytes]) -> Generator[bytes]:
        """While it runs, no command stops the accessory for its files."""
        with self._access.reading(ref), closing(pieces):
            refuse(self._store, [ref], RequestError)
            yield from pieces

    def _send(self, ref: VolumeRef, made: KeptBackup, said: Backup, held: HeldLease) -> None:
        held.insist()
        watch, copies = Deadline(self._clock, TRANSFER, f"Sending {made.file}"), self._adapters.copies
        try:
            copies.send(said.to, ref, self.kept.path(ref, made.file), watch)
        except EngineFailed as error:
            if made.file in error.message:
                raise
            text = f"{made.file} was not copied to {said.to}: {error.message}"
            advice = f"{error.advice} The backup itself is kept here.".strip()
            raise EngineFailed(text, advice=advice, evidence=error.evidence) from error
        held.insist()
        with suppress(EngineFailed):  # it has arrived, and the next one tries again
            keep = said.keep
            for of in self._names(ref):
                copies.prune(said.to, of, keep)
                keep = max(0, keep - len(copies.kept(said.to, of)))

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
            before = backup_state(tx.fact(fact_of(ref)))
            after = change(before)
            if after != before:
                tx.put_fact(fact_of(ref), codec.dump(after))
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


def _lease(ref: VolumeRef) -> str:
    return f"backup-of:{ref}"
