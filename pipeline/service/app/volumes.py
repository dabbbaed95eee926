"""What people do with volumes. Reading one is as good as reading a database: a maintainer's act, like every change."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any

from pipeline.config.workload.accessory_rules import pairs
from pipeline.domain.audit_chain import Who
from pipeline.domain.volumes import DATA, OwnerKind, StoredVolume, VolumeRef
from pipeline.errors import ConfigError, NotFound
from pipeline.service.audited import Audited


class VolumeCommands(Audited):
    """``by`` says who acts, and where the request came from."""

    def volumes(self, pipeline: str = "", *, sizes: bool = False) -> list[dict[str, Any]]:
        """Every volume on the engines in use: ``owner``, ``kind`` (pipeline or accessory), ``environment``, ``name``,
        ``engine``, ``stored_as``, ``size`` in bytes or null, ``users`` (names of containers or pods), and ``left``: why
        nothing will use it, "" if the configuration has it."""
        work = self._operations.volumes()
        found = [(key, one) for key, one in work.all(sizes=sizes) if pipeline in ("", one.ref.owner)]
        return [self._shown(key, one) for key, one in sorted(found, key=lambda pair: pair[1].ref)]

    def _shown(self, engine: str, one: StoredVolume) -> dict[str, Any]:
        ref = one.ref
        return {
            "owner": ref.owner,
            "kind": ref.kind,
            "environment": ref.environment,
            "name": ref.name,
            "engine": engine,
            "stored_as": one.stored_as,
            "size": one.size,
            "users": list(one.users),
            "left": self._left(ref),
        }

    def _left(self, ref: VolumeRef) -> str:
        try:
            config = self._config()
        except ConfigError:
            return ""
        if ref.kind == "accessory":
            used = (ref.owner, ref.environment) in pairs(config) and ref.name == DATA
            return "" if used else f"no pipeline uses an accessory {ref.owner} in {ref.environment}"
        pipeline = config.pipelines.get(ref.owner)
        if pipeline is None:
            return f"there is no pipeline {ref.owner} in pipelines.yaml"
        if ref.environment not in pipeline.environments:
            return f"{ref.owner} has no environment {ref.environment}"
        if ref.name not in pipeline.render(ref.environment).service.volumes:
            return f"{ref.owner}/{ref.environment} has no volume {ref.name}"
        return ""

    def volume_files(self, owner: str, environment: str, name: str, by: Who) -> Generator[bytes]:
        """Its files as a tar stream. Close it. Raises NotFound."""
        work, ref = self._operations.volumes(), self._existing(owner, environment, name)
        self._record_volume("volume backup", ref, by)
        return work.back_up(ref)

    def restore_volume(
        self, owner: str, environment: str, name: str, by: Who, tar: Iterable[bytes], *, stop: bool = False
    ) -> tuple[str, ...]:
        """Replaces its files. ``stop``: what uses it is stopped meanwhile; without it raises RequestError if something
        serves that has the volume."""
        self.insist_on_store()
        try:
            ref = self._existing(owner, environment, name)
        except NotFound:  # on a machine that has lost it
            kind: OwnerKind = "accessory" if owner in self._config().accessories else "pipeline"
            ref = VolumeRef(owner, environment, name, kind)
            if self._left(ref):
                raise
        self._record_volume("volume restore", ref, by)
        return self._operations.volumes().restore(ref, tar, stop=stop)

    def remove_volume(self, owner: str, environment: str, name: str, by: Who) -> tuple[str, ...]:
        """Removes it with its files. Raises NotFound, and RequestError if it is in use."""
        ref = self._existing(owner, environment, name)
        self._record_volume("volume rm", ref, by)
        self._operations.volumes().remove(ref)
        return (f"removed the volume {ref} and its files",)

    def _existing(self, owner: str, environment: str, name: str) -> VolumeRef:
        wanted = (owner, environment, name)
        for _, one in self._operations.volumes().all():
            if (one.ref.owner, one.ref.environment, one.ref.name) == wanted:
                return one.ref
        raise NotFound(
            f"There is no volume {'/'.join(wanted)[:120]}.",
            advice="`pushlive volume list` shows those that exist.",
        )

    def _record_volume(self, act: str, ref: VolumeRef, by: Who) -> None:
        of_pipeline = {"pipeline": ref.owner} if ref.kind == "pipeline" else {}
        self.record(by, act, environment=ref.environment, detail=str(ref), **of_pipeline)
