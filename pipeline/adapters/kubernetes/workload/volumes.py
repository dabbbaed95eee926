"""Volumes on a cluster: claims, whose files are read and written through pods that run no application."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import suppress

from pipeline.adapters.kubernetes import command_pod
from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.capacity import FORBIDDEN, parse_quantity
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import ACCESSORY, COMMAND, CRON, INSTANCE, RESULT, SESSION
from pipeline.adapters.kubernetes.pods.claims import claims_of
from pipeline.adapters.kubernetes.pods.state import is_finished
from pipeline.adapters.kubernetes.workload.accessory_objects import accessory_name
from pipeline.adapters.kubernetes.workload.claims import KIND, claim_name, ref_of
from pipeline.adapters.kubernetes.workload.volume_helpers import (
    GONE_WITHIN,
    is_helper,
    pod_name,
    users_of_claims,
    with_claims,
)
from pipeline.adapters.volume_scripts import (
    BEGIN,
    COPY,
    FOLDER,
    GIVE_UP,
    OTHER_FILES,
    PLACE,
    RESTORED,
    SWAP,
    SWAP_WITHIN,
    WHOLE,
    refuse_copy,
)
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.volumes import Helper, StoredVolume, VolumeRef
from pipeline.errors import EngineFailed, NotFound, PushliveError, RequestError, TryAgain
from pipeline.lib.retry import poll
from pipeline.ports.clock import Deadline, Watch
from pipeline.ports.volumes import ASKED

PACK = ("tar", "-C", FOLDER, "-cf", "-", ".")
UNPACK = ("tar", "-C", f"{FOLDER}/{RESTORED}", "-xpf", "-", "--numeric-owner")
COUNT = f"du -sk {FOLDER}"
COUNTED_WITHIN = 20.0  # seconds for the sizes of all volumes
CLEANED_WITHIN = 30.0  # seconds for giving space back


class KubeVolumes(EngineBase):
    """See ``ports.Volumes``."""

    def volume_name(self, ref: VolumeRef) -> str:
        return claim_name(self._instance, ref)

    def ensure_volume(self, ref: VolumeRef, asked: ClaimOptions = ASKED) -> None:
        self._claims.ensure(ref, asked)

    def volumes(self, *, sizes: bool = False) -> Iterable[StoredVolume]:
        every = {str(one["metadata"]["name"]): one for one in self._all_claims()}
        claims = {name: ref for name, one in every.items() if (ref := ref_of(one))}
        if not claims:
            return
        users = users_of_claims(self._api)
        counted = self._counted(claims) if sizes else {}
        for name, ref in claims.items():
            pods = tuple(map(pod_name, users.get(name, ())))
            yield StoredVolume(ref, name, counted.get(name), pods, _room(every[name]))

    def running_beside(self, ref: VolumeRef) -> tuple[str, ...]:
        return tuple(
            map(pod_name, filter(_is_beside, users_of_claims(self._api).get(self.volume_name(ref), ())))
        )

    def remove_volume(self, ref: VolumeRef) -> None:
        name = self.volume_name(ref)
        if self._claims.get(ref) is None:
            return
        self._volume_helpers.forget(ref)
        self._refuse_for_accessory(ref)
        if users := users_of_claims(self._api).get(name):
            shown = ", ".join(map(pod_name, users))
            raise RequestError(
                f"The volume {ref} is in use by {shown}.",
                advice="Remove it from `volumes` in pipelines.yaml and deploy that, and wait until no pod has it any "
                "more.",
            )
        self._forget_ended(ref)
        self._api.delete(KIND, name)
        if not poll(lambda: self._claims.get(ref) is None, 0.1, self._clock, timeout=GONE_WITHIN):
            raise TryAgain(
                f"The volume {ref} is being removed, and a pod that is ending still has it.",
                advice=f"`kubectl -n {self._api.namespace} describe pvc {name}` names it.",
            )

    def helpers(self) -> Iterable[Helper]:
        found = [one for one in self._api.find("Pod", {INSTANCE: self._instance}) if is_helper(one)]
        known = {str(one["metadata"]["name"]): ref_of(one) for one in self._all_claims()} if found else {}
        for one in found:
            refs = (known.get(name) for name in claims_of(one))
            yield Helper(pod_name(one), tuple(filter(None, refs)))

    def end_helpers(self, ref: VolumeRef) -> None:
        self._volume_helpers.settle(ref)
        self._volume_helpers.forget(ref)

    def export_volume(self, ref: VolumeRef, watch: Watch) -> Generator[bytes]:
        self._require(ref)
        self._volume_helpers.settle(ref)
        with self._volume_helpers.pod(ref) as pod:
            yield from pod.read(PACK, watch)

    def import_volume(
        self, ref: VolumeRef, tar: Iterable[bytes], watch: Watch, end: Callable[[], None] = lambda: None
    ) -> None:
        if self._claims.get(ref) is None:
            self.ensure_volume(ref)
        self._volume_helpers.settle(ref)
        self._volume_helpers.forget(ref)
        with self._volume_helpers.pod(ref) as pod:
            try:
                pod.run(BEGIN, watch)
                try:
                    pod.write(UNPACK, tar, watch)
                except EngineFailed as error:
                    raise EngineFailed(
                        f"The volume {ref} was not restored, and has what it had before: {error.message}",
                        advice="The files of the archive must be inside the volume (`tar tf FILE` lists them). If "
                        "there is no space left on it, make room there, or raise its `size`, and restore again.",
                    ) from error
                end()
                self._refuse_running(ref)
                watch.check()
            except BaseException:
                with suppress(PushliveError):  # the next restore would give the space back as well
                    pod.run(GIVE_UP, Deadline(self._clock, CLEANED_WITHIN, f"Cleaning the volume {ref}"))
                raise
            # From here on to its end, whatever the watch says.
            with self._volume_helpers.swapping(ref):
                pod.run(SWAP, Deadline(self._clock, SWAP_WITHIN, f"Replacing the files of the volume {ref}"))

    def copy_volume(
        self,
        source: VolumeRef,
        target: VolumeRef,
        watch: Watch,
        end: Callable[[], None] = lambda: None,
        asked: ClaimOptions | None = None,
    ) -> None:
        self._claims.ensure_beside(target, self._require(source), asked)
        for ref in (source, target):
            self._volume_helpers.settle(ref)
            self._volume_helpers.forget(ref)
            self._refuse_running(ref)
        copied: tuple[int | None, str] = (None, "")
        try:
            copied = self._volume_helpers.pod(target, COPY, source).result(watch)
            if copied[0] == WHOLE:
                return
            refuse_copy(source, target, *copied)
            end()
            for ref in (source, target):
                self._refuse_running(ref)
            watch.check()
        except BaseException:
            if copied[0] != OTHER_FILES:  # else it has begun nothing
                self._give_up(target)
            raise
        with self._volume_helpers.swapping(target):
            limit = Deadline(self._clock, SWAP_WITHIN, f"Giving the volume {target} its files")
            ended = self._volume_helpers.pod(target, PLACE).result(limit)
            if ended[0] != OTHER_FILES:  # else nothing has moved
                refuse_copy(source, target, *ended)
        refuse_copy(source, target, *ended)

    # ── parts ────────────────────────────────────────────────────────────────

    def _all_claims(self) -> list[KubeObject]:
        """None if this account may not list them: then it never made one."""
        try:
            return self._api.find(KIND, {INSTANCE: self._instance})
        except EngineFailed as error:
            if status_of(error) == FORBIDDEN:
                return []
            raise

    def _require(self, ref: VolumeRef) -> KubeObject:
        """Its claim."""
        found = self._claims.get(ref)
        if found is None:
            raise NotFound(f"There is no volume {ref}.")
        return found

    def _give_up(self, ref: VolumeRef) -> None:
        """Gives the space back at once; the next copy would as well."""
        with suppress(PushliveError):
            self._volume_helpers.forget(ref)
            limit = Deadline(self._clock, CLEANED_WITHIN, f"Cleaning the volume {ref}")
            self._volume_helpers.pod(ref, GIVE_UP).result(limit)

    def _forget_ended(self, ref: VolumeRef) -> None:
        """A cluster keeps a claim for as long as a pod has it, also one that has ended. Raises RequestError for those
        that are kept for a result, or are not ours."""
        claim = self.volume_name(ref)
        ended = [pod for name, pod in with_claims(self._api) if name == claim and is_finished(pod)]
        if kept := [pod_name(one) for one in ended if not self._is_done_with(one)]:
            first = f"`kubectl -n {self._api.namespace} delete pod {kept[0]}`"
            raise RequestError(
                f"The volume {ref} is kept by {', '.join(kept)}, which ended and was not removed yet.",
                advice=f"The pod of a release command is removed with its run. Otherwise: {first}.",
            )
        command_pod.remove(self._api, self._clock, map(pod_name, ended))

    def _is_done_with(self, pod: KubeObject) -> bool:
        """Its result is known, or is no one's: not that of a release command, which must not run again."""
        meta = pod["metadata"]
        has = meta.get("labels") or {}
        waits = COMMAND in has and RESULT in (meta.get("finalizers") or ())
        return has.get(INSTANCE) == self._instance and not waits

    def _refuse_for_accessory(self, ref: VolumeRef) -> None:
        """Also of one that is stopped: it would start without its data."""
        owner = AccessoryRef(ref.owner, ref.environment)
        if ref == owner.volume and self._api.get(
            "StatefulSet", name := accessory_name(self._instance, owner)
        ):
            raise RequestError(
                f"The volume {ref} is in use by {name}.",
                advice=f"`pushlive accessory rm {ref.owner} {ref.environment}` removes the accessory once nothing uses "
                "it, and leaves its data.",
            )

    def _refuse_running(self, ref: VolumeRef) -> None:
        """Waits for pods that are ending."""
        name = self.volume_name(ref)
        poll(
            lambda: users_of_claims(self._api, ending=True).get(name) == users_of_claims(self._api).get(name),
            0.2,
            self._clock,
            timeout=GONE_WITHIN,
        )
        if running := users_of_claims(self._api, ending=True).get(name):
            raise RequestError(
                f"The volume {ref} is in use by {', '.join(map(pod_name, running))}, so its files cannot be replaced.",
                advice="Stop what uses it first.",
            )

    def _counted(self, claims: dict[str, VolumeRef]) -> dict[str, int]:
        """The bytes in each claim, of those that a pod could count in time."""
        users = users_of_claims(self._api, ending=True)
        bound = [
            name
            for name in claims
            if (self._api.get(KIND, name) or {}).get("status", {}).get("phase") == "Bound"
        ]
        pods = {name: self._volume_helpers.unmade(claims[name], COUNT, users) for name in bound}
        found: dict[str, int] = {}
        try:
            for pod in pods.values():
                pod.create()
            poll(
                lambda: all(pod.has_ended() for pod in pods.values()),
                0.1,
                self._clock,
                timeout=COUNTED_WITHIN,
            )
            for name, pod in pods.items():
                if pod.has_ended() and (words := " ".join(pod.output()).split()) and words[0].isdigit():
                    found[name] = int(words[0]) << 10
        except PushliveError:  # without sizes, then: a quota, or a policy
            pass
        finally:
            for pod in pods.values():
                pod.close()
        return found


def _is_beside(pod: KubeObject) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return INSTANCE not in labels or any(one in labels for one in (SESSION, COMMAND, CRON, ACCESSORY))


def _room(claim: KubeObject) -> int | None:
    """What it was given; None while it has no volume."""
    given = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return int(parse_quantity(str(given))) if given else None
