"""A command in a container, with this terminal or this process's own input and output."""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from pipeline.cli.context import DONE, Context, GoesOn, Unreachable
from pipeline.errors import PushliveError, RequestError
from pipeline.lib.text import one_line, printable

if TYPE_CHECKING:
    from pipeline.cli.client import Client

CHUNK = 48 << 10  # bytes of input in one request
AGAIN = 0.1  # seconds until input that the command did not take is sent again


def follow(context: Context, path: str, body: Mapping[str, Any]) -> int:
    """Starts the command at that path of the API; returns its exit code. The command has a terminal if this process's
    input and output are one. Ctrl-C ends it."""
    client, interactive = context.client, sys.stdin.isatty() and sys.stdout.isatty()
    wanted = {**body, "terminal": interactive}
    if interactive:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        wanted |= {"columns": max(1, columns), "rows": max(1, rows)}
    session = _Session(client, interactive)
    try:
        with _raw(interactive):
            return session.follow(client.lines(path, "POST", wanted))
    except KeyboardInterrupt:
        session.end()
        raise


def messages(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Those until the end. Raises Unreachable if there is none, and the error that one of them is."""
    for line in lines:
        message = _decoded(line) if line.strip() else {}
        if "end" in message:
            return
        yield message
    raise Unreachable("the connection broke off.", advice="`pushlive status` shows what serves.")


def tell(context: Context, path: str, body: Mapping[str, Any]) -> int:
    """Says what the service does at that path of the API, as it comes. Returns DONE."""
    try:
        for message in messages(context.client.lines(path, "POST", body)):
            if "line" in message:
                context.terminal.say(one_line(str(message["line"])))
    except KeyboardInterrupt:
        raise GoesOn from None
    return DONE


class CommandFailed(RequestError):
    """It ended with another exit code than 0. The message is what it said."""


def output(client: Client, path: str, body: Mapping[str, Any]) -> Iterator[bytes]:
    """The output of a command that needs no input. Raises CommandFailed if it fails."""
    said = b""
    for line in client.lines(path, "POST", body):
        message = _decoded(line) if line.strip() else {}
        said = (said + base64.b64decode(message.get("err", "")))[-1000:]
        if "out" in message:
            yield base64.b64decode(message["out"])
        if "end" in message:
            if message["end"]["code"]:
                raise CommandFailed(
                    " ".join(printable(said.decode(errors="replace")).split()) or "it failed."
                )
            return
    raise _broken()


def _broken() -> Unreachable:
    return Unreachable(
        "the connection broke off, and with it the command was ended.",
        advice="`pushlive doctor` checks every part of the service.",
    )


class _Session:
    def __init__(self, client: Client, interactive: bool) -> None:
        self._client, self._interactive = client, interactive
        self._path = ""  # of the session, once it has begun

    def follow(self, lines: Iterator[str]) -> int:
        for line in lines:
            if not line.strip():
                continue
            message = _decoded(line)
            if "session" in message:
                self._begin(str(message["session"]))
            elif "end" in message:
                return int(message["end"]["code"])
            self._write(sys.stdout.buffer, message.get("out", ""))
            self._write(sys.stderr.buffer, message.get("err", ""))
        raise _broken()

    def _write(self, out: BinaryIO, data: str) -> None:
        if not data:
            return
        raw = base64.b64decode(data)
        if not self._interactive and out.isatty():  # it must not obey what a program's output says
            raw = printable(raw.decode(errors="replace")).encode(errors="replace")
        out.write(raw)
        out.flush()

    def _begin(self, session: str) -> None:
        self._path = f"/api/sessions/{session}"
        threading.Thread(target=self._send_input, name="input", daemon=True).start()
        if self._interactive:
            signal.signal(signal.SIGWINCH, lambda *_: self._resized())

    def _send_input(self) -> None:
        sent = 0
        with suppress(PushliveError, OSError):
            while data := os.read(sys.stdin.fileno(), CHUNK):
                self._send({"data": base64.b64encode(data).decode(), "at": sent})
                sent += len(data)
            self._send({"end": True})

    def _send(self, body: Mapping[str, Any]) -> None:
        while True:
            try:
                self._client.call("POST", f"{self._path}/input", body)
                return
            except (
                Unreachable
            ):  # the command does not read, or a proxy lost the request; what came is not taken twice
                time.sleep(AGAIN)

    def _resized(self) -> None:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
        body = {"columns": max(1, columns), "rows": max(1, rows)}
        threading.Thread(target=self._try, args=("POST", "/input", body), daemon=True).start()

    def end(self) -> None:
        """Ends the command."""
        if self._path:
            self._try("DELETE", "", None)

    def _try(self, method: str, path: str, body: Mapping[str, Any] | None) -> None:
        with suppress(PushliveError):
            self._client.call(method, self._path + path, body)


def _decoded(line: str) -> dict[str, Any]:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise Unreachable("the answer is not a command's output.", advice="Check PUSHLIVE_URL.")
    if "error" in message:
        from pipeline.cli.client import failed

        raise failed(message)
    return message


@contextmanager
def _raw(interactive: bool) -> Iterator[None]:
    """The terminal passes every key on while the command runs."""
    if not interactive:
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin, termios.TCSADRAIN)  # what was typed ahead stays
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
