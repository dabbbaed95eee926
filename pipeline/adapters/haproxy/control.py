"""HAProxy's runtime socket: one command for each connection, with a time limit."""

from __future__ import annotations

import csv
import os
import socket
from pathlib import Path

from pipeline.adapters.haproxy.config import FOLDER, Server
from pipeline.adapters.haproxy.health import map_value_of
from pipeline.adapters.haproxy.last_resort import LAST
from pipeline.adapters.haproxy.measuring import latencies
from pipeline.domain.engine_types import Answered
from pipeline.domain.judging.latency.times import Timed
from pipeline.errors import EngineAway
from pipeline.lib.sockets import DeadlineSocket, receive_all, within

TIMEOUT = 2.0  # seconds for a whole answer; HAProxy needs less than a millisecond
SOCKET = "admin.sock"
_KINDS = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
_ADVICE = "The service retries. If it stays so, `docker logs` of the proxy's container says why."


class Control:
    """Talks to the HAProxy whose socket is in ``folder``. Every method raises EngineAway if HAProxy does not answer."""

    def __init__(self, folder: Path, name: str = SOCKET) -> None:
        self._folder, self._name = folder, name

    def ask(self, command: str) -> str:
        """The answer to one command, or to several separated by ``;``."""
        try:
            return self._ask(command)
        except OSError as error:
            asked = command.split("<<")[0].strip()[:80]
            raise EngineAway(
                f"The proxy's socket in {self._folder} did not answer `{asked}` ({error or 'timeout'}).",
                advice=_ADVICE,
            ) from error

    def _ask(self, command: str) -> str:
        # A socket's path is limited to 107 bytes, and the data folder's may be longer: go through the open folder.
        folder = os.open(self._folder, os.O_PATH | os.O_DIRECTORY)
        try:
            with within(TIMEOUT), DeadlineSocket(socket.AF_UNIX) as connection:
                connection.connect(f"/proc/self/fd/{folder}/{self._name}")
                connection.sendall(command.encode() + b"\n")
                return receive_all(connection).decode(errors="replace")
        finally:
            os.close(folder)

    def answers(self) -> bool:
        """True if HAProxy answers and has read its maps."""
        try:
            return "found=yes" in self.ask(f"get map {FOLDER}/active.map e0")
        except EngineAway:
            return False

    def info(self, name: str) -> str:
        """One value of ``show info``, "" if it is not there."""
        lines = (line.partition(": ") for line in self.ask("show info").splitlines())
        return next((value for key, _, value in lines if key.lower() == name.lower()), "")

    def structure(self) -> str:
        """See ``config.structure_of``; "" for a proxy that version 0.1.0 started."""
        return self.info("description").removeprefix("structure-")

    def map(self, name: str) -> dict[str, str] | None:
        """One map as it is in HAProxy's memory; None if it has none of that name: an earlier version started it."""
        answer = self.ask(f"show map {FOLDER}/{name}")
        if answer.startswith("Unknown map"):
            return None
        lines = [line.split(" ", 2) for line in answer.splitlines()]
        return {fields[1]: fields[2] for fields in lines if len(fields) == 3}

    def map_value(self, name: str, key: str) -> str | None:
        """One value of a map; "" if it has no such key, None if there is no such map."""
        return map_value_of(self.ask(f"get map {FOLDER}/{name} {key}"))

    def servers(self, backend: str) -> dict[int, tuple[Server, bool]]:
        """A backend's servers by number: address, and whether it gets requests (no maintenance, no rest). The server
        ``last``, which a proxy that an earlier version started does not have, is number 0."""
        found = {}
        for line in self.ask(f"show servers state {backend}").splitlines():
            fields = line.split(" ")
            if len(fields) > 18 and fields[1] == backend:
                # srv_admin_state: bit 0 is forced maintenance, bit 2 maintenance by the configuration, bit 3 a rest
                number = 0 if fields[3] == LAST else int(fields[3][1:])
                found[number] = ((fields[4], int(fields[18])), int(fields[6]) & 0x09 == 0)
        return found

    def sessions(self, backend: str) -> int:
        """How many requests and tunnels the backend serves now."""
        for line in self.ask(f"show stat {backend} 2 -1").splitlines():
            fields = line.split(",")
            if fields[0] == backend and fields[1] == "BACKEND":
                return int(fields[4])
        return 0

    def answered(self, backend: str) -> Answered:
        """What the backend has answered: ``srv_abrt`` are answers that the application broke off."""
        row = self._whole(backend)
        requests = sum(int(row.get(f"hrsp_{kind}") or 0) for kind in _KINDS)
        return Answered(requests, int(row.get("hrsp_5xx") or 0) + int(row.get("srv_abrt") or 0))

    def sent(self, backend: str) -> int:
        """Bytes of answers, without TLS and all below it."""
        return int(self._whole(backend).get("bout") or 0)

    def _whole(self, backend: str) -> dict[str, str]:
        """What is counted of all its servers; {} if there is no such backend."""
        rows = csv.DictReader(self.ask(f"show stat {backend} 2 -1").lstrip("# ").splitlines())
        return next((row for row in rows if (row["pxname"], row["svname"]) == (backend, "BACKEND")), {})

    def timed(self, backend: str) -> Timed | None:
        """How long the backend's answers took; None if an earlier version started the proxy."""
        return latencies.timed(self.ask(latencies.asked(backend)), backend)

    def server_stats(self, backend: str) -> dict[int, dict[str, str]]:
        """What HAProxy counts of a backend's servers, by number."""
        rows = csv.DictReader(self.ask(f"show stat {backend} 4 -1").lstrip("# ").splitlines())
        mine = (row for row in rows if row.get("pxname") == backend and row.get("svname", "")[1:].isdigit())
        return {int(row["svname"][1:]): row for row in mine}


class Resting:
    """Servers of one backend that get no new requests for a while. Raises TryAgain if HAProxy does not answer. One that
    starts again knows of no rest."""

    def __init__(self, control: Control, backend: str) -> None:
        self._control, self._backend = control, backend

    def rest(self, server: Server, *, resting: bool) -> None:
        """A resting server gets no new requests; those that it has go on."""
        if number := self._number(server):
            state = "drain" if resting else "ready"
            self._control.ask(f"set server {self._backend}/s{number} state {state}")

    def sessions(self, server: Server) -> int:
        """How many requests that server has now."""
        return int(self._stats(server).get("scur") or 0)

    def is_up(self, server: Server) -> bool:
        """True unless it rests, or the checks say that it is not well."""
        return not self._stats(server).get("status", "").startswith(("DOWN", "NOLB", "DRAIN"))

    def _stats(self, server: Server) -> dict[str, str]:
        return self._control.server_stats(self._backend).get(self._number(server), {})

    def _number(self, server: Server) -> int:
        """0 if the proxy does not know it."""
        running = self._control.servers(self._backend)
        return next((n for n, (one, _) in running.items() if n and one == server), 0)
