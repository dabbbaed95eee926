"""Docker's named volumes. Their files are read and written through containers that never run an application."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType

from pipeline.adapters.docker.base import EngineBase
from pipeline.adapters.docker.volumes.bodies import volume_body, volume_name
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import Found, name_of
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.tar_stream import whole
from pipeline.adapters.volume_scripts import (
    BEGIN,
    COPY,
    FOLDER,
    GIVE_UP,
    OTHER_FILES,
    PLACE,
    RESTORED,
    SOURCE,
    SWAP,
    SWAP_WITHIN,
    WHOLE,
    refuse_copy,
)
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.domain.volumes import Helper, StoredVolume, VolumeRef
from pipeline.errors import EngineFailed, NotFound, PushliveError, RequestError, TryAgain
from pipeline.ports.clock import Deadline, Watch
from pipeline.ports.volumes import ASKED

_OF_SLOTS = {labels.REPLICA, labels.PROCESS}
SOON, LATE = 0.02, 0.5  # seconds between two looks at a helper, the first and the longest
HELPER = "helper"  # `labels.ROLE` of a container that only gives access to a volume

_FREE = (
    "Remove it from `volumes` in pipelines.yaml and deploy that, and wait until no container has it any more."
)
_FREE_ACCESSORY = (
    "`pushlive accessory rm {ref.owner} {ref.environment}` removes the accessory once nothing uses it, and leaves its "
    "data."
)


class DockerVolumes(EngineBase):
    """See ``ports.Volumes``."""

    def volume_name(self, ref: VolumeRef) -> str:
        return volume_name(self._settings, ref)

    def ensure_volume(self, ref: VolumeRef, asked: ClaimOptions = ASKED) -> None:  # noqa: ARG002
        body = volume_body(self._settings, ref)
        found = self._api.volume(body["Name"])
        if found is None:
            self._api.create_volume(body)
            found = self._api.volume(body["Name"]) or body
        if (found.get("Labels") or {}) | body["Labels"] != (found.get("Labels") or {}):
            raise EngineFailed(
                f"A volume with the name {body['Name']} exists, and it is not the volume {ref} of this installation.",
                advice=f"Look at it with `docker volume inspect {body['Name']}`; if it has data of this application, "
                "copy them aside and remove it.",
            )
        self.settle_volume(ref)

    def settle_volume(self, ref: VolumeRef) -> None:
        """Before anything starts with the volume, or reads it: if a process died while a restore let files change
        places, all of them are the restored ones then, or all are those from before. Idempotent."""
        left = [one for one in self._helpers(self.volume_name(ref)) if labels.SWAP in one["Labels"]]
        begun = [one["Id"] for one in left if one["State"] != "created"]  # else nothing has moved yet
        if not begun:
            return
        watch = Deadline(self._clock, SWAP_WITHIN, f"Replacing the files of the volume {ref}")
        codes = [self._awaited(one, watch)[0] for one in begun]
        if any(codes):
            with self._helper(ref, GIVE_UP) as helper:
                self._run(helper, watch)
        for one in begun:
            self._api.remove(one)

    def volumes(self, *, sizes: bool = False) -> Iterable[StoredVolume]:
        found = {one["Name"]: (ref, one) for one in self._found_volumes(sizes) if (ref := _ref_of(one))}
        everyone = self._api.users_of_volumes() if found else {}
        for name, (ref, one) in found.items():
            users = tuple(sorted(map(name_of, filter(_is_user, everyone.get(name, ())))))
            size = int((one.get("UsageData") or {}).get("Size", -1))
            yield StoredVolume(ref, name, size if size >= 0 else None, users)

    def _found_volumes(self, sizes: bool) -> list[Found]:
        if sizes:
            with suppress(TryAgain):  # one that takes too long: without sizes, then
                every = self._api.counted_volumes()
                instance = self._settings.instance
                return [one for one in every if (one["Labels"] or {}).get(labels.INSTANCE) == instance]
        return self._api.volumes(self._own)

    def running_beside(self, ref: VolumeRef) -> tuple[str, ...]:
        users = self._users(self.volume_name(ref))
        running = (one for one in users if one["State"] == "running")
        return tuple(sorted(name_of(one) for one in running if not _OF_SLOTS & one["Labels"].keys()))

    def remove_volume(self, ref: VolumeRef) -> None:
        name = self.volume_name(ref)
        self._forget_helpers(name)
        if users := self._users(name):
            shown = ", ".join(sorted(name_of(one) for one in users))
            raise RequestError(
                f"The volume {ref} is in use by {shown}.",
                advice=_FREE_ACCESSORY.format(ref=ref) if ref.kind == "accessory" else _FREE,
            )
        for one in filter(_is_ended_job, self._api.containers_with(name)):
            self._api.remove(one["Id"])
        self._api.remove_volume(name)

    def helpers(self) -> Iterable[Helper]:
        found = self._api.containers(self._own, f"{labels.ROLE}={HELPER}")
        known = {one["Name"]: _ref_of(one) for one in self._api.volumes(self._own)} if found else {}
        for one in found:
            names = (mount.get("Name") for mount in one.get("Mounts") or ())
            yield Helper(name_of(one), tuple(ref for name in names if (ref := known.get(name))))

    def end_helpers(self, ref: VolumeRef) -> None:
        self.settle_volume(ref)
        self._forget_helpers(self.volume_name(ref))

    def export_volume(self, ref: VolumeRef, watch: Watch) -> Generator[bytes]:
        self._require(ref)
        self.settle_volume(ref)
        with self._helper(ref) as helper:
            yield from self._api.download(helper, f"{FOLDER}/.", watch)

    def import_volume(
        self, ref: VolumeRef, tar: Iterable[bytes], watch: Watch, end: Callable[[], None] = lambda: None
    ) -> None:
        self.ensure_volume(ref)
        self._forget_helpers(self.volume_name(ref))
        try:
            with self._helper(ref, BEGIN) as helper:
                self._run(helper, watch)
                self._api.upload(helper, f"{FOLDER}/{RESTORED}", whole(tar), watch)
            end()
            self._refuse_running(ref)
            watch.check()
        except BaseException as error:
            self._give_up(ref, watch)
            if isinstance(error, DockerRefused):
                raise EngineFailed(
                    f"The volume {ref} was not restored, and has what it had before: {error.said}.",
                    advice="The files of the archive must be inside the volume (`tar tf FILE` lists them). If there is "
                    "no space left on its device, make room there, and restore again.",
                ) from error
            raise
        with self._swapping(ref, SWAP) as helper:  # from here on to its end, whatever the watch says
            self._run(helper, Deadline(self._clock, SWAP_WITHIN, f"Replacing the files of the volume {ref}"))

    def copy_volume(
        self,
        source: VolumeRef,
        target: VolumeRef,
        watch: Watch,
        end: Callable[[], None] = lambda: None,
        asked: ClaimOptions | None = None,  # noqa: ARG002
    ) -> None:
        self._require(source)
        self.ensure_volume(target)
        for ref in (source, target):
            self._refuse_running(ref)
            self._forget_helpers(self.volume_name(ref))
        try:
            with self._helper(target, COPY, source) as helper:
                code, said = self._script_end(helper, watch)
            if code == WHOLE:
                return
            refuse_copy(source, target, code, said)
            end()
            for ref in (source, target):
                self._refuse_running(ref)
            watch.check()
        except BaseException:
            self._give_up(target, watch)
            raise
        with self._swapping(target, PLACE) as helper:
            limit = Deadline(self._clock, SWAP_WITHIN, f"Giving the volume {target} its files")
            ended = self._script_end(helper, limit)
            if ended[0] != OTHER_FILES:  # else nothing has moved
                refuse_copy(source, target, *ended)
        refuse_copy(source, target, *ended)

    def _refuse_running(self, ref: VolumeRef) -> None:
        users = self._users(self.volume_name(ref))
        if running := [name_of(one) for one in users if one["State"] == "running"]:
            raise RequestError(
                f"The volume {ref} is in use by {', '.join(sorted(running))}, so its files cannot be replaced.",
                advice="Stop what uses it first.",
            )

    def _give_up(self, ref: VolumeRef, watch: Watch) -> None:
        """Gives the space back at once; the next restore would as well."""
        with suppress(PushliveError), self._helper(ref, GIVE_UP) as helper:
            self._run(helper, watch)

    def _require(self, ref: VolumeRef) -> None:
        if self._api.volume(self.volume_name(ref)) is None:
            raise NotFound(f"There is no volume {ref}.")

    def _users(self, name: str) -> list[Found]:
        return [one for one in self._api.containers_with(name) if _is_user(one)]

    def _forget_helpers(self, name: str) -> None:
        """Those that a killed process has left."""
        for one in self._helpers(name):
            self._api.remove(one["Id"])

    def _helpers(self, name: str) -> list[Found]:
        own = {labels.ROLE: HELPER, labels.INSTANCE: self._settings.instance}
        return [
            one for one in self._api.containers_with(name) if own.items() <= (one["Labels"] or {}).items()
        ]

    @contextmanager
    def _unstarted(self, ref: VolumeRef, image: str) -> Iterator[str]:
        """The id of a container that never runs, for a look at the image's files; it is removed in the end. It has the
        volume, so that it is found if this process dies."""
        body = {
            "Image": image,
            "Entrypoint": ["none"],
            "Labels": {labels.INSTANCE: self._settings.instance, labels.ROLE: HELPER},
            "HostConfig": {"NetworkMode": "none", "Mounts": [_mount(self.volume_name(ref), FOLDER)]},
        }
        found = self._api.create(f"{self.volume_name(ref)}-{secrets.token_hex(4)}", body)
        try:
            yield found
        finally:
            self._api.remove(found)

    @contextmanager
    def _helper(self, ref: VolumeRef, script: str = "", source: VolumeRef | None = None) -> Iterator[str]:
        """The id of a container that has the volume; it is removed in the end. ``source``: another that it reads."""
        helper = self._create_helper(ref, script, source)
        try:
            yield helper
        finally:
            self._api.remove(helper)

    @contextmanager
    def _swapping(self, ref: VolumeRef, script: str) -> Iterator[str]:
        """The same for one that lets files change places: what dies before that has ended leaves it to
        ``settle_volume``."""
        helper = self._create_helper(ref, script, more={labels.SWAP: "1"})
        yield helper
        self._api.remove(helper)

    def _create_helper(
        self,
        ref: VolumeRef,
        script: str,
        source: VolumeRef | None = None,
        more: Mapping[str, str] = MappingProxyType({}),
    ) -> str:
        name = self.volume_name(ref)
        mounts = [_mount(name, FOLDER)]
        if source:
            mounts.append(_mount(self.volume_name(source), SOURCE) | {"ReadOnly": True})
        body = {
            "Image": self._settings.proxy_image,
            "Entrypoint": ["sh", "-c"],
            "Cmd": [script],
            "User": "0:0",
            "Labels": {labels.INSTANCE: self._settings.instance, labels.ROLE: HELPER, **more},
            "HostConfig": {
                "NetworkMode": "none",
                "Mounts": mounts,
                "LogConfig": labels.LOGS,
                "SecurityOpt": ["no-new-privileges"],
            },
        }
        return self._api.create(f"{name}-{secrets.token_hex(4)}", body)

    def _run(self, helper: str, watch: Watch) -> None:
        """Raises EngineFailed if its script fails."""
        code, said = self._script_end(helper, watch)
        if code != 0:
            raise EngineFailed(f"{helper[:12]}: the files of the volume could not be replaced: {said}.")

    def _script_end(self, helper: str, watch: Watch) -> tuple[int | None, str]:
        """The exit code of its script, None if it was removed, and what it said last."""
        self._api.start(helper)
        return self._awaited(helper, watch)

    def _awaited(self, helper: str, watch: Watch) -> tuple[int | None, str]:
        """The same of one that was started."""
        pause = SOON
        while (found := self._api.container(helper)) and found["State"]["Running"]:
            watch.wait(pause)
            pause = min(2 * pause, LATE)
        if found is None:
            return None, "it was removed"
        code = int(found["State"]["ExitCode"])
        return code, " ".join(self._api.output(helper, 5)) or f"it exited with {code}"


def _mount(volume: str, target: str) -> Body:
    return {"Type": "volume", "Source": volume, "Target": target, "VolumeOptions": {"NoCopy": True}}


def _is_user(one: Found) -> bool:
    return (one["Labels"] or {}).get(labels.ROLE) != HELPER and not _is_ended_job(one)


def _is_ended_job(one: Found) -> bool:
    """A run by a schedule that is over: kept for its result, it never starts again."""
    return labels.CRON in (one["Labels"] or {}) and one["State"] in ("exited", "dead")


def _ref_of(one: Found) -> VolumeRef | None:
    found = one["Labels"] or {}
    environment, _, name = found.get(labels.VOLUME, "").partition("/")
    kind = found.get(labels.OWNER_KIND)
    if not name or kind not in ("pipeline", "accessory"):
        return None
    return VolumeRef(found[labels.OWNER], environment, name, kind)
