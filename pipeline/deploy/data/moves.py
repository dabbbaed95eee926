"""Data under another name, for a pipeline or an environment that was renamed."""

from __future__ import annotations

from contextlib import ExitStack

from pipeline.deploy.data.renamed_backups import RenamedBackups
from pipeline.deploy.data.unfinished import refusal
from pipeline.deploy.data.volumes import TRANSFER, VolumeWork
from pipeline.deploy.heartbeat import HeldLease, fenced
from pipeline.deploy.tools.telling import Tell
from pipeline.domain.volumes import UnfinishedCopy, VolumeRef
from pipeline.errors import RequestError
from pipeline.ports.clock import Deadline
from pipeline.ports.engine import Engine


class VolumeMoves(VolumeWork):
    """No engine renames a volume: its files are copied and compared, and only then the old one is removed. Killed
    anywhere, the files are whole under one of the names, or under both, and the same move goes on from there. Until it
    has, nothing starts with the new name (``data.unfinished``)."""

    def move(self, source: VolumeRef, target: VolumeRef, tell: Tell) -> None:
        """Gives a pipeline's volume the name ``target``. Raises as ``movable``, RequestError if the other has files of
        its own, and TryAgain."""
        engine = self.movable(source, target)
        backups = self.backups()
        with backups.alone(source, target), self._access.replacing(source, target), ExitStack() as stack:
            held: list[HeldLease] = []
            for owner, environment in sorted({(one.owner, one.environment) for one in (source, target)}):
                name, record = f"{owner}/{environment}", self._store.environment(owner, environment)
                held.append(stack.enter_context(self._access.alone(name)))
                if (
                    record is None or not record.slots
                ):  # where something serves, no revert has to wait for this
                    held.append(stack.enter_context(self._lease(name)))

            def insist() -> None:
                for one in held:
                    one.insist()

            with self.unfinished.during(self.moving(source, target)):
                self.carry(fenced(engine, insist), source, target, tell)
                insist()
                for line in backups.follow(source, target):
                    tell(line)
                self.unfinished.copied(target)
                self._remove(source)
        tell(f"Removed the volume {source}.")

    def moving(self, source: VolumeRef, target: VolumeRef) -> UnfinishedCopy:
        """The mark of a move."""
        command = f"pushlive volume mv {source} {target} --yes {source}"
        return UnfinishedCopy(target, "volume mv", command, self._adapters.clock.now(), str(source))

    def finished(self, source: VolumeRef, target: VolumeRef) -> bool:
        """True if a move of these died after it had removed the source; then nothing is left of it."""
        found = self.unfinished.of(target)
        if not found or found.source != str(source) or not self.is_moot(found):
            return False
        self.unfinished.end(target)
        return True

    def is_moot(self, found: UnfinishedCopy) -> bool:
        """True if all is done, and only its mark is left. Raises what an engine does that does not answer."""
        if not found.copied:
            return False
        there = {str(one.ref) for _, one in self.asked_all()}
        return str(found.ref) in there and found.source not in there

    def backups(self) -> RenamedBackups:
        return RenamedBackups(self._services, self._adapters)

    def movable(self, source: VolumeRef, target: VolumeRef) -> Engine:
        """The engine of both. Raises NotFound, and RequestError if something has the volume, or if one of them waits
        for other files."""
        key = self.find(source)
        if found := self.unfinished.of(source):
            raise refusal(self._store, found, RequestError)
        self.unfinished.refuse_other(self.moving(source, target))
        self.refuse_elsewhere(source, target, key)
        engine = self._adapters.engines.of(key)
        self._refuse_used(engine, source)
        return engine

    def carry(self, engine: Engine, source: VolumeRef, target: VolumeRef, tell: Tell) -> None:
        """Copies the files, under the caller's leases."""
        tell(f"Copying the files of {source} to {target}, and comparing them.")
        watch = Deadline(self._adapters.clock, TRANSFER, f"Copying the volume {source}")
        engine.volumes.copy_volume(source, target, watch, asked=self._asked(target))
        tell(f"{target} has all files of {source}.")

    def refuse_elsewhere(self, source: VolumeRef, target: VolumeRef, key: str) -> None:
        """``key``: the engine that has the source. Raises RequestError if the target would be on another one."""
        there = self.place_of(target)
        if there == key:
            return
        raise RequestError(
            f"The volume {source} on {key} was not moved: {target} would be on another engine, {there}.",
            advice=f"`pushlive volume backup {source} --to FILE`, then "
            f"`pushlive volume restore {target} --from FILE --stop`, and `pushlive volume rm {source}` once that is "
            "done.",
        )

    def _refuse_used(self, engine: Engine, ref: VolumeRef) -> None:
        users = [name for one in engine.volumes.volumes() if one.ref == ref for name in one.users]
        if users:
            raise RequestError(
                f"The volume {ref} is in use by {', '.join(users)}, so it was not moved.",
                advice="`pushlive gc` ends what serves in an environment that is no longer in pipelines.yaml; its data "
                f"stay. From one that is still there, copy the files: `pushlive volume backup {ref} --to FILE`, and "
                "restore them under the new name.",
            )
