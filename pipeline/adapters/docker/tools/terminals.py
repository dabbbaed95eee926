"""Commands of people on Docker: in a fresh container, or in a replica's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import requests

from pipeline.adapters.docker import containers, images
from pipeline.adapters.docker.base import EngineBase
from pipeline.adapters.docker.start import create, start
from pipeline.adapters.docker.tools.one_off import at, with_free_address
from pipeline.adapters.docker.tools.outputs import STREAM_ERRORS, shut_down
from pipeline.adapters.docker_api import labels
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.attached import Attached
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import Body
from pipeline.adapters.workload import END_MARKED, MARK, tar_of
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.errors import AppFailed, EngineFailed, NotFound
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock, Watch
from pipeline.ports.terminal import STDOUT, Wanted

NOT_FOUND = 404
IN_MEMORY = ("/dev", "/proc", "/sys")  # what the Engine shows no files of
PIECE = 64 << 10  # bytes
ENDED_WITHIN = 5.0  # seconds between the end of a command's output and its exit code


class DockerTerminals(EngineBase):
    """See ``ports.Terminals``."""

    def run_session(self, spec: SlotSpec, wanted: Wanted, watch: Watch) -> ContainerSession:
        self._fits_one_more(
            spec,
            "the command",
            f"`pushlive exec {spec.ref.pipeline} {spec.ref.environment}` runs it in a container that serves, within "
            "that one's memory.",
        )
        images.provide(self._api, self._settings, self._clock, spec, watch)
        name, network = (
            self._session_name(spec.ref, wanted),
            containers.network_name(self._settings, spec.ref),
        )
        body = containers.with_secrets(self._session_body(spec, wanted), spec.reveal(), spec.filled)

        def begin(address: str) -> ContainerSession:
            create(self._api, name, at(body, network, address), spec.config.uses)
            try:
                return self._attach(name, wanted)
            except BaseException:
                self._api.remove(name)
                raise

        return with_free_address(self._api, self._settings, spec.ref, begin)

    def _attach(self, name: str, wanted: Wanted) -> ContainerSession:
        attached = self._api.attach_container(name, wanted.terminal)
        try:
            start(self._api, name)
        except BaseException:
            attached.close()
            raise
        session = ContainerSession(self._api, self._clock, name, attached, wanted.terminal)
        session.resize(wanted.columns, wanted.rows)
        return session

    def _session_name(self, ref: SlotRef, wanted: Wanted) -> str:
        return f"{containers.network_name(self._settings, ref)}-session-{wanted.session}"

    def _session_body(self, spec: SlotSpec, wanted: Wanted) -> Body:
        body = containers.command_body(self._settings, spec, wanted.session, wanted.argv, {})
        own = {key: text for key, text in body["Labels"].items() if key != labels.COMMAND}
        return {
            **body,
            "Labels": {**own, labels.SESSION: wanted.session},
            "Tty": wanted.terminal,
            "OpenStdin": True,
            "StdinOnce": True,
            "AttachStdin": True,
            "AttachStdout": True,
            "AttachStderr": True,
        }

    def exec_session(self, ref: SlotRef, replica: str, wanted: Wanted) -> ExecSession:  # noqa: ARG002
        try:
            identifier, attached = self._api.start_session(
                replica, wanted.argv, {MARK: wanted.session}, terminal=wanted.terminal
            )
        except DockerRefused as error:
            if error.status in (400, 409):
                raise AppFailed(
                    f"{wanted.argv[0][:100]!r} cannot be executed in {replica}.",
                    advice="The image may not have it: it needs a program of that name, and for `sh` a shell.",
                    facts=(error.said,),
                ) from error
            raise
        session = ExecSession(self._api, self._clock, identifier, attached, wanted.terminal)
        session.resize(wanted.columns, wanted.rows)
        return session

    def copy_session(
        self, ref: SlotRef, replica: str, path: str, session: str
    ) -> ArchiveSession | ExecSession:
        """The Engine reads the files itself, whatever programs the image has; what is in a tmpfs only `tar` sees."""
        try:
            return ArchiveSession(self._api.stream_archive(replica, path))
        except DockerRefused as error:
            if error.status != NOT_FOUND:
                raise
            host = (self._api.container(replica) or {}).get("HostConfig") or {}
            in_memory = (*IN_MEMORY, *(host.get("Tmpfs") or ()))
            if not any(f"{path}/".startswith(f"{folder.rstrip('/')}/") for folder in in_memory):
                raise NotFound(f"there is no {path[:200]} in {replica}.") from error
        return self.exec_session(ref, replica, Wanted(session, tar_of(path)))

    def end_session(self, ref: SlotRef, session: str, replica: str = "") -> None:
        if not replica:
            self._api.remove(f"{containers.network_name(self._settings, ref)}-session-{session}")
        elif (found := self._api.container(replica)) and found["State"]["Running"]:
            # If the image has no shell, a command that ignores the end of its input cannot be ended in this way.
            with suppress(DockerRefused):
                self._api.execute(replica, ["sh", "-c", END_MARKED, "end", f"{MARK}={session}"])


class _DockerSession:
    def __init__(self, api: DockerApi, clock: Clock, name: str, attached: Attached, terminal: bool) -> None:
        self._api, self._clock, self._name, self._terminal = api, clock, name, terminal
        self._attached = attached
        self.output, self.write = attached.output, attached.write
        self.end_input, self.close = attached.end_input, attached.close

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal:
            try:
                self._resize(columns, rows)
            except EngineFailed:
                return  # it has ended

    def _resize(self, columns: int, rows: int) -> None:
        raise NotImplementedError

    def _ended(self) -> int | None:
        raise NotImplementedError

    def exit_code(self) -> int:
        code = poll(lambda: _wrapped(self._ended()), 0.02, self._clock, timeout=ENDED_WITHIN)
        if code is None:
            raise EngineFailed(f"{self._name}: how the command ended is not known.")
        return code[0]


def _wrapped(code: int | None) -> tuple[int] | None:
    return None if code is None else (code,)


class ContainerSession(_DockerSession):
    """``name``: the container, which is the command's own."""

    def _resize(self, columns: int, rows: int) -> None:
        self._api.resize_container(self._name, columns, rows)

    def _ended(self) -> int | None:
        found = self._api.container(self._name)
        if found is None:
            raise EngineFailed(f"{self._name} was removed before the command had ended.")
        return None if found["State"]["Running"] else int(found["State"]["ExitCode"])


class ExecSession(_DockerSession):
    """``name``: the Engine's id of the command."""

    def _resize(self, columns: int, rows: int) -> None:
        self._api.resize_session(self._name, columns, rows)

    def _ended(self) -> int | None:
        found = self._api.session(self._name)
        return None if found["Running"] else int(found["ExitCode"] or 0)


class ArchiveSession:
    """An archive that the Engine makes: see ``ports.Session``. Nothing reads input, and nothing runs."""

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self._whole = False

    def output(self) -> Iterator[tuple[int, bytes]]:
        with suppress(*STREAM_ERRORS):
            # The Engine compresses it.
            for piece in self._response.raw.stream(PIECE, decode_content=True):
                yield STDOUT, piece
            self._whole = True

    def write(self, data: bytes) -> None:
        pass

    def end_input(self) -> None:
        pass

    def resize(self, columns: int, rows: int) -> None:
        pass

    def exit_code(self) -> int:
        return 0 if self._whole else 1

    def close(self) -> None:
        shut_down(self._response)
