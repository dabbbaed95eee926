"""An accessory under another name, with its data and its secrets."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.accessory_users import FILE
from pipeline.deploy.data.unfinished import refuse
from pipeline.deploy.heartbeat import HeldLease, fenced
from pipeline.deploy.tools.telling import Tell, told
from pipeline.domain import audit_chain
from pipeline.domain.accessories import AccessoryRecord, AccessoryRef
from pipeline.domain.audit_chain import Who
from pipeline.domain.volumes import UnfinishedCopy
from pipeline.errors import PushliveError, RequestError
from pipeline.ports.clock import Deadline
from pipeline.ports.engine import Engine
from pipeline.service.app.accessory_acts import LIMIT, AccessoryActs, refuse_half_upgraded


class AccessoryMoves(AccessoryActs):
    """Killed anywhere, the data are whole under one of the names, or under both, and the same move goes on from there:
    the new record is written once the copy is whole, and says what is still to be removed. Until then no one makes
    another one of the new name (``deploy.data.unfinished``)."""

    def move(
        self, name: str, by: Who, *, environment: str, to: str, to_environment: str = ""
    ) -> Generator[tuple[str, ...]]:
        """Gives it the name ``to``, by default in the same environment: what is done, as it comes; () while it goes on,
        also without the caller. Raises NotFound, and RequestError unless it can be moved."""
        self.insist_on_store()
        if done := self._moved(name, environment, AccessoryRef(to, to_environment or environment)):
            return told("accessory-mv", lambda tell: tell(done))
        old = self._known_record(name, environment)
        new = AccessoryRef(to, to_environment or environment, old.engine)
        self._refuse_move(old, new)
        self.record(
            by,
            "accessory mv",
            environment=environment,
            detail=f"{old.id} to {new.id}",
            before=old.id,
            after=new.id,
        )
        return told("accessory-mv", partial(self._move, old.ref, new, by))

    def _moved(self, name: str, environment: str, to: AccessoryRef) -> str:
        """What is said if that move is done already, "" if it is not."""
        there = self._store.accessories.get(to.name, to.environment)
        before = f"{name}/{environment}"
        if self._store.accessories.get(name, environment) or there is None or before not in there.formerly:
            return ""
        return f"{before} is {there.id} already, with its data and its secrets."

    def _refuse_move(self, old: AccessoryRecord, new: AccessoryRef) -> None:
        refuse_half_upgraded(old)
        refuse(self._store, [old.ref.volume], RequestError)
        self._unfinished.refuse_other(self._moving(old, new))
        users = [name for name, why in self._care.users(old).items() if why == FILE]
        if users:
            raise RequestError(
                f"{old.id} was not moved: {', '.join(users)} uses it by this name in pipelines.yaml.",
                advice=f"Write {new.name} in its place there, under `accessories` and `uses`; then move it.",
            )
        self._care.insist_on_use(new.name, new.environment)
        if old.config.volume:
            self._operations.volumes().refuse_elsewhere(old.ref.volume, new.volume, old.engine)
        found = self._store.accessories.get(new.name, new.environment)
        if found and found.moved_from != old.id:
            raise RequestError(
                f"{old.id} was not moved: there is an accessory {new.id}, with data of its own.",
                advice=f"Stop both, and copy the files: `pushlive volume backup {old.ref.volume} --to FILE`, then "
                f"`pushlive volume restore {new.volume} --from FILE`.",
            )

    def _move(self, ref: AccessoryRef, to: AccessoryRef, by: Who, tell: Tell) -> None:
        watch = Deadline(self._clock, LIMIT, "moving the accessory")
        with ExitStack() as stack:
            held = {one: stack.enter_context(self._care.lease(one, watch)) for one in sorted((ref.id, to.id))}

            def insist() -> None:
                for one in held.values():
                    one.insist()

            old = self._known_record(ref.name, ref.environment)
            self._refuse_move(old, to)
            backups = self._operations.volumes().backups()
            stack.enter_context(backups.alone(ref.volume, to.volume))
            stack.enter_context(VolumeAccess(self._store, self._clock).replacing(ref.volume, to.volume))
            engine = fenced(self._engines.of(ref.engine), insist)
            new = self._store.accessories.get(to.name, to.environment)
            if new is None:
                with self._unfinished.during(self._moving(old, to)):
                    new = self._carried(old, to, by, engine, held, tell)
            self._unfinished.end(to.volume)
            watch = Deadline(self._clock, LIMIT, "starting the accessory")
            engine.accessories.keep_accessory(self._care.spec(new), watch)
            for line in backups.follow(ref.volume, to.volume):
                tell(line)
            engine.accessories.remove_accessory(ref)
            if old.config.volume:
                engine.volumes.remove_volume(ref.volume)
            entry = self._entry_of(by, "mv", old, f"is {to.id} now")
            new = replace(new, moved_from="")
            self._store.accessories.move(ref, new, tuple(held.values()), entry)
            self._store.facts.set(f"accessory-problem:{ref.id}", "")
        self._move_entries()
        self._care.await_ready(new, watch)
        tell(f"{ref.id} is {to.id} now, with its data and its secrets, and ready.")

    def _moving(self, old: AccessoryRecord, to: AccessoryRef) -> UnfinishedCopy:
        """The mark of a move."""
        where = f" {to.environment}" if to.environment != old.environment else ""
        command = f"pushlive accessory mv {old.name} {old.environment} {to.name}{where} --yes {old.id}"
        source = str(old.ref.volume)
        return UnfinishedCopy(to.volume, "accessory mv", command, self._clock.now(), source)

    def _carried(
        self,
        old: AccessoryRecord,
        to: AccessoryRef,
        by: Who,
        engine: Engine,
        held: dict[str, HeldLease],
        tell: Tell,
    ) -> AccessoryRecord:
        """The new record, which is stored, once data and secrets are copied. If they cannot be, the old one goes on."""
        stopped = replace(old, stopped=old.stopped or audit_chain.actor(by).name)
        self._store.accessories.put(stopped, held[old.id])
        engine.accessories.halt_accessory(old.ref)
        tell(f"{old.id} is stopped.")
        try:
            if old.config.volume:
                self._operations.volumes().carry(engine, old.ref.volume, to.volume, tell)
            numbers = self._copy_secrets(old, to, by)
            made = self._care.configured(to.name, to.environment)
        except PushliveError:
            self._store.accessories.put(old, held[old.id])
            if not old.stopped:
                watch = Deadline(self._clock, LIMIT, "starting the accessory")
                engine.accessories.keep_accessory(self._care.spec(old), watch)
                tell(f"{old.id} was not moved, and is started again.")
            raise
        new = replace(made, config=old.config, secrets=numbers, moved_from=old.id)
        new = replace(new, formerly=tuple(dict.fromkeys((*old.formerly, old.id))))
        if old.environment == to.environment:  # what runs finds it by its name, or by its address
            new = replace(new, attached={**made.attached, **old.attached})
        self._store.accessories.put(new, held[to.id])
        return new

    def _copy_secrets(self, old: AccessoryRecord, to: AccessoryRef, by: Who) -> dict[str, int]:
        """The numbers of the versions that the new one has."""
        values, now = self._vault.reveal(old.name, old.environment, old.secrets), self._clock.now()
        return {
            name: self._vault.take_up(to.name, to.environment, name, values[name], number, by=by, now=now)
            for name, number in old.secrets.items()
        }
