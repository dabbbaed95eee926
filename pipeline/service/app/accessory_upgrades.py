"""An accessory with another image: its data are copied first, and it can be taken back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import partial

from pipeline.config.diff import accessory_differences
from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.volumes import TRANSFER
from pipeline.deploy.heartbeat import HeldLease
from pipeline.deploy.tools.telling import Tell, told
from pipeline.domain.accessories import AccessoryRecord, AccessoryRef, Upgrade
from pipeline.domain.audit_chain import Who
from pipeline.domain.volumes import UnfinishedCopy
from pipeline.errors import PushliveError, RequestError, StoreUnavailable
from pipeline.ports.clock import Deadline
from pipeline.ports.engine import Engine
from pipeline.service.app.accessory_acts import LIMIT, insist_on_volume
from pipeline.service.app.accessory_moves import AccessoryMoves


class AccessoryUpgrades(AccessoryMoves):
    """The record says what an upgrade has reached: once the copy is whole, `copied`, and the same upgrade goes on with
    the other image. Killed before, it is as it was, and the keeper starts it again."""

    def upgrade(
        self, name: str, by: Who, *, environment: str, back: bool = False
    ) -> Generator[tuple[str, ...]]:
        """Makes it as pipelines.yaml says, after a copy of its data; ``back``: makes it as it was before, with these
        data. What is done, as it comes; () while it goes on, also without the caller. Raises NotFound, and RequestError
        if there is nothing to do."""
        self.insist_on_store()
        record = self._known_record(name, environment)
        (self._before if back else self._changes)(record)
        act = self._take_back if back else self._upgrade
        return told("accessory-upgrade", partial(act, record.ref, by))

    # ── forward ──────────────────────────────────────────────────────────────

    def _changes(self, record: AccessoryRecord) -> tuple[str, ...]:
        """What it would change, in words. Raises RequestError if that is nothing, or not possible."""
        if record.upgrade and not record.upgrade.done:
            return accessory_differences(record.upgrade.config, record.config)
        wanted = self._care.renewed(record)
        changes = accessory_differences(record.config, wanted.config)
        if not changes:
            raise RequestError(
                f"{record.id} is as pipelines.yaml says; there is nothing to upgrade.",
                advice=f"Write the other image under accessories.{record.name}, then `pushlive accessory upgrade "
                f"{record.name} {record.environment}`.",
            )
        insist_on_volume(record, wanted)
        return changes

    def _upgrade(self, ref: AccessoryRef, by: Who, tell: Tell) -> None:
        self._dump(self._known_record(ref.name, ref.environment), tell)
        watch = Deadline(self._clock, LIMIT, "upgrading the accessory")
        with self._care.lease(ref.id, watch) as lease, self._alone(ref):
            record = self._known_record(ref.name, ref.environment)
            self._refuse_unfinished(ref)
            changes = self._changes(record)
            tell(f"{ref.id}: {'; '.join(changes)}")
            engine = lease.fenced(self._engines.of(ref.engine))
            record = self._prepared(record, engine, lease, by, "; ".join(changes), tell)
            watch = Deadline(self._clock, LIMIT, "upgrading the accessory")
            engine.accessories.replace_accessory(self._care.spec(record), watch)
            record = replace(record, upgrade=record.upgrade and replace(record.upgrade, done=True))
            self._store.accessories.put(record, lease)
        self._move_entries()
        back = f"`pushlive accessory upgrade {ref.name} {ref.environment} --back`"
        try:
            self._care.await_ready(record, watch)
        except PushliveError:
            tell(f"{back} takes it back, with the data of before.")
            raise
        kept = f" The data of before are in {ref.before_upgrade}." if record.config.volume else ""
        tell(f"{ref.id} is as pipelines.yaml says, and ready.{kept} {back} takes it back.")

    def _dump(self, record: AccessoryRecord, tell: Tell) -> None:
        """While it still runs, a backup by its own command, if it has one: another major version reads that alone. With
        a volume the copy of its files has the data as well, so a backup that fails is only said; without, it raises."""
        backups, volume = self._operations.volumes().backups(), record.ref.volume
        if (record.upgrade and not record.upgrade.done) or not backups.has_command(volume):
            return
        if record.stopped or self._of(record).accessory_state(record.ref).state != "running":
            tell(f"! {record.id} does not run, so no backup of it is made first.")
            return
        tell(f"{record.id} is backed up.")
        try:
            made = backups.make(volume)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            if not record.config.volume:
                raise
            tell(f"! The backup failed: {error} The copy of its files is made all the same.")
            return
        tell(f"{made.file} is kept: `pushlive backups {record.name}` shows it.")

    def _prepared(
        self, old: AccessoryRecord, engine: Engine, lease: HeldLease, by: Who, detail: str, tell: Tell
    ) -> AccessoryRecord:
        """The record of the next definition, which is stored once the copy of the data is whole. If it does not become
        whole, the accessory goes on as it was."""
        begun = old.upgrade if old.upgrade and not old.upgrade.done else None
        new = old if begun else self._care.renewed(old)
        if begun and self._has_run(new, engine):
            return new
        wanted = self._care.spec(new)
        engine.accessories.provide_accessory(wanted, Deadline(self._clock, LIMIT, "pulling the image"))
        try:
            if old.config.volume:
                if old.upgrade and old.upgrade.done:  # what it could be taken back to goes now
                    old = replace(old, upgrade=None)
                    self._store.accessories.put(old, lease)
                self._copy(old, engine, tell)
        except PushliveError:
            watch = Deadline(self._clock, LIMIT, "starting the accessory")
            engine.accessories.keep_accessory(self._care.spec(old), watch)
            tell(f"{old.id} was not upgraded, and goes on as it was.")
            raise
        before = begun or Upgrade(old.config, old.secrets, self._clock.now())
        new = replace(new, stopped="", upgrade=before)
        self._store.accessories.put(new, lease, self._entry_of(by, "upgrade", new, detail))
        return new

    def _copy(self, record: AccessoryRecord, engine: Engine, tell: Tell) -> None:
        ref, watch = record.ref, Deadline(self._clock, TRANSFER, f"Copying the data of {record.id}")
        tell(f"{record.id} is stopped while its data are copied to {ref.before_upgrade}.")
        engine.accessories.halt_accessory(ref)
        engine.volumes.remove_volume(ref.before_upgrade)  # of an earlier upgrade, or one that was killed
        engine.volumes.copy_volume(ref.volume, ref.before_upgrade, watch)

    # ── back ─────────────────────────────────────────────────────────────────

    def _before(self, record: AccessoryRecord) -> Upgrade:
        """Raises RequestError if it cannot be taken back."""
        if record.upgrade is None:
            raise RequestError(
                f"{record.id} has no upgrade that could be taken back.",
                advice="To have another image, write it into pipelines.yaml, then "
                f"`pushlive accessory upgrade {record.name} {record.environment}`.",
            )
        kept = [one.ref for one in self._engines.of(record.engine).volumes.volumes()]
        if record.upgrade.done and record.config.volume and record.ref.before_upgrade not in kept:
            raise RequestError(
                f"the data of {record.id} from before its upgrade, {record.ref.before_upgrade}, were removed.",
                advice="Write the image of before into pipelines.yaml and upgrade to that: it keeps the data of now.",
            )
        return record.upgrade

    def _take_back(self, ref: AccessoryRef, by: Who, tell: Tell) -> None:
        watch = Deadline(self._clock, LIMIT, "taking the accessory back")
        with self._care.lease(ref.id, watch) as lease, self._alone(ref):
            record = self._known_record(ref.name, ref.environment)
            before, engine = self._before(record), lease.fenced(self._engines.of(ref.engine))
            old = replace(record, config=before.config, secrets=before.secrets, stopped="")
            changes = accessory_differences(record.config, before.config)
            tell(f"{ref.id}: {'; '.join(changes) or 'it is taken back'}")
            engine.accessories.provide_accessory(self._care.spec(old), watch)
            entry = self._entry_of(by, "upgrade", old, "back")
            if record.config.volume and (before.done or self._has_run(record, engine)):
                self._put_data_back(ref, engine, tell)
                self._store.accessories.put(old, lease, entry)
                self._unfinished.end(ref.volume)
            else:
                self._store.accessories.put(old, lease, entry)
            watch = Deadline(self._clock, LIMIT, "taking the accessory back")
            engine.accessories.replace_accessory(self._care.spec(old), watch)
            self._care.await_ready(old, watch)
            self._store.accessories.put(replace(old, upgrade=None), lease)
            engine.volumes.remove_volume(ref.before_upgrade)
        self._move_entries()
        tell(f"{ref.id} is as it was before its upgrade, and ready. pipelines.yaml still says otherwise.")

    def _put_data_back(self, ref: AccessoryRef, engine: Engine, tell: Tell) -> None:
        """Leaves its mark: until the record says so as well, nothing starts it as it is now with the data of
        before."""
        command = f"pushlive accessory upgrade {ref.name} {ref.environment} --back --yes {ref.id}"
        act = "accessory upgrade --back"
        self._unfinished.begin(UnfinishedCopy(ref.volume, act, command, self._clock.now()))
        tell(f"{ref.id} is stopped while it gets the data of before.")
        try:
            engine.accessories.halt_accessory(ref)
            limit = Deadline(self._clock, TRANSFER, f"Copying the data of {ref.id}")
            with closing(engine.volumes.export_volume(ref.before_upgrade, limit)) as pieces:
                engine.volumes.import_volume(ref.volume, pieces, limit)
        except PushliveError:  # it has the data of now, and goes on with them
            self._unfinished.end(ref.volume)
            raise

    def _alone(self, ref: AccessoryRef) -> AbstractContextManager[None]:
        """No backup of its data runs meanwhile: it would end with the accessory."""
        return VolumeAccess(self._store, self._clock).replacing(ref.volume, ref.before_upgrade)

    def _has_run(self, record: AccessoryRecord, engine: Engine) -> bool:
        """True if its container was made from the definition in the record, so that it may have written. Otherwise the
        copy need not be whole, and the data are those of before."""
        wanted = engine.accessories.accessory_hash(self._care.spec(record))
        return engine.accessories.accessory_state(record.ref).spec == wanted
