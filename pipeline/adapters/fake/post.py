"""Receivers of messages, in memory."""

from __future__ import annotations

import json

from pipeline.adapters.fake.script import Script, require

MAX_TIMEOUT = 60.0  # seconds


class FakePost(Script):
    """Refuses a body that is not JSON with the delivery's id, two bodies under one id, and a timeout of 0 or of
    ``MAX_TIMEOUT`` and more.

    ``answers``: the status by URL, 200 by default. ``taken``: by URL, the ids that were answered with a 2xx."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, int] = {}
        self.taken: dict[str, list[str]] = {}
        self.bodies: dict[str, bytes] = {}

    def send(self, url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
        with self.call("send", url):
            delivery = headers["X-Pushlive-Delivery"]
            require(headers["Content-Type"] == "application/json", "a body that is not JSON")
            require(json.loads(body)["id"] == delivery, "different ids in header and body")
            require(self.bodies.setdefault(delivery, body) == body, "one id for two messages")
            require(0 < timeout < MAX_TIMEOUT, f"a timeout of {timeout:g} s")
            status = self.answers.get(url, 200)
            if 200 <= status < 300:
                self.taken.setdefault(url, []).append(delivery)
        return status
