"""Commands of people on a cluster: in a pod of their own, or in one of the slot's.

Both go through ``pods/exec``. A fresh pod only waits for that, so that no output is lost before anyone is connected.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

from pipeline.adapters.kubernetes import command_pod
from pipeline.adapters.kubernetes.api.exec_stream import ExecStream, execute
from pipeline.adapters.kubernetes.api.objects import Manifest
from pipeline.adapters.kubernetes.api.watch import WatchedObjects
from pipeline.adapters.kubernetes.engine_base import EngineBase
from pipeline.adapters.kubernetes.names import COMMAND, CONTAINER, SESSION, base
from pipeline.adapters.kubernetes.pods.state import has_started, is_finished
from pipeline.adapters.kubernetes.workload import reader
from pipeline.adapters.workload import END_MARKED, MARK, tar_of
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import AppFailed
from pipeline.ports.clock import Watch
from pipeline.ports.terminal import Wanted

LONGEST = 86_400  # seconds that the pod of a command lives at most
WAITING = f"trap 'exit 0' TERM; sleep {LONGEST} & wait"
NOT_THERE = (126, 127)  # of a program that a runtime could not start
ENDED_WITHIN = 10.0  # seconds for ending what a person has left


class KubeTerminals(EngineBase):
    """See ``ports.Terminals``."""

    def run_session(self, spec: SlotSpec, wanted: Wanted, watch: Watch) -> ExecStream:
        self._provide(spec)
        name = _pod_name(spec.ref, wanted.session)
        self._api.create(self._waiting_pod(spec, name, wanted.session))
        with WatchedObjects(self._api, ("Pod",), {"fieldSelector": f"metadata.name={name}"}) as watched:
            pod = command_pod.wait_for(watched, name, has_started, self._clock, watch, self._api)
        if is_finished(pod):
            raise AppFailed(
                f"{name} ended before the command could run in it.",
                advice="A fresh pod needs a shell and `sleep` in the image; a command in a pod that serves does not: "
                f"`pushlive exec {spec.ref.pipeline} {spec.ref.environment}`.",
            )
        return self._execute(name, wanted.argv, wanted)

    def exec_session(self, ref: SlotRef, replica: str, wanted: Wanted) -> ExecStream:  # noqa: ARG002
        return self._execute(replica, ("env", f"{MARK}={wanted.session}", *wanted.argv), wanted)

    def copy_session(self, ref: SlotRef, replica: str, path: str, session: str) -> ExecStream:
        if self._has_tar(replica) or (pod := self._api.get("Pod", replica)) is None:
            return self.exec_session(ref, replica, Wanted(session, tar_of(path)))
        return reader.read_files(self._api, self._clock, pod, session, self._volume_image, path)

    def _has_tar(self, replica: str) -> bool:
        """Whether the image of that pod has the program, however it exits."""
        stream = execute(self._api, replica, ("tar", "--help"), terminal=False)
        with closing(stream):
            for _ in stream.output():
                pass
            try:
                return stream.exit_code() not in NOT_THERE
            except AppFailed:
                return False

    def _execute(self, pod: str, argv: Iterable[str], wanted: Wanted) -> ExecStream:
        stream = execute(self._api, pod, tuple(argv), terminal=wanted.terminal)
        stream.resize(wanted.columns, wanted.rows)
        return stream

    def end_session(self, ref: SlotRef, session: str, replica: str = "") -> None:
        if not replica:
            self._api.delete("Pod", _pod_name(ref, session), grace=0)
        elif (pod := self._api.get("Pod", replica)) and not is_finished(pod):
            command = ("sh", "-c", END_MARKED, "end", f"{MARK}={session}")
            for where in reader.readers(pod, session) or (CONTAINER,):
                with closing(execute(self._api, replica, command, terminal=False, container=where)) as ending:
                    for _ in ending.output():
                        pass

    def _waiting_pod(self, spec: SlotSpec, name: str, session: str) -> Manifest:
        manifest = self._permitted.command(spec, session, ("sh", "-c", WAITING), {})
        labels = {key: text for key, text in manifest["metadata"]["labels"].items() if key != COMMAND}
        metadata = {**manifest["metadata"], "name": name, "labels": {**labels, SESSION: session}}
        del metadata["finalizers"]  # its result is not in the pod
        pod = manifest["spec"] | {"activeDeadlineSeconds": LONGEST}
        return {**manifest, "metadata": metadata, "spec": pod}


def _pod_name(ref: SlotRef, session: str) -> str:
    return f"{base(ref)}-session-{session}"
