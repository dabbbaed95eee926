"""A command's whole output, or its whole input: told apart from what a connection has cut off.

The end of a connection looks like the end of the command's output, and like the end of its input. So a shell in the
container writes a mark once the command has exited with 0, and nothing counts that comes without it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress

from pipeline.errors import EngineFailed, PushliveError
from pipeline.lib import streams
from pipeline.lib.text import one_line
from pipeline.ports.clock import Watch
from pipeline.ports.terminal import STDOUT, Session, Wanted

SESSION = "backup"  # one at a time in a container
_SCRIPT = 'mark=$1; shift; "$@" || exit; printf %s "$mark"'
# Into a file first: a connection that breaks off looks like the end of the input.
_STAGED = """
mark=$1 size=$2 file=${TMPDIR:-/tmp}/.pushlive-restore; shift 2; umask 077
trap 'rm -f "$file"' EXIT
rm -f "$file"; head -c "$size" >"$file" || exit
[ "$(wc -c <"$file")" -eq "$size" ] || { echo "the backup did not arrive whole" >&2; exit 1; }
"$@" <"$file" || exit
printf %s "$mark"
"""
_ERRORS = 16 << 10  # bytes of its standard error that are kept

Begin = Callable[[Wanted], Session]
End = Callable[[], None]


def whole_output(begin: Begin, end: End, argv: tuple[str, ...], watch: Watch) -> Generator[bytes]:
    """What the command prints. Raises EngineFailed at its end unless it was whole. ``begin``: starts a command;
    ``end``: ends one that runs."""
    with suppress(PushliveError):
        end()  # one that a killed process has left
    mark = secrets.token_hex(16).encode()
    session = begin(Wanted(SESSION, ("sh", "-c", _SCRIPT, "backup", mark.decode(), *argv)))
    errors, held, whole = b"", b"", False
    try:
        session.end_input()
        with closing(streams.pump(session.output(), watch.check, session.close, name="backup")) as pieces:
            for stream, piece in pieces:
                if stream != STDOUT:
                    errors = (errors + piece)[-_ERRORS:]
                    continue
                held += piece
                if len(held) > len(mark):
                    yield held[: -len(mark)]
                    held = held[-len(mark) :]
        _insist(session, argv, errors, marked=held == mark)
        whole = True
    finally:
        session.close()
        if not whole:
            with suppress(PushliveError):
                end()


def whole_input(
    begin: Begin, end: End, argv: tuple[str, ...], pieces: Iterable[bytes], size: int, watch: Watch
) -> None:
    """Gives the pieces, which have that many bytes, to the command once all are there: it never sees the beginning of
    something that broke off. Raises EngineFailed unless it has exited with 0, and what the pieces raise; the command
    has not been started then."""
    with suppress(PushliveError):
        end()
    mark = secrets.token_hex(16).encode()
    session = begin(Wanted(SESSION, ("sh", "-c", _STAGED, "restore", mark.decode(), str(size), *argv)))
    failed: list[BaseException] = []

    def send() -> None:
        try:
            for piece in pieces:
                session.write(piece)
            session.end_input()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failed.append(error)

    def check() -> None:
        watch.check()
        if failed:
            raise failed[0]

    sender = threading.Thread(target=send, name="restore", daemon=True)
    sender.start()
    said, output, whole = b"", b"", False
    try:
        with closing(streams.pump(session.output(), check, session.close, name="restoring")) as found:
            for stream, piece in found:
                if stream == STDOUT:
                    output = (output + piece)[-len(mark) :]
                else:
                    said = (said + piece)[-_ERRORS:]
        check()
        _insist(session, argv, said, marked=output == mark)
        whole = True
    finally:
        session.close()
        if not whole:
            with suppress(PushliveError):
                end()
        sender.join(1.0)


def _insist(session: Session, argv: tuple[str, ...], errors: bytes, *, marked: bool) -> None:
    code, said = session.exit_code(), errors.decode(errors="replace").splitlines()
    words = [line for line in said if any(map(str.isalnum, line))]
    # After its error a database quotes the line that it means, and points at it.
    errors_in = [line for line in words if "error" in line.casefold() or "fatal" in line.casefold()]
    last = one_line((errors_in or words)[-1])[:300] if words else "it said nothing"
    if code:
        raise EngineFailed(f"{argv[0][:100]} exited with {code}: {last}.", evidence=tuple(said[-20:]))
    if not marked:
        raise EngineFailed(f"the connection to {argv[0][:100]} broke off before its end.", again=True)
