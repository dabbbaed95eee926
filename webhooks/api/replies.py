"""The answers that most routes give."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response
from flask.typing import ResponseReturnValue

from pipeline.domain.run import Run
from pipeline.errors import PushliveError
from webhooks.error_responses import failure

PIECE = 64 << 10  # characters


def run_accepted(run: Run) -> ResponseReturnValue:
    """202: the run is stored; a worker executes it."""
    return {"run": run.id}, 202


def unchanged(run: Run) -> ResponseReturnValue:
    """200: what was asked for serves already, from that run; no release is made."""
    again = f"`pushlive deploy {run.pipeline} --release r{run.release}`"
    text = (
        f"Nothing changed: r{run.release} serves in every environment with this configuration. No release was made; "
        f"{again} starts it again."
    )
    return {"run": run.id, "unchanged": True, "messages": [text]}


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


UNBUFFERED = {"X-Accel-Buffering": "no"}  # nginx would wait for more


def told(lines: Iterator[tuple[str, ...]]) -> Response:
    """Newline-delimited JSON, as it comes: each of the lines, blank ones while there is none, and how it ended."""
    return Response(_told(lines), mimetype="application/x-ndjson", headers=UNBUFFERED)


def line(value: dict[str, Any]) -> str:
    return json.dumps(value) + "\n"


def _told(lines: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "\n"
    try:
        for some in lines:
            yield "".join(line({"line": one}) for one in some) or "\n"
        yield line({"end": {"code": 0}})
    except PushliveError as error:
        yield line(failure(error))
