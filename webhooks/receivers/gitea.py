"""Gitea and Forgejo: https://docs.gitea.com/usage/repository/webhooks"""

from __future__ import annotations

from typing import Any

from pipeline.config.settings import Secret
from webhooks.receivers.contract import Headers, Ignored, Parsed
from webhooks.receivers.payload import delivery, part, pushed, requested, text
from webhooks.security.signatures import valid


class Gitea:
    name = "gitea"

    def verify(self, headers: Headers, body: bytes, secrets: tuple[Secret, ...]) -> bool:
        """Forgejo sends its own header beside Gitea's; both contain only the hex digits."""
        signature = headers.get("X-Forgejo-Signature", "") or headers.get("X-Gitea-Signature", "")
        return valid(signature, body, secrets)

    def parse(self, headers: Headers, payload: dict[str, Any]) -> Parsed:
        """A test delivery is an ordinary push; there is no ping."""
        event = headers.get("X-Forgejo-Event", "") or headers.get("X-Gitea-Event", "")
        if event == "pull_request":
            return requested(payload, delivery(headers, "X-Forgejo-Delivery", "X-Gitea-Delivery"))
        if event != "push":
            return Ignored(
                f"the event is {event[:40] or 'missing'!r}; only pushes and pull requests are deployed"
            )
        who = part(payload, "pusher")
        name = text(who, "login") or text(who, "username")
        return pushed(payload, delivery(headers, "X-Forgejo-Delivery", "X-Gitea-Delivery"), name)
