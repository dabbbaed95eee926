"""How much a client may send, and how many requests of a kind there are at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import IO

from flask import Request

from webhooks.error_responses import RETRY_AFTER, Refused
from webhooks.server.messages import BodyProblem, BufferedBody

_PIECE = 64 << 10  # bytes


class BodyRefused(Exception):
    """The body is not usable. ``status`` is the answer's, ``counter`` the name under which it is counted."""

    def __init__(self, problem: BodyProblem, limit: int) -> None:
        self.status, self.retry_after = problem.value, RETRY_AFTER if problem is BodyProblem.NO_ROOM else 0
        self.counter, message = _TEXTS[problem]
        super().__init__(message.format(limit=limit))

    def as_refused(self) -> Refused:
        return Refused(self.status, str(self), counter=self.counter, retry_after=self.retry_after)


_TEXTS = {
    BodyProblem.TOO_LARGE: ("too large", "the body is larger than {limit} bytes"),
    BodyProblem.INCOMPLETE: ("incomplete", "the body did not arrive in time, or the connection was closed"),
    BodyProblem.MALFORMED: ("not HTTP", "the body's chunks are not valid HTTP/1.1"),
    BodyProblem.NO_ROOM: ("no room", "too many large requests at once"),
}


@contextmanager
def turn(slots: threading.BoundedSemaphore, what: str) -> Iterator[None]:
    """Takes one of ``slots`` for the block. Raises Refused (503) if none is free."""
    if not slots.acquire(blocking=False):
        raise Refused(503, f"too many {what} at once", advice=f"Try again in {RETRY_AFTER} s.")
    try:
        yield
    finally:
        slots.release()


def received(request: Request, limit: int) -> IO[bytes]:
    """The raw body as a file, at its start. Raises BodyRefused."""
    if (request.content_length or 0) > limit:
        raise BodyRefused(BodyProblem.TOO_LARGE, limit)
    if "pushlive.unread" in request.environ:
        raise BodyRefused(BodyProblem.INCOMPLETE, limit)
    body: BufferedBody | None = request.environ.get("pushlive.body")
    if body is None:  # no body, or another server: its input may not end with the body
        endless = request.content_length is None and not request.environ.get("wsgi.input_terminated")
        size = 0 if endless else request.content_length
        raw = request.environ["wsgi.input"].read(limit + 1 if size is None else size)
        body = BufferedBody(BytesIO(raw), len(raw))
    problem = body.problem or (BodyProblem.TOO_LARGE if body.size > limit else None)
    if problem is None and body.size < (request.content_length or 0):
        problem = BodyProblem.INCOMPLETE
    if problem is not None:
        raise BodyRefused(problem, limit)
    return body.file


def streamed(request: Request) -> Iterator[bytes]:
    """The raw body in pieces, as they come. Any thread may read them. Raises Refused if the rest does not come, or is
    not HTTP."""
    return _read(request.environ["wsgi.input"], request.content_length)


def _read(source: IO[bytes], left: int | None) -> Iterator[bytes]:
    while left is None or left > 0:
        try:
            piece = source.read(_PIECE if left is None else min(left, _PIECE))
        except ConnectionError as error:
            raise BodyRefused(BodyProblem.INCOMPLETE, 0).as_refused() from error
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece
