"""What a client may use up of the server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Seconds, bytes, and bytes a second. Every wait for a client has an end that the client cannot move."""

    connections: int = 1000
    head_seconds: float = 10.0  # for the whole head of a connection's first request
    idle_seconds: float = 15.0  # from an answer to the end of the next head
    head_bytes: int = 32 << 10
    body_seconds: float = 15.0  # for a whole body that is buffered
    buffered: int = (
        512 << 20
    )  # bodies that wait for a thread, all together, on disk; half of it for one address
    grace: float = 30.0  # that a client may keep a pack or an answer waiting in total, …
    rate: int = 4 << 10  # … and one second more for each so many bytes
    queue_seconds: float = 10.0  # until a request that gets no thread is answered 503
    linger_seconds: float = 2.0  # for a client to read an answer that came before the end of its body
    vanished_seconds: float = 60.0  # until a client that acknowledges nothing counts as gone
    stop_seconds: float = 1.0  # for requests in progress, when the server is stopped
