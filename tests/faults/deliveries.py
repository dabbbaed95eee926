"""Webhooks that keep coming while something is wrong, and what each was answered."""

from __future__ import annotations

import hashlib
import http.client
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.judge import Accepted
from tests.support.remote_repository import RemoteRepository

SENDERS = 4
PAUSE = 0.1  # seconds between two webhooks of one sender


@dataclass(frozen=True)
class Answered:
    status: int
    retry_after: str
    at: float  # monotonic
    seconds: float


@dataclass
class Deliveries:
    """Use as a context manager. Each names a commit of its own that is not the head (any more)."""

    remote: RemoteRepository
    answers: list[Answered] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Deliveries:
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(40)

    def more(self, status: int, number: int) -> Callable[[], bool]:
        """A condition: so many more answers of that status than now."""
        before = self.count(status)
        return lambda: self.count(status) >= before + number or bool(self.wrong)

    def count(self, status: int) -> int:
        return sum(one.status == status for one in self.answers)

    def _send(self) -> None:
        while not self._over.wait(PAUSE):
            self.deliver(hashlib.sha1(secrets.token_bytes(8), usedforsecurity=False).hexdigest())

    def deliver(self, commit: str) -> int:
        """The status of one webhook's answer; 0 for none."""
        began = time.monotonic()
        try:
            signed = self.remote.signed(commit)
            status, headers, body = self.remote.service.request("POST", "/hooks/github", *signed)
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(f"a webhook got no answer: {type(error).__name__} {error}")
            return 0
        now = time.monotonic()
        retry = headers.get("Retry-After", "")
        self.answers.append(Answered(status, retry, now, now - began))
        if status == 202:
            self.accepted.append(Accepted(self.remote.name, commit, tuple(json.loads(body)["runs"])))
        elif status != 503 or not retry.isdigit():
            self.wrong.append(f"a webhook was answered {status}, Retry-After {retry!r}: {body[:200]!r}")
        return status
