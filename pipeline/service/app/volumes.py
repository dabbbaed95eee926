"""What people do with volumes. Reading one is as good as reading a database: a maintainer's act, like every change."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from typing import Any

from pipeline.config.workload.accessory_rules import pairs
from pipeline.deploy.data.unfinished import unfinished
from pipeline.deploy.tools.telling import told
from pipeline.domain.audit_chain import Who
from pipeline.domain.volumes import BEFORE_UPGRADE, DATA, OwnerKind, StoredVolume, VolumeRef
from pipeline.errors import ConfigError, NotFound, RequestError
from pipeline.lib.streams import Counted
from pipeline.service.app.unfinished import text_of
from pipeline.service.audited import Audited


class VolumeCommands(Audited):
    """``by`` says who acts, and where the request came from."""

    def volumes(self, pipeline: str = "", *, sizes: bool = False) -> dict[str, list[dict[str, Any]]]:
        """``volumes``: every one on the engines in use: ``owner``, ``kind`` (pipeline or accessory), ``environment``,
        ``name``, ``engine``, ``stored_as``, ``size`` in bytes or null, ``users`` (names of containers or pods), and
        ``left``: why nothing will use it, "" if the configuration has it, and ``unfinished``: that it does not have all
        its files yet, "" if it has. ``unanswered``: each ``engine`` that did not
        say what it has, and why (``text``)."""
        work = self._operations.volumes().look(sizes=sizes)
        found = [(key, one) for key, one in work.volumes if pipeline in ("", one.ref.owner)]
        return {
            "volumes": [self._shown(key, one) for key, one in sorted(found, key=lambda pair: pair[1].ref)],
            "unanswered": [{"engine": key, "text": error.message} for key, error in work.unanswered.items()],
        }

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
            "unfinished": text_of(self._store, ref),
        }

    def _left(self, ref: VolumeRef) -> str:
        try:
            config = self._config()
        except ConfigError:
            return ""
        if ref.kind == "accessory":
            if ref.name == BEFORE_UPGRADE:
                record = self._store.accessories.get(ref.owner, ref.environment)
                return (
                    "" if record and record.upgrade else f"no upgrade of {ref.owner} can be taken back to it"
                )
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
        return _sent(work.back_up(ref), self.begin(by, "volume backup", **_about(ref)))

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
        counted = Counted(tar)
        with self.acting(by, "volume restore", **_about(ref), before="its files") as outcome:
            said = self._operations.volumes().restore(ref, counted, stop=stop)
            outcome.after = f"the files that were sent: {counted}"
        return said

    def remove_volume(self, owner: str, environment: str, name: str, by: Who) -> tuple[str, ...]:
        """Removes it with its files, and gives up a copy to it. Raises NotFound, and RequestError if it is in use."""
        try:
            ref = self._existing(owner, environment, name)
        except NotFound:
            if given_up := self._given_up(owner, environment, name, by):
                return given_up
            raise
        self.record(by, "volume rm", **_about(ref), before=str(ref), after="removed")
        self._operations.volumes().remove(ref)
        return (f"removed the volume {ref} and its files",)

    def _given_up(self, owner: str, environment: str, name: str, by: Who) -> tuple[str, ...]:
        """A copy that has not made its volume yet."""
        for one in unfinished(self._store):
            if (one.ref.owner, one.ref.environment, one.ref.name) == (owner, environment, name):
                change = {"before": f"{one.act} to it", "after": "given up"}
                self.record(by, "volume rm", **_about(one.ref), **change)
                self._operations.volumes().give_up(one.ref)
                return (f"`{one.act}` to {one.ref} is given up; there was no such volume yet",)
        return ()

    def move_volume(
        self, owner: str, environment: str, name: str, by: Who, *, to: str
    ) -> Generator[tuple[str, ...]]:
        """Gives a pipeline's volume the name ``to``, such as ``shop/live/data``: what is done, as it comes; () while it
        goes on, also without the caller. Raises NotFound, and RequestError unless it can be moved."""
        self.insist_on_store()
        work = self._operations.volumes()
        gone = VolumeRef(owner, environment, name)
        if work.finished(gone, _named(to, gone)):
            return told(
                "volume-mv", lambda tell: tell(f"{to} has all files of {gone}, which is removed already.")
            )
        ref = self._existing(owner, environment, name)
        if ref.kind == "accessory":
            raise RequestError(
                f"{ref} is the volume of an accessory, and is moved with it.",
                advice=f"`pushlive accessory mv {owner} {environment} NEW` gives the accessory another name.",
            )
        target = _named(to, ref)
        if left := self._left(target):
            raise RequestError(
                f"{ref} was not moved to {target}: {left}, so nothing would use it there.",
                advice="Write the new name into pipelines.yaml first; `pushlive check` says whether the file is valid.",
            )
        work.movable(ref, target)
        about = _about(ref) | {"detail": f"{ref} to {target}"}
        self.record(by, "volume mv", **about, before=str(ref), after=str(target))
        return told("volume-mv", partial(work.move, ref, target))

    def _existing(self, owner: str, environment: str, name: str) -> VolumeRef:
        return self._operations.volumes().existing(owner, environment, name)


def _about(ref: VolumeRef) -> dict[str, str]:
    """Of an entry in the audit log."""
    of_pipeline = {"pipeline": ref.owner} if ref.kind == "pipeline" else {}
    return {"environment": ref.environment, "detail": str(ref), **of_pipeline}


def _sent(pieces: Generator[bytes], end: Callable[[str], None]) -> Generator[bytes]:
    """``end``: is told what was sent."""
    counted, whole = Counted(pieces), False
    try:
        with closing(pieces):
            yield from counted
        whole = True
    finally:
        end(f"{'its files were sent' if whole else 'broken off'}: {counted}")


def _named(text: str, like: VolumeRef) -> VolumeRef:
    """Raises ConfigError unless the text names another volume."""
    owner, environment, name, *more = [*text.split("/"), "", ""]
    ref = VolumeRef(owner, environment, name, like.kind)
    if any(more) or not (owner and environment and name) or ref == like:
        raise ConfigError(
            f"{text[:120]!r} is not the new name of a volume.",
            advice="Write PIPELINE/ENVIRONMENT/NAME, such as shop/live/data.",
        )
    return ref
