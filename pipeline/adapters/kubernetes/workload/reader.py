"""A container that is added to a pod that runs, to read the files of an application whose image has no ``tar``.

It sees the application's processes, and through them its files with volumes and what is in memory. It runs as the same
user, since no other may look there. A cluster keeps such a container in the pod's list until the pod ends; its process
ends with the copy.
"""

from __future__ import annotations

import json
from contextlib import closing

from pipeline.adapters.kubernetes.api.client import error_for, status_of
from pipeline.adapters.kubernetes.api.exec_stream import STDOUT, ExecStream, execute
from pipeline.adapters.kubernetes.api.kube_api import KubeApi
from pipeline.adapters.kubernetes.api.objects import KubeObject, Manifest
from pipeline.adapters.kubernetes.capacity import FORBIDDEN
from pipeline.adapters.kubernetes.names import CONTAINER
from pipeline.adapters.kubernetes.pods.state import app_containers, app_spec
from pipeline.adapters.workload import MARK
from pipeline.errors import AppFailed, EngineFailed
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock

LONGEST = 7 * 3600  # seconds that its process lives at most, if no one is left to end it
STARTED_WITHIN = 60.0  # seconds: its image is pulled
LOOK = 0.1  # seconds between two looks
PATCH = "application/strategic-merge-patch+json"
ANYONE = 65534  # a user that may look at whose a process is, and no further
# Of the processes that it sees, one of the application's container leads to the files. "$1" is that container's id,
# "$2" its first process, if there is no other container's among them.
FIND = """for p in /proc/[0-9]*; do
  if [ "$p" = "$2" ] || grep -qs "$1" "$p/cgroup" || tr '\\0' '\\n' 2>/dev/null <"$p/environ" |
    grep -q '^PUSHLIVE_RELEASE='; then
    %s
  fi
done
"""
# "" once the files can be reached, else whose they are.
OWNER = FIND % """[ -e "$p/root/." ] && exit; exec stat -c '%u %g' "$p\""""
READ = (
    FIND % """[ -e "$p/root/." ] && exec tar -c -C "$p/root$3" -f - -- "$4\""""
    + """echo "the files of the application cannot be reached" >&2
exit 126
"""
)


def reader_name(session: str) -> str:
    return f"copy-{session}"


def readers(pod: KubeObject, session: str) -> list[str]:
    """The names of those that were added for that session."""
    found = [str(one["name"]) for one in pod["spec"].get("ephemeralContainers") or ()]
    return [name for name in found if name.startswith(reader_name(session))]


def read_files(
    api: KubeApi, clock: Clock, pod: KubeObject, session: str, image: str, path: str
) -> ExecStream:
    """Its output is an archive of that file or folder. Raises AppFailed if it cannot be read, with what it needs."""
    security, where = _security(pod), (str(pod["metadata"]["name"]), reader_name(session))
    shared = pod["spec"].get("shareProcessNamespace")
    process = (_container_id(pod), "" if shared else "/proc/1")
    _add(api, clock, where, session, image, security)
    owner = _output(
        execute(api, where[0], ("sh", "-c", OWNER, "find", *process), terminal=False, container=where[1])
    )
    if owner:
        user, group = map(int, owner.split())
        where = (where[0], f"{where[1]}-{user}")
        _add(api, clock, where, session, image, {**security, "runAsUser": user, "runAsGroup": group})
    folder, _, name = path.rpartition("/")
    words = ("sh", "-c", READ, "read", *process, folder, name)
    return execute(api, where[0], words, terminal=False, container=where[1])


def _output(stream: ExecStream) -> str:
    with closing(stream):
        return b"".join(data for channel, data in stream.output() if channel == STDOUT).decode().strip()


def _add(
    api: KubeApi, clock: Clock, where: tuple[str, str], session: str, image: str, security: Manifest
) -> None:
    """Returns once it runs. ``where``: the pod's name and its own."""
    name = where[0]
    container = {
        "name": where[1],
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", f"trap 'exit 0' TERM; sleep {LONGEST} & wait"],
        "env": [{"name": MARK, "value": session}],
        "targetContainerName": CONTAINER,
        "securityContext": security,
    }
    body = json.dumps({"spec": {"ephemeralContainers": [container]}}).encode()
    doing, path = f"adding a container to {name}", f"{api.path('Pod', name)}/ephemeralcontainers"
    try:
        answer = api.raw("PATCH", path, doing, headers={"Content-Type": PATCH}, body=body)
        if answer.status >= 300:
            raise error_for(doing, answer.status, answer.data)
    except EngineFailed as error:
        if status_of(error) == FORBIDDEN:
            raise _without_tar(name, error.message) from error
        raise
    poll(lambda: _state(api, where) != "", LOOK, clock, timeout=STARTED_WITHIN)
    if (state := _state(api, where)) != "running":
        raise _without_tar(name, f"the container {image} that would read them {state or 'does not start'}")


def _security(pod: KubeObject) -> Manifest:
    """As the application's own. If that has the user of its image, no one knows which that is."""
    own = dict(app_spec(pod["spec"]).get("securityContext") or {})
    if "runAsUser" not in {**(pod["spec"].get("securityContext") or {}), **own}:
        own |= {"runAsUser": ANYONE, "runAsGroup": ANYONE}
    return own


def _state(api: KubeApi, where: tuple[str, str]) -> str:
    """ "running", or why it does not in words; "" while it may still start."""
    pod = api.get("Pod", where[0]) or {}
    for one in pod.get("status", {}).get("ephemeralContainerStatuses") or ():
        if one["name"] == where[1]:
            state = one.get("state") or {}
            if "running" in state:
                return "running"
            reason = (state.get("waiting") or {}).get("reason", "")
            if "terminated" in state or reason.startswith(("Create", "Invalid", "ImagePullBackOff")):
                said = (state.get("waiting") or state.get("terminated") or {}).get("message") or reason
                return f"does not run ({' '.join(str(said).split())[:300] or 'it exited'})"
    return ""


def _without_tar(name: str, why: str) -> AppFailed:
    return AppFailed(
        f"the image of {name} has no `tar`, and its files cannot be read without it: {why.rstrip('.')}.",
        advice="Pushlive reads them in a container that it adds to the pod: that needs `patch` on "
        "`pods/ephemeralcontainers` (docker/kubernetes/namespace has it), and an image with sh and tar "
        "(PUSHLIVE_VOLUME_IMAGE). Volumes, which `pushlive volume list` shows, are backed up without it.",
    )


def _container_id(pod: KubeObject) -> str:
    """That of the application's container, without its kind."""
    found = next(iter(app_containers(pod)), {})
    return str(found.get("containerID") or "").rpartition("/")[2] or "none"
