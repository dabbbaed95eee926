"""Volumes in memory: each has one tar."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

from pipeline.adapters.fake.engine_state import EMPTY, EngineState
from pipeline.adapters.tar_stream import whole
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.domain.volumes import Helper, StoredVolume, VolumeRef, volumes_of
from pipeline.errors import NotFound, RequestError
from pipeline.ports.clock import Watch
from pipeline.ports.volumes import ASKED


class FakeVolumes(EngineState):
    """Refuses to remove or replace a volume of a slot that has something."""

    def volume_name(self, ref: VolumeRef) -> str:
        return f"{ref.owner}-{ref.environment}-{ref.name}"

    def ensure_volume(self, ref: VolumeRef, asked: ClaimOptions = ASKED) -> None:  # noqa: ARG002
        with self.call("ensure_volume", ref):
            self.stored.setdefault(ref, EMPTY)

    def volumes(self, *, sizes: bool = False) -> Iterable[StoredVolume]:
        with self.call("volumes", sizes):
            for ref, tar in tuple(self.stored.items()):
                yield StoredVolume(ref, self.volume_name(ref), len(tar) if sizes else None, self._users(ref))

    def running_beside(self, ref: VolumeRef) -> tuple[str, ...]:
        with self.call("running_beside", ref):
            return tuple(name for name, refs in self.mounting.items() if ref in refs)

    def remove_volume(self, ref: VolumeRef) -> None:
        with self.call("remove_volume", ref):
            if users := self._users(ref):
                raise RequestError(f"The volume {ref} is in use by {', '.join(users)}.")
            self.stored.pop(ref, None)

    def helpers(self) -> Iterable[Helper]:
        with self.call("helpers"):
            return [Helper(name, refs) for name, refs in self.assisting.items()]

    def end_helpers(self, ref: VolumeRef) -> None:
        with self.call("end_helpers", ref):
            self.assisting = {name: refs for name, refs in self.assisting.items() if ref not in refs}

    def export_volume(self, ref: VolumeRef, watch: Watch) -> Generator[bytes]:
        with self.call("export_volume", ref, watch=watch):
            if ref not in self.stored:
                raise NotFound(f"There is no volume {ref}.")
            with self._helper(ref):
                yield self.stored[ref]

    def import_volume(
        self, ref: VolumeRef, tar: Iterable[bytes], watch: Watch, end: Callable[[], None] = lambda: None
    ) -> None:
        with self.call("import_volume", ref, watch=watch):
            self.stored.setdefault(ref, EMPTY)
            given = b"".join(whole(tar))
            with self.call("importing", ref):
                end()
            watch.check()
            self._refuse_running(ref)
            self.stored[ref] = given

    def copy_volume(
        self,
        source: VolumeRef,
        target: VolumeRef,
        watch: Watch,
        end: Callable[[], None] = lambda: None,
        asked: ClaimOptions | None = None,  # noqa: ARG002
    ) -> None:
        with self.call("copy_volume", source, target, watch=watch):
            if source not in self.stored:
                raise NotFound(f"There is no volume {source}.")
            there = self.stored.setdefault(target, EMPTY)
            if there not in (EMPTY, self.stored[source]):
                raise RequestError(f"The volume {target} has files of its own.")
            with self.call("copying", target):  # it is there, and has nothing yet
                end()
            watch.check()
            for ref in (source, target):
                self._refuse_running(ref)
            self.stored[target] = self.stored[source]

    @contextmanager
    def _helper(self, *refs: VolumeRef) -> Iterator[None]:
        """While something is read or written through one."""
        name = f"helper-{len(self.calls)}"
        self.assisting[name] = refs
        try:
            yield
        finally:
            self.assisting.pop(name, None)

    def _refuse_running(self, ref: VolumeRef) -> None:
        slots = any(one.alive and ref in volumes_of(one.spec) for one in self.contents.values())
        accessories = any(one.alive and name.volume == ref for name, one in self.running.items())
        if slots or accessories or any(ref in refs for refs in self.mounting.values()):
            raise RequestError(f"The volume {ref} is in use by {', '.join(self._users(ref))}.")

    def _users(self, ref: VolumeRef) -> tuple[str, ...]:
        beside = (
            one.id for one, made in self.running.items() if made.spec.config.volume and one.volume == ref
        )
        return *beside, *(
            replica.name
            for slot, one in self.contents.items()
            if ref in volumes_of(one.spec)
            for replica in self._replicas(slot)
        )
