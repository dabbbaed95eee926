"""The answers that most routes give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flask import Response
from flask.typing import ResponseReturnValue

from pipeline.domain.run import Run

PIECE = 64 << 10  # characters


def run_accepted(run: Run) -> ResponseReturnValue:
    """202: the run is stored; a worker executes it."""
    return {"run": run.id}, 202


def text(lines: Iterable[str]) -> Response:
    """Lines as plain text, streamed in pieces: each piece passes from a thread to the server's loop."""
    return Response(_pieces(lines), mimetype="text/plain")


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    piece, size = [], 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= PIECE:
            yield "\n".join(piece) + "\n"
            piece, size = [], 0
    if piece:
        yield "\n".join(piece) + "\n"


def messages(texts: tuple[str, ...]) -> ResponseReturnValue:
    return {"messages": list(texts)}
