"""GitHub: https://docs.github.com/en/webhooks/webhook-events-and-payloads#push"""

from __future__ import annotations

from typing import Any

from pipeline.config.settings import Secret
from webhooks.receivers.contract import Headers, Ignored, Parsed
from webhooks.receivers.payload import delivery, part, pushed, requested, text
from webhooks.security.signatures import valid


class GitHub:
    name = "github"

    def verify(self, headers: Headers, body: bytes, secrets: tuple[Secret, ...]) -> bool:
        """X-Hub-Signature (SHA-1) is ignored."""
        method, _, signature = headers.get("X-Hub-Signature-256", "").partition("=")
        return method == "sha256" and valid(signature, body, secrets)

    def parse(self, headers: Headers, payload: dict[str, Any]) -> Parsed:
        event = headers.get("X-GitHub-Event", "")
        if event == "ping":
            return Ignored("pong: the webhook is configured and its secret is correct")
        if event == "pull_request":
            return requested(payload, delivery(headers, "X-GitHub-Delivery"))
        if event != "push":
            return Ignored(
                f"the event is {event[:40] or 'missing'!r}; only pushes and pull requests are deployed"
            )
        pusher = text(part(payload, "pusher"), "name")
        return pushed(payload, delivery(headers, "X-GitHub-Delivery"), pusher)
