"""Containers: one method for each call."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from typing import Any

import requests
from docker.types import CancellableStream

from pipeline.adapters.docker_api.connection import Connection
from pipeline.adapters.docker_api.errors import DockerRefused, translate
from pipeline.adapters.docker_api.labels import STOP, Body
from pipeline.lib.sockets import within
from pipeline.lib.streams import last_pieces
from pipeline.lib.text import last_state
from pipeline.lib.units import is_number
from pipeline.ports.slots import OUTPUT_LIMIT

Found = dict[str, Any]  # a container, an image or a network as the Engine lists or inspects it

# (The SDK's stubs know a narrower type than the SDK takes.)
UNLESS_STOPPED: Any = {"Name": "unless-stopped"}
NO_RESTART: Any = {"Name": "no"}
NEVER = "0001-01-01T00:00:00Z"  # when a container started that has not been started yet
EVENT = 2  # seconds between the end of a container and its event
KILLED = 137  # the exit code of a process that SIGKILL ended
ENTRY = 16 << 10  # bytes: the Engine keeps a longer line in several entries
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ")


class ContainerCalls(Connection):
    """Errors are translated (``errors.translate``). What removes or ends is idempotent."""

    def containers(self, *labels: str, all: bool = True) -> list[Found]:
        """Containers that carry all of these labels (``name`` or ``name=value``)."""
        with translate("Listing containers"):
            found: list[Found] = self.sdk.containers(all=all, filters={"label": list(labels)})
        return found

    def container(self, name: str) -> Found | None:
        """One container as inspected, None if there is none."""
        found: Found | None = self.unless_gone(f"Inspecting {name}", lambda: self.sdk.inspect_container(name))
        return found

    def create(self, name: str, body: Body) -> str:
        """Creates a container; returns its id. Raises DockerRefused: 404 if its image is missing, 409 if the name is
        in use."""
        with translate(f"Creating {name}"):
            return str(self.sdk.create_container_from_config(body, name)["Id"])  # type: ignore[no-untyped-call]

    def start(self, name: str) -> None:
        """Starts a container. Raises DockerRefused: 400 if its command cannot be executed."""
        with translate(f"Starting {name}"):
            self.sdk.start(name)

    def resume(self, name: str) -> None:
        """Lets a paused container go on. Idempotent."""
        try:
            with translate(f"Resuming {name}"):
                self.sdk.unpause(name)
        except DockerRefused:
            found = self.container(name)
            if found and found["State"]["Paused"]:
                raise

    def restart(self, name: str, limit: int = 1) -> None:
        """Stops a container, by SIGKILL after ``limit`` seconds, and starts it again."""
        with translate(f"Restarting {name}"):
            self.sdk.restart(name, timeout=limit)

    def rename(self, name: str, to: str) -> None:
        """Gives a container another name. Raises DockerRefused: 409 if that is in use."""
        with translate(f"Renaming {name}"):
            self.sdk.rename(name, to)

    def wait(self, name: str, seconds: int) -> None:
        """Returns once the container has ended. Raises TryAgain after ``seconds``."""
        with translate(f"Waiting for {name}"):
            self.sdk.wait(name, timeout=seconds)

    def stop(self, found: Found) -> None:
        """Stops a container (SIGTERM, then SIGKILL after its stop limit). Docker does not start it again by itself."""
        limit = int(found["Labels"].get(STOP) or 10)
        name = found["Id"]
        if found["State"] in ("running", "restarting", "paused"):
            self.unless_gone(f"Stopping {name_of(found)}", lambda: self.sdk.stop(name, timeout=limit))

    def stop_within(self, name: str, seconds: int) -> None:
        """Stops a container by its stop signal, and after so many seconds by SIGKILL. Idempotent."""
        self.unless_gone(f"Stopping {name[:80]}", lambda: self.sdk.stop(name, timeout=seconds))

    def remove_keeping_volumes(self, name: str) -> None:
        """Removes a container, and none of its volumes. Idempotent."""
        self.unless_gone(
            f"Removing {name[:80]}", lambda: self.sdk.remove_container(name, force=True, v=False)
        )

    def end(self, found: Found) -> None:
        """Stops a container and removes it."""
        self.stop(found)
        self.remove(found["Id"])

    def remove(self, name: str) -> None:
        """Removes a container, running or not."""
        try:
            self.unless_gone(f"Removing {name}", lambda: self.sdk.remove_container(name, force=True, v=True))
        except DockerRefused as error:
            if error.status != 409:  # 409: it is being removed already
                raise

    def restart_always(self, name: str) -> None:
        """From now on Docker restarts the container by itself, after a crash and after a reboot."""
        with translate(f"Setting the restart policy of {name}"):
            self.sdk.update_container(name, restart_policy=UNLESS_STOPPED)

    def restart_never(self, name: str) -> None:
        """From now on Docker leaves the container as it is once it has ended."""
        with translate(f"Setting the restart policy of {name}"):
            self.sdk.update_container(name, restart_policy=NO_RESTART)

    def update_limits(self, name: str, limits: Body) -> None:
        """Changes a container's limits and restart policy while it runs, in the terms of its ``HostConfig``."""
        headers, seconds = {"Content-Type": "application/json"}, float(self.sdk.timeout)
        with translate(f"Setting the limits of {name}"), within(seconds):
            data = json.dumps(limits)
            self.post(f"/containers/{name}/update", headers=headers, data=data, timeout=seconds).close()

    def created(self, found: Found) -> float:
        """When an inspected container was made, in seconds since the epoch."""
        return float(_seconds(found["Created"]))

    def last_update(self, found: Found) -> float | None:
        """When someone last changed an inspected container's limits, in seconds since the epoch; None if the Engine,
        which remembers its last 256 events, has forgotten."""
        with translate(f"Asking when {name_of(found)} was changed"), within(self.sdk.timeout):
            # Until now by the Engine's own clock, or it would wait for what is to come.
            now = _seconds(str(self.sdk.info()["SystemTime"]))
            filters = {"container": found["Id"], "event": ["update"]}
            events: Any = self.sdk.events("0", now, filters, decode=True)  # type: ignore[call-overload]
            with closing(events):
                times = [int(one["timeNano"]) / 1e9 for one in events]
        return times[-1] if times else None

    def output(self, name: str, lines: int, times: bool = False) -> tuple[str, ...]:
        """A container's last output lines, each whole, of OUTPUT_LIMIT bytes together; with ``times`` each begins with
        its time."""
        doing = f"Reading the output of {name}"
        raw, cut = self.unless_gone(doing, lambda: self._last_entries(name, lines + 1)) or (b"", False)
        found = [join_entries(line) for line in raw.split(b"\n") if line]
        if found and (cut or sum(len(entries) for entries in found) > lines):
            del found[0]  # there is more before it, so this may be only the end of a line
        texts = (b"".join(entries) for entries in found)
        whole = (text if times else text.partition(b" ")[2] for text in texts)
        return tuple(last_state(text.decode(errors="replace")) for text in whole)

    def _last_entries(self, name: str, count: int) -> tuple[bytes, bool]:
        """The Engine keeps a line in one entry or more, each at most ENTRY bytes."""
        seconds: float = self.sdk.timeout
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "tail": str(count)}
        with (
            within(seconds),
            closing(self.get(f"/containers/{name}/logs", params=params, timeout=seconds)) as answer,
        ):
            return last_pieces((text for _, text in frames(answer.raw.read)), OUTPUT_LIMIT)

    def last_end(self, found: Found) -> tuple[int | None, bool]:
        """How an inspected container that runs again ended before: its exit code, and whether it had run out of memory.
        (None, False) if it never did, or the Engine, which remembers its last 256 events, has forgotten."""
        state = found["State"]
        if state["FinishedAt"] == NEVER:
            return None, False
        filters = {"container": found["Id"], "event": ["die", "oom"]}
        # Both lie in the past, or the Engine would wait for what is to come.
        since, until = _seconds(state["FinishedAt"], -EVENT), _seconds(state["StartedAt"])
        with translate(f"Asking how {name_of(found)} ended"), within(self.sdk.timeout):
            events: Any = self.sdk.events(since, until, filters, decode=True)  # type: ignore[call-overload]
            with closing(events):
                seen = [(one["Action"], one["Actor"]["Attributes"].get("exitCode", "")) for one in events]
        codes = [code for action, code in seen if action == "die"]
        code = int(codes[-1]) if codes and is_number(codes[-1], 3) else None
        # Memory may have run out for a process beside the one whose end was the container's.
        return code, code == KILLED and any(action == "oom" for action, _ in seen)

    def follow(self, name: str) -> CancellableStream[bytes]:
        """A container's output as it comes, in pieces of bytes; ends with the container. ``close`` ends it earlier."""
        with translate(f"Following the output of {name}"):
            stream: CancellableStream[bytes] = self.sdk.logs(name, stream=True, follow=True)
        return stream

    def changes(self, name: str) -> list[tuple[int, str]]:
        """What differs from the image's files: kind (0 changed, 1 added, 2 deleted) and path. None of it is in a
        volume."""
        with translate(f"Asking what {name[:80]} has written"):
            found: Any = self.sdk.diff(name)
        return [(int(one["Kind"]), str(one["Path"])) for one in found or ()]

    def size_of(self, name: str, path: str) -> int | None:
        """The bytes of a file in a container; None if the Engine does not say."""
        api: Any = self.sdk
        with translate(f"Looking at {path} of {name[:80]}"):
            url = f"{api.base_url}/v{api.api_version}/containers/{name}/archive"
            answer = api.head(url, params={"path": path}, timeout=api.timeout)
        said = answer.headers.get("X-Docker-Container-Path-Stat", "")
        with suppress(ValueError, KeyError):
            return int(json.loads(base64.b64decode(said))["size"])
        return None

    def archive(self, name: str, path: str) -> Generator[bytes]:
        """A folder of a container as a tar stream, its own name in front of every path. All of it takes one request's
        timeout at most."""
        seconds: float = self.sdk.timeout
        with translate(f"Reading {path} of {name[:80]}"), within(seconds):
            url = f"/containers/{name}/archive"
            with closing(self.get(url, params={"path": path}, timeout=seconds)) as answer:
                yield from answer.raw.stream(1 << 16, decode_content=True)

    def put_files(self, name: str, tar: bytes) -> None:
        """Unpacks an archive into a container, from its root."""
        with translate(f"Sending files to {name}"):
            self.sdk.put_archive(name, "/", tar)

    def execute(self, name: str, command: Sequence[str]) -> tuple[int, str]:
        """Runs a command in a running container: its exit code and output. All of it takes one request's timeout at
        most: the SDK's own reader waits for the output without a limit."""
        api: Any = self.sdk
        with translate(f"Running a command in {name}"), within(api.timeout):
            session = api.exec_create(name, list(command))["Id"]
            data = json.dumps({"Tty": False, "Detach": False})
            headers = {"Content-Type": "application/json"}
            path = f"/exec/{session}/start"
            with closing(self.post(path, headers=headers, data=data, timeout=api.timeout)) as answer:
                output = b"".join(text for _, text in frames(answer.raw.read))
            return int(api.exec_inspect(session)["ExitCode"]), output.decode(errors="replace")

    def execute_detached(self, name: str, command: Sequence[str]) -> str:
        """Starts a command in a running container and leaves it there; returns its id. It ends with the container."""
        with translate(f"Starting a command in {name}"):
            session = str(self.sdk.exec_create(name, list(command))["Id"])
            self.sdk.exec_start(session, detach=True)
        return session

    def executes(self, command: str) -> bool:
        """True if the command with that id still runs."""
        with translate("Asking for a command in a container"):
            return bool(self.sdk.exec_inspect(command)["Running"])

    def attach(self, name: str, command: Sequence[str]) -> requests.Response:
        """Starts a command in a running container with its input open. The answer's connection carries its input and
        output from now on (see ``exec_tunnel.Wire``)."""
        api: Any = self.sdk
        with translate(f"Connecting through {name}"), within(api.timeout):
            session = api.exec_create(name, list(command), stdin=True)["Id"]
            headers = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json"}
            data = json.dumps({"Tty": False, "Detach": False})
            return self.post(f"/exec/{session}/start", headers=headers, data=data, timeout=api.timeout)


def _seconds(stamp: str, more: int = 0) -> str:
    """The Engine's ``2026-03-01T12:00:05.123456789Z`` as it wants times of events: seconds with nine digits."""
    whole, _, rest = stamp.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) + more
    return f"{seconds}.{rest[:9].ljust(9, '0')}"


def frames(read: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """The Engine's frames of output, as they come: 1 for stdout or 2 for stderr, and the bytes. In the stream: 1 byte
    for the kind, 3 unused, 4 for the length, then so many bytes. ``read`` gives less only at the end."""
    while len(head := read(8)) == 8:
        kind, length = struct.unpack(">BxxxL", head)
        yield kind, read(length)


def name_of(found: Found) -> str:
    """The name of a listed or inspected container."""
    return str(found.get("Name") or found["Names"][0]).lstrip("/")


def join_entries(line: bytes) -> list[bytes]:
    """The entries in which the Engine keeps one line, only the first with its time: when asked for times, the Engine
    puts one before each entry, in the middle of the text."""
    stamp, space, text = line.partition(b" ")
    pieces = [stamp + space + text[:ENTRY]]
    rest = text[ENTRY:]
    while rest:
        time = _STAMP.match(rest)
        rest = rest[time.end() :] if time else rest
        pieces.append(rest[:ENTRY])
        rest = rest[ENTRY:]
    return pieces
