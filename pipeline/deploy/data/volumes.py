"""What people do with volumes: look at them, copy their files out and back, move and remove them.

Removing one, or replacing its files, is the only way in which Pushlive ever loses data, and always a person's act.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from pipeline.config.models import Config, Rendered
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.deploy.data.access import VolumeAccess
from pipeline.deploy.data.engines import forget, with_data_left
from pipeline.deploy.data.unfinished import UnfinishedCopies, refusal, refuse
from pipeline.deploy.heartbeat import HeldLease, fenced, holding
from pipeline.deploy.reconciler import Reconciler
from pipeline.deploy.services import Services
from pipeline.deploy.slot import in_turn
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import SLOTS, Environment, SlotState
from pipeline.domain.slots import slot_ref
from pipeline.domain.volumes import StoredVolume, UnfinishedCopy, VolumeRef, volumes_of
from pipeline.errors import Busy, EngineFailed, NotFound, PushliveError, RequestError, StoreUnavailable
from pipeline.lib.retry import poll
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline
from pipeline.ports.engine import Engine
from pipeline.ports.volumes import ASKED
from pipeline.store import Lease, Transaction

TRANSFER = 6 * 3600.0  # seconds for the files of one volume; silence ends it earlier
COMMAND = 600.0  # seconds for `before_backup` and `after_backup`
LEASE = 10.0  # seconds: the keeper has an environment for moments
EVIDENCE = 20  # lines of a failed command


@dataclass
class StoredVolumes:
    """``volumes``: each with the key of its engine; ``unanswered``: why an engine did not say what it has, by its
    key."""

    volumes: list[tuple[str, StoredVolume]] = field(default_factory=list)
    unanswered: dict[str, PushliveError] = field(default_factory=dict)

    def not_found(self, name: str) -> PushliveError:
        """The error for a volume that is not among them."""
        for error in self.unanswered.values():
            return error
        return NotFound(
            f"There is no volume {name}.", advice="`pushlive volume list` shows those that exist."
        )


class VolumeWork:
    """Everything acts on the engine at once; nothing is recorded but in the audit log, by the caller."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._services, self._adapters = services, adapters
        self._store, self._configurations = services.store, services.configurations
        self._access = VolumeAccess(services.store, adapters.clock)
        self.unfinished = UnfinishedCopies(services, adapters.clock)

    def look(self, *, sizes: bool = False) -> StoredVolumes:
        """What every engine in use has, and those that have data of removed environments."""
        found = StoredVolumes()
        for key in sorted({*self._adapters.engines.in_use(), *with_data_left(self._store)}):
            try:
                volumes = self._adapters.engines.of(key).volumes.volumes(sizes=sizes)
                found.volumes += [(key, one) for one in volumes]
            except StoreUnavailable:
                raise
            except PushliveError as error:
                found.unanswered[key] = error
        return found

    def asked_all(self) -> list[tuple[str, StoredVolume]]:
        """The same. Raises what an engine does that may have more."""
        found = self.look()
        for error in found.unanswered.values():
            raise error
        return found.volumes

    def existing(self, owner: str, environment: str, name: str) -> VolumeRef:
        """The volume of that name. Raises NotFound; if an engine did not answer that may have it, what that raised."""
        found = self.look()
        for _, one in found.volumes:
            if (one.ref.owner, one.ref.environment, one.ref.name) == (owner, environment, name):
                return one.ref
        raise found.not_found(f"{owner}/{environment}/{name}"[:120])

    def find(self, ref: VolumeRef) -> str:
        """The key of the engine that has it. Raises as ``existing`` does."""
        found, environment = self.look(), self._environment(ref)
        keys = [key for key, one in found.volumes if one.ref == ref]
        if environment and environment.engine in found.unanswered:
            raise found.unanswered[environment.engine]
        if not keys:
            raise found.not_found(str(ref))
        return environment.engine if environment and environment.engine in keys else keys[0]

    def remove(self, ref: VolumeRef) -> None:
        """Raises NotFound, InUse while a backup of it runs, and RequestError if it is in use, also if nothing runs with
        it now, as between two runs by a schedule, or if another one has not all of its files yet. A copy to it that was
        broken off is given up."""
        with self._access.replacing(ref):
            if waits := self.unfinished.to_be_copied(str(ref)):
                raise refusal(self._store, waits, RequestError)
            self._remove(ref)
            self.unfinished.end(ref)

    def give_up(self, ref: VolumeRef) -> bool:
        """The same for one that a copy was to make and has not; False if there is no such copy."""
        if not self.unfinished.of(ref):
            return False
        with self._access.replacing(ref):
            self.unfinished.end(ref)
        return True

    def _remove(self, ref: VolumeRef) -> None:
        key = self.find(ref)
        if serving := self._serving_with(ref):
            raise RequestError(
                f"The volume {ref} is in use by r{serving.release}, which serves in {ref.owner}/{ref.environment}.",
                advice="Remove it from `volumes` in pipelines.yaml and deploy that.",
            )
        volumes = self._adapters.engines.of(key).volumes
        volumes.remove_volume(ref)
        if key in with_data_left(self._store) and not tuple(volumes.volumes()):
            forget(self._store, key)

    def back_up(self, ref: VolumeRef) -> Generator[bytes]:
        """Its files as a tar stream, between the commands that the release which serves names for it. Close it. Raises
        NotFound, InUse while its files are replaced, RequestError if it does not have all of them yet, and EngineFailed
        if such a command fails, before it reads."""
        engine = self._adapters.engines.of(self.find(ref))
        spec = self._serving_with(ref)
        said = spec.config.service.volumes[ref.name] if spec else None
        with self._access.reading(ref):
            refuse(self._store, [ref], RequestError)
            try:
                if spec and said and said.before_backup:
                    self._command(engine, spec, "before-backup", said.before_backup)
                watch = Deadline(self._adapters.clock, TRANSFER, f"Reading the volume {ref}")
                with closing(engine.volumes.export_volume(ref, watch)) as pieces:
                    yield from pieces
            finally:
                if spec and said and said.after_backup:
                    self._command(engine, spec, "after-backup", said.after_backup)

    def restore(self, ref: VolumeRef, tar: Iterable[bytes], *, stop: bool) -> tuple[str, ...]:
        """Replaces its files; what was done. ``stop``: what runs in the environment is ended once all is unpacked, and
        started again when the files are in their place; without it, raises RequestError if a release serves there
        that has the volume, and while it waits for the files of another one."""
        environment = self._environment(ref)
        engine = self._adapters.engines.of(self.place_of(ref))
        self._refuse_beside(engine, ref)
        mark = self.restoring(engine, ref)
        self.unfinished.refuse_other(mark)
        serving = self._serving_with(ref)
        if serving and not stop:
            raise RequestError(
                f"r{serving.release} serves in {ref.owner}/{ref.environment} and has the volume {ref.name}, so its "
                "files cannot be replaced.",
                advice="`--stop` stops it for as long as that takes; requests wait in the proxy until it is back (on "
                "Kubernetes they get a 503).",
            )
        self._insist_on_return(environment, ref)
        watch = Deadline(self._adapters.clock, TRANSFER, f"Writing the volume {ref}")
        said, failed = [f"{ref} has the files of the backup."], list[PushliveError]()
        with self._access.replacing(ref), ExitStack() as stack, self.unfinished.during(mark):
            engine.volumes.ensure_volume(ref, self._asked(ref))
            held: list[HeldLease] = []
            # From `end` on the lease is read before the files are replaced as well.
            fence = fenced(engine, lambda: held[0].insist() if held else None)

            def end() -> None:
                if environment and environment.slots:
                    held.append(stack.enter_context(self._lease(environment.id)))
                    stack.enter_context(self._access.alone(environment.id))
                    self._refuse_beside(fence, ref)  # again, while everything still serves
                    self._insist_on_return(environment, ref)
                    stack.callback(lambda: said.extend(self._brought_back(environment, held[0], failed)))
                    said.extend(self._end(fence, environment, held[0]))

            fence.volumes.import_volume(ref, tar, watch, end)
        for error in failed:
            raise EngineFailed(
                f"{said[0].rstrip('.')}, but what serves does not run again yet: {error.message}",
                advice=f"{error.advice} The service goes on trying; `pushlive status` shows it.".strip(),
            )
        return tuple(said)

    def _insist_on_return(self, environment: Environment | None, ref: VolumeRef) -> None:
        """Raises RequestError if what serves, and would be stopped, could not be started again."""
        found = self._environment(ref) if environment else None
        spec = Reconciler(self._services, self._adapters, found, None).active_spec() if found else None
        if spec is None:
            return
        try:
            spec.reveal()
        except StoreUnavailable:
            raise
        except PushliveError as error:
            raise RequestError(
                f"r{spec.release} serves in {ref.owner}/{ref.environment} and could not be started again, so nothing "
                f"was stopped and {ref} is as it was: {error.message}",
                advice=f"{error.advice} Or deploy a release that can be started, then restore.".strip(),
            ) from error

    def restore_missing(self, ref: VolumeRef, tar: Iterable[bytes]) -> None:
        """Makes a volume that is not there with these files, while nothing runs. Raises as ``import_volume``."""
        engine = self._adapters.engines.of(self.place_of(ref))
        watch = Deadline(self._adapters.clock, TRANSFER, f"Writing the volume {ref}")
        with self._access.replacing(ref), self.unfinished.during(self.restoring(engine, ref)):
            engine.volumes.import_volume(ref, tar, watch)

    def restoring(self, engine: Engine, ref: VolumeRef) -> UnfinishedCopy:
        """The mark of a restore: until it is done, nothing starts with a volume that begins empty. The files of one
        that is there change places at once."""
        there = any(one.ref == ref for one in engine.volumes.volumes())
        command = f"pushlive volume restore {ref} --from FILE"
        return UnfinishedCopy(ref, "volume restore", command, self._adapters.clock.now(), whole=there)

    # ── the environment ──────────────────────────────────────────────────────

    def _refuse_beside(self, engine: Engine, ref: VolumeRef) -> None:
        """Raises RequestError while something has the volume that would not be stopped."""
        if not (names := engine.volumes.running_beside(ref)):
            return
        how = "Wait until it has ended, or end it, and restore again."
        if ref.kind == "accessory":
            how = (
                f"`pushlive accessory stop {ref.owner} {ref.environment}` stops the accessory; its data stay."
            )
        raise RequestError(
            f"The volume {ref} is in use by {', '.join(names)}, so nothing was stopped and its files are as they were.",
            advice=how,
        )

    def _end(self, engine: Engine, environment: Environment, lease: Lease) -> list[str]:
        """Ends what runs there; what is to be said. What should serve stays in the record: the next repair brings it
        back. What was only kept warm does not come back, and what failed is stopped already."""
        ref = slot_ref(environment, SLOTS[0])
        found = self._store.environment(environment.pipeline, environment.name) or environment
        spec = Reconciler(self._services, self._adapters, found, None).active_spec()
        if spec:
            engine.traffic.pause(ref, in_turn.limit(spec))
        else:
            engine.traffic.unroute(ref)
        states = {slot: one.state for slot, one in found.slots.items()}
        for slot in SLOTS:
            if states.get(slot) != SlotState.FAILED:
                engine.slots.stop(replace(ref, slot=slot))
        warm = {slot: one for slot, one in found.slots.items() if one.state == SlotState.WARM}

        def act(transaction: Transaction) -> None:
            now = transaction.environment(environment.name)
            kept = {slot: one for slot, one in now.slots.items() if one != warm.get(slot)}
            transaction.put_environment(replace(now, slots=kept))

        if warm:
            self._store.transact(environment.pipeline, act, fence=lease)
        return [
            f"{environment.id}: r{one.release} is no longer kept warm; a revert to it starts it first."
            for one in warm.values()
        ]

    def _brought_back(
        self, environment: Environment, lease: Lease, failed: list[PushliveError]
    ) -> tuple[str, ...]:
        """What serves runs again. If that fails, so is said in ``failed``, and the keeper goes on trying."""
        try:
            found = self._store.environment(environment.pipeline, environment.name) or environment
            reconciler = Reconciler(self._services, self._adapters, found, lease)
            reconciler.repair()
            serves = (f"{environment.id}: r{found.serving} serves again.",) if found.serving else ()
            return (*serves, *(f"! {environment.id}: {text}" for text in reconciler.left))
        except PushliveError as error:
            failed.append(error)
            return ()

    @contextmanager
    def _lease(self, environment: str) -> Iterator[HeldLease]:
        """No run and no keeper acts there meanwhile. ``environment``: its id. Raises TryAgain if one does now, or if
        this process loses the lease."""
        take = partial(self._store.leases.take, f"env:{environment}", "volume")
        lease = poll(take, 0.05, self._adapters.clock, timeout=LEASE)
        if lease is None:
            raise Busy(
                f"A run, or the keeper, is at work in {environment}.",
                advice="Try again once it has ended.",
            )
        with holding(self._store, lease) as held:
            yield held

    def _command(self, engine: Engine, spec: SlotSpec, name: str, argv: tuple[str, ...]) -> None:
        """Raises EngineFailed unless it succeeds."""
        environment = self._store.environment(spec.ref.pipeline, spec.ref.environment)
        if environment is None:
            return
        # Not under the environment's lease: no revert waits for it.
        with self._access.backing_up(environment.id) as lease:
            engine = lease.fenced(engine)
            watch = Deadline(self._adapters.clock, COMMAND, f"The command {' '.join(argv)}")
            try:
                result = engine.commands.command(spec, name, argv, {}, lambda _: None, watch)
            finally:
                engine.commands.forget_command(spec, name)
        if result.exit_code:
            raise EngineFailed(
                f"{spec.ref.pipeline}/{spec.ref.environment}: {' '.join(argv)} exited with {result.exit_code}, so the "
                "volume was not backed up.",
                advice=f"`volumes` in pipelines.yaml names it ({name.replace('-', '_')}).",
                evidence=tuple(result.output.splitlines()[-EVIDENCE:]),
            )

    def _environment(self, ref: VolumeRef) -> Environment | None:
        return None if ref.kind != "pipeline" else self._store.environment(ref.owner, ref.environment)

    def _serving_with(self, ref: VolumeRef) -> SlotSpec | None:
        """What serves, if it has that volume."""
        environment = self._environment(ref)
        if environment is None:
            return None
        spec = Reconciler(self._services, self._adapters, environment, None).active_spec()
        return spec if spec and ref in volumes_of(spec) else None

    def place_of(self, ref: VolumeRef) -> str:
        """The key of the engine on which it is, or would be. Raises NotFound."""
        if environment := self._environment(ref):
            return environment.engine
        rendered = self._using(ref) if ref.kind == "accessory" else self._configured(ref)
        return rendered.engine.key if rendered else self.find(ref)

    def _using(self, ref: VolumeRef) -> Rendered | None:
        """An environment that uses the accessory: all of them are on its engine."""
        _, config = self._configurations.current()
        found = [one for one in config.pipelines.values() if ref.environment in one.environments]
        rendered = (one.render(ref.environment) for one in found)
        return next(
            (one for one in rendered if any(use.accessory == ref.owner for use in one.uses.values())), None
        )

    def _asked(self, ref: VolumeRef) -> ClaimOptions:
        """What a cluster is asked for if the volume has to be made."""
        if ref.kind == "accessory":
            one = self._configurations.current()[1].accessories.get(ref.owner)
            return one.kubernetes.volume if one else ASKED
        rendered = self._configured(ref)
        return rendered.service.kubernetes.claim(ref.name) if rendered else ASKED

    def config(self) -> Config:
        """The configuration in force."""
        return self._configurations.current()[1]

    def _configured(self, ref: VolumeRef) -> Rendered | None:
        _, config = self._configurations.current()
        pipeline = config.pipelines.get(ref.owner) if ref.kind == "pipeline" else None
        return (
            pipeline.render(ref.environment)
            if pipeline and ref.environment in pipeline.environments
            else None
        )
