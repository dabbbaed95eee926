"""A pod that gives access to a claim: it runs no application, and what is done in it goes through ``pods/exec``."""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

from pipeline.adapters.kubernetes import command_pod
from pipeline.adapters.kubernetes.api.client import Refused
from pipeline.adapters.kubernetes.api.exec_stream import STDOUT, ExecStream, execute
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.api.watch import WatchedObjects
from pipeline.adapters.kubernetes.capacity import FORBIDDEN
from pipeline.adapters.kubernetes.cpu_rules import CpuRules
from pipeline.adapters.kubernetes.names import CONTAINER, HELPER, INSTANCE
from pipeline.adapters.kubernetes.pods.problems import Cause, Problem
from pipeline.adapters.kubernetes.pods.state import has_started, is_finished, last_termination
from pipeline.adapters.tar_stream import whole
from pipeline.adapters.volume_scripts import FOLDER, SOURCE
from pipeline.errors import EngineFailed, PushliveError, TryAgain
from pipeline.lib.streams import Silence, pump
from pipeline.ports.clock import Clock, Deadline, Watch

ACCESS, COPIES = "volume", "copy"  # what HELPER says
LONGEST = 7 * 3600  # seconds that it lives at most, if no one is left to end it
WAITING = f"trap 'exit 0' TERM; sleep {LONGEST} & wait"
STARTED_WITHIN = 180.0  # seconds: its image is pulled, a disk is attached
SILENCE = 60.0  # seconds without a piece after which reading is given up
LOOK = 0.3  # seconds between two looks at whether its script has ended
AWAY = 120.0  # seconds without an answer of the API server after which its script is no longer waited for
SAID = 2000  # characters of what a program says, from its end
CPU, MEMORY = 500, "64Mi"  # thousandths of a core
# What `root` needs to read, write and give away the files of others; the `baseline` profile allows each.
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"]


def manifest(
    instance: str,
    namespace: str,
    claim: str,
    image: str,
    script: str,
    node: str,
    cpu: CpuRules,
    folder: str = "",
    source: str = "",
) -> Manifest:
    """``script``: what it does; ``node``: where it has to run, because a pod there has the claim, "" for anywhere;
    ``folder``: of the claim, "" for all of it; ``source``: another claim, of which it reads the same folder."""
    resources = {
        "limits": {"cpu": f"{CPU}m", "memory": MEMORY},
        "requests": {"cpu": f"{cpu.requested(CPU)}m", "memory": MEMORY},
    }
    part = {"subPath": folder} if folder else {}
    container: Manifest = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "resources": resources,
        "volumeMounts": [{"name": "volume", "mountPath": FOLDER, **part}],
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": CAPABILITIES},
        },
    }
    spec: Manifest = {
        "containers": [container],
        "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": LONGEST,
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    }
    if source:
        spec["volumes"].append({"name": "source", "persistentVolumeClaim": {"claimName": source}})
        container["volumeMounts"].append({"name": "source", "mountPath": SOURCE, "readOnly": True, **part})
    if node:
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        spec["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
        spec["tolerations"] = [{"operator": "Exists"}]
    # Not the labels of an environment: it is no part of one that could be found and removed with it.
    kind = COPIES if source else ACCESS
    labels = {INSTANCE: instance, HELPER: kind, "app.kubernetes.io/managed-by": "pushlive"}
    metadata = {"name": f"{claim}-{secrets.token_hex(4)}", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


class VolumePod:
    """A context in which it runs, and that removes it in the end."""

    def __init__(self, api: KubeApi, clock: Clock, wanted: Manifest) -> None:
        self._api, self._clock, self._wanted = api, clock, wanted
        self._name = wanted["metadata"]["name"]

    def __enter__(self) -> VolumePod:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After a failure something may still run in it: then it is there until its node says that it has ended.
        self.close(1 if kind else 0)

    def create(self) -> None:
        """Raises EngineFailed if the cluster refuses it."""
        try:
            self._api.create(self._wanted)
        except Refused as error:
            if error.status != FORBIDDEN or error.object_name != self._name:
                raise
            raise EngineFailed(
                f"{self._name}: the cluster refuses it: {error.said}.",
                advice="Files of a volume are read and written by a pod that is root: the namespace's quota needs room "
                f"for it ({MEMORY} of memory), and its Pod Security profile has to be `baseline` meanwhile.",
            ) from error

    def has_ended(self) -> bool:
        pod = self._api.get("Pod", self._name)
        return pod is None or is_finished(pod)

    def output(self) -> tuple[str, ...]:
        return self._api.output(self._name, 1)

    def close(self, grace: int = 0) -> None:
        with suppress(
            PushliveError
        ):  # it ends by itself in the end, and the next one removes what is left of it
            self._api.delete("Pod", self._name, grace=grace)

    def result(self, watch: Watch) -> tuple[int | None, str]:
        """Of one whose script ends by itself: its exit code, None if the cluster ended it, and what it said last.
        Creates it, and removes it in the end."""
        try:
            return self._awaited(watch)
        finally:
            self.close(1)

    def _awaited(self, watch: Watch) -> tuple[int | None, str]:
        pod: KubeObject | None = self._begin()
        heard = self._clock.monotonic()
        while pod and not is_finished(pod) and not last_termination(pod):
            watch.wait(LOOK)
            try:
                pod, heard = self._api.get("Pod", self._name), self._clock.monotonic()
            except TryAgain:  # it goes on without the API server
                if self._clock.monotonic() - heard > AWAY:
                    raise
        end = (last_termination(pod) if pod else None) or {}
        code = int(end["exitCode"]) if "exitCode" in end else None
        said = " ".join(self._api.output(self._name, 5)) if pod else "its pod was removed"
        return code, said or f"it exited with {code}"

    def _start(self) -> None:
        if is_finished(self._begin()):
            raise EngineFailed(
                f"{self._name} ended before anything was done in it.",
                advice="PUSHLIVE_VOLUME_IMAGE has to name an image with the tools of busybox.",
            )

    def _begin(self) -> KubeObject:
        """The pod once its script has begun."""
        self.create()
        watch = Deadline(self._clock, STARTED_WITHIN, f"Starting {self._name}")
        with WatchedObjects(self._api, ("Pod",), {"fieldSelector": f"metadata.name={self._name}"}) as watched:
            return command_pod.wait_for(
                watched, self._name, has_started, self._clock, watch, self._api, self._explained
            )

    def _explained(self, problem: Problem) -> Problem:
        if problem.cause is not Cause.IMAGE:
            return problem
        image = self._wanted["spec"]["containers"][0]["image"]
        advice = f"PUSHLIVE_VOLUME_IMAGE is {image}: name an image with the tools of busybox that the nodes can pull."
        return replace(problem, advice=advice)

    def run(self, script: str, watch: Watch) -> None:
        """Raises EngineFailed if it fails."""
        for _ in self.read(("sh", "-c", script), watch, silence=math.inf):
            pass

    def read(self, argv: tuple[str, ...], watch: Watch, *, silence: float = SILENCE) -> Generator[bytes]:
        """What the program prints. Raises EngineFailed if it fails, TryAgain after ``silence`` seconds of nothing."""
        doing = f"{argv[0]} in {self._name}"
        stream = execute(self._api, self._name, argv, terminal=False)

        def pieces() -> Iterator[bytes]:
            """In the pump's thread."""
            stream.end_input()
            said = ""
            for channel, data in stream.output():
                if channel == STDOUT:
                    yield data
                else:
                    said = (said + data.decode("utf-8", "replace"))[-SAID:]
            _expect_success(stream, doing, said)

        try:
            yield from pump(pieces(), watch.check, stream.close, name=doing, silence=silence)
        except Silence:
            raise TryAgain(f"{doing}: nothing came for {silence:g} s.") from None

    def write(self, argv: tuple[str, ...], tar: Iterable[bytes], watch: Watch) -> None:
        """Gives a whole tar archive to the program. Raises EngineFailed if it fails, RequestError if that is no
        archive, and what ``tar`` raises."""
        doing = f"{argv[0]} in {self._name}"
        stream = execute(self._api, self._name, argv, terminal=False)
        said: list[str] = []

        def listen() -> None:
            for _, data in stream.output():
                said[:] = [("".join(said) + data.decode("utf-8", "replace"))[-SAID:]]

        def send() -> Iterator[bytes]:
            """In the pump's thread."""
            listener = threading.Thread(target=listen, name=f"{doing}: output", daemon=True)
            listener.start()
            for piece in whole(tar):
                if listener.is_alive():
                    stream.write(piece)
                else:  # it has read its archive's end, or has failed
                    _expect_success(stream, doing, "".join(said))
            stream.end_input()
            listener.join()
            _expect_success(stream, doing, "".join(said))
            yield from ()

        for _ in pump(send(), watch.check, stream.close, name=doing):
            pass


def _expect_success(stream: ExecStream, doing: str, said: str) -> None:
    if code := stream.exit_code():
        raise EngineFailed(f"{doing} exited with {code}: {' '.join(said.split()) or 'it said nothing'}.")
