"""Commands whose input stays open: one method for each call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import requests

from pipeline.adapters.docker_api.attached import Attached
from pipeline.adapters.docker_api.connection import Connection
from pipeline.adapters.docker_api.errors import translate
from pipeline.lib.sockets import within

_UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp", "Content-Type": "application/json"}


class SessionCalls(Connection):
    """Errors are translated (``errors.translate``)."""

    def attach_container(self, name: str, terminal: bool) -> Attached:
        """The input and output of a container's own command, which may not have been started yet."""
        api: Any = self.sdk
        params = {"stream": "1", "stdin": "1", "stdout": "1", "stderr": "1"}
        with translate(f"Connecting to {name}"), within(api.timeout):
            answer = self.post(
                f"/containers/{name}/attach", params=params, headers=_UPGRADE, timeout=api.timeout
            )
            return Attached(answer, terminal)

    def start_session(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], *, terminal: bool
    ) -> tuple[str, Attached]:
        """Starts a command in a running container: its id, its input and its output. Raises DockerRefused: 400 or 409
        if it cannot be executed."""
        api: Any = self.sdk
        with translate(f"Starting a command in {name}"), within(api.timeout):
            variables = [f"{key}={value}" for key, value in env.items()]
            created = api.exec_create(name, list(argv), stdin=True, tty=terminal, environment=variables)
            data = json.dumps({"Tty": terminal, "Detach": False})
            path = f"/exec/{created['Id']}/start"
            answer = self.post(path, headers=_UPGRADE, data=data, timeout=api.timeout)
            return str(created["Id"]), Attached(answer, terminal)

    def session(self, identifier: str) -> dict[str, Any]:
        """The state of a command that ``start_session`` started: Running, ExitCode, …"""
        with translate("Asking how a command ended"):
            return dict(self.sdk.exec_inspect(identifier))

    def stream_output(self, name: str, lines: int, since: float, *, follow: bool) -> requests.Response:
        """A container's output, in frames unless it has a terminal: its last lines since then, and with ``follow``
        what comes. The answer is read without a limit: another thread ends it."""
        params = {"stdout": "1", "stderr": "1", "follow": str(int(follow)), "tail": str(lines)}
        if since:
            params["since"] = f"{since:.9f}"
        api: Any = self.sdk
        with translate(f"Reading the output of {name}"), within(api.timeout):
            return self.get(f"/containers/{name}/logs", params=params)

    def stream_archive(self, name: str, path: str) -> requests.Response:
        """A file or folder of a container as a tar stream; of what is in memory alone (tmpfs) nothing is found. The
        answer is read without a limit: another thread ends it. Raises DockerRefused: 404 if there is none."""
        api: Any = self.sdk
        with translate(f"Reading {path[:200]} of {name}"), within(api.timeout):
            return self.get(f"/containers/{name}/archive", params={"path": path})

    def stats(self, name: str) -> dict[str, Any] | None:
        """What a container uses now and used a second ago; None if there is none."""
        found: dict[str, Any] | None = self.unless_gone(
            f"Measuring {name}", lambda: self.sdk.stats(name, stream=False)
        )
        return found

    def stats_at_once(self, name: str) -> dict[str, Any] | None:
        """The same without what it used a second ago, which takes a second to find out."""
        found: dict[str, Any] | None = self.unless_gone(
            f"Measuring {name}", lambda: self.sdk.stats(name, stream=False, one_shot=True)
        )
        return found

    def resize_session(self, identifier: str, columns: int, rows: int) -> None:
        self.unless_gone("Resizing", lambda: self.sdk.exec_resize(identifier, height=rows, width=columns))

    def resize_container(self, name: str, columns: int, rows: int) -> None:
        self.unless_gone("Resizing", lambda: self.sdk.resize(name, height=rows, width=columns))
