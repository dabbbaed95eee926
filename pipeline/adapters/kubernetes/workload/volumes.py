"""Volumes on a cluster: claims, whose files are read and written through pods that run no application."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import suppress

from pipeline.adapters.kubernetes.api.client import status_of
from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.capacity import FORBIDDEN
from pipeline.adapters.kubernetes.cpu_rules import read_rules
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import ACCESSORY, COMMAND, CRON, HELPER, INSTANCE, SESSION
from pipeline.adapters.kubernetes.pods.state import is_finished, is_terminating
from pipeline.adapters.kubernetes.workload import volume_pod
from pipeline.adapters.kubernetes.workload.accessory_objects import SUBFOLDER, accessory_name
from pipeline.adapters.kubernetes.workload.claims import KIND, claim_name, ref_of
from pipeline.adapters.kubernetes.workload.volume_pod import WAITING, VolumePod
from pipeline.adapters.volume_scripts import BEGIN, FOLDER, GIVE_UP, RESTORED, SWAP, SWAP_WITHIN
from pipeline.config.workload.kubernetes import ClaimOptions
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.volumes import StoredVolume, VolumeRef
from pipeline.errors import EngineFailed, NotFound, PushliveError, RequestError, TryAgain
from pipeline.lib.retry import poll
from pipeline.ports.clock import Deadline, Watch
from pipeline.ports.volumes import ASKED

PACK = ("tar", "-C", FOLDER, "-cf", "-", ".")
UNPACK = ("tar", "-C", f"{FOLDER}/{RESTORED}", "-xpf", "-", "--numeric-owner")
COUNT = f"du -sk {FOLDER}"
COUNTED_WITHIN = 20.0  # seconds for the sizes of all volumes
CLEANED_WITHIN = 30.0  # seconds for giving space back
GONE_WITHIN = 60.0  # seconds in which pods that are ending have ended


class KubeVolumes(EngineBase):
    """See ``ports.Volumes``."""

    def volume_name(self, ref: VolumeRef) -> str:
        return claim_name(self._instance, ref)

    def ensure_volume(self, ref: VolumeRef, asked: ClaimOptions = ASKED) -> None:
        self._claims.ensure(ref, asked)

    def volumes(self, *, sizes: bool = False) -> Iterable[StoredVolume]:
        claims = {str(one["metadata"]["name"]): ref for one in self._all_claims() if (ref := ref_of(one))}
        if not claims:
            return
        users = self._users()
        counted = self._counted(claims) if sizes else {}
        for name, ref in claims.items():
            yield StoredVolume(ref, name, counted.get(name), tuple(map(_name, users.get(name, ()))))

    def running_beside(self, ref: VolumeRef) -> tuple[str, ...]:
        return tuple(map(_name, filter(_is_beside, self._users().get(self.volume_name(ref), ()))))

    def remove_volume(self, ref: VolumeRef) -> None:
        name = self.volume_name(ref)
        if self._claims.get(ref) is None:
            return
        self._forget_helpers(name)
        self._refuse_for_accessory(ref)
        if users := self._users().get(name):
            shown = ", ".join(map(_name, users))
            raise RequestError(
                f"The volume {ref} is in use by {shown}.",
                advice="Remove it from `volumes` in pipelines.yaml and deploy that, and wait until no pod has it any "
                "more.",
            )
        self._api.delete(KIND, name)
        if not poll(lambda: self._claims.get(ref) is None, 0.1, self._clock, timeout=GONE_WITHIN):
            raise TryAgain(
                f"The volume {ref} is being removed, and a pod that is ending still has it.",
                advice=f"`kubectl -n {self._api.namespace} describe pvc {name}` names it.",
            )

    def export_volume(self, ref: VolumeRef, watch: Watch) -> Generator[bytes]:
        if self._claims.get(ref) is None:
            raise NotFound(f"There is no volume {ref}.")
        with self._pod(ref) as pod:
            yield from pod.read(PACK, watch)

    def import_volume(
        self, ref: VolumeRef, tar: Iterable[bytes], watch: Watch, end: Callable[[], None] = lambda: None
    ) -> None:
        if self._claims.get(ref) is None:
            self.ensure_volume(ref)
        self._forget_helpers(self.volume_name(ref))
        with self._pod(ref) as pod:
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
            pod.run(SWAP, Deadline(self._clock, SWAP_WITHIN, f"Replacing the files of the volume {ref}"))

    def copy_volume(
        self,
        source: VolumeRef,
        target: VolumeRef,
        watch: Watch,  # noqa: ARG002
        end: Callable[[], None] = lambda: None,  # noqa: ARG002
    ) -> None:
        raise RequestError(
            f"Volumes on a cluster are not copied from claim to claim, so {source} stays as it is.",
            advice=f"`pushlive volume backup {source} --to FILE`, then "
            f"`pushlive volume restore {target} --from FILE --stop`, and `pushlive volume rm {source}` once that is "
            "done.",
        )

    # ── parts ────────────────────────────────────────────────────────────────

    def _all_claims(self) -> list[KubeObject]:
        """None if this account may not list them: then it never made one."""
        try:
            return self._api.find(KIND, {INSTANCE: self._instance})
        except EngineFailed as error:
            if status_of(error) == FORBIDDEN:
                return []
            raise

    def _with_claims(self) -> list[tuple[str, KubeObject]]:
        """Each claim that a pod of the namespace has, with the pod, sorted by its name."""
        pods = sorted(self._api.find("Pod", {}), key=_name)
        return [
            (str(one["persistentVolumeClaim"]["claimName"]), pod)
            for pod in pods
            if not is_finished(pod)
            for one in pod["spec"].get("volumes") or ()
            if "persistentVolumeClaim" in one
        ]

    def _users(self, *, ending: bool = False) -> dict[str, list[KubeObject]]:
        """The pods that have each claim, those of applications. ``ending``: also those that are being deleted."""
        found: dict[str, list[KubeObject]] = {}
        for name, pod in self._with_claims():
            if not _is_helper(pod) and (ending or not is_terminating(pod)):
                found.setdefault(name, []).append(pod)
        return found

    def _refuse_for_accessory(self, ref: VolumeRef) -> None:
        """Also of one that is stopped: it would start without its data."""
        owner = AccessoryRef(ref.owner, ref.environment)
        if ref.kind == "accessory" and self._api.get(
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
            lambda: self._users(ending=True).get(name) == self._users().get(name),
            0.2,
            self._clock,
            timeout=GONE_WITHIN,
        )
        if running := self._users(ending=True).get(name):
            raise RequestError(
                f"The volume {ref} is in use by {', '.join(map(_name, running))}, so its files cannot be replaced.",
                advice="Stop what uses it first.",
            )

    def _forget_helpers(self, claim: str) -> None:
        """Those that a killed process has left."""
        for name, pod in self._with_claims():
            if name == claim and _is_helper(pod):
                self._api.delete("Pod", _name(pod), grace=0)

    def _pod(self, ref: VolumeRef) -> VolumePod:
        for one in self._api.find("Pod", {INSTANCE: self._instance, HELPER: "volume"}):
            if is_finished(one):  # its time was over before anyone removed it
                self._api.delete("Pod", _name(one), grace=0)
        return self._helper(ref, WAITING, self._users(ending=True))

    def _helper(self, ref: VolumeRef, script: str, users: dict[str, list[KubeObject]]) -> VolumePod:
        claim = self.volume_name(ref)
        nodes = [str(pod["spec"].get("nodeName") or "") for pod in users.get(claim, ())]
        node = next(filter(None, nodes), "")
        namespace, rules = self._api.namespace, read_rules(self._api)
        wanted = volume_pod.manifest(
            self._instance,
            namespace,
            claim,
            self._volume_image,
            script,
            node,
            rules,
            SUBFOLDER if ref.kind == "accessory" else "",
        )
        return VolumePod(self._api, self._clock, wanted)

    def _counted(self, claims: dict[str, VolumeRef]) -> dict[str, int]:
        """The bytes in each claim, of those that a pod could count in time."""
        users = self._users(ending=True)
        bound = [
            name
            for name in claims
            if (self._api.get(KIND, name) or {}).get("status", {}).get("phase") == "Bound"
        ]
        pods = {name: self._helper(claims[name], COUNT, users) for name in bound}
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


def _name(pod: KubeObject) -> str:
    return str(pod["metadata"]["name"])


def _is_beside(pod: KubeObject) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return INSTANCE not in labels or any(one in labels for one in (SESSION, COMMAND, CRON, ACCESSORY))


def _is_helper(pod: KubeObject) -> bool:
    return HELPER in (pod["metadata"].get("labels") or {})
