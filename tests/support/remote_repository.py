"""A repository on another server (a folder here), and the webhooks that server sends."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import Any

from tests.support.developer import Files, Repository
from tests.support.service import SECRET, Service


class RemoteRepository:
    """A repository on another server (a folder here), and the webhooks that server sends."""

    def __init__(self, service: Service, name: str) -> None:
        self.service, self.name = service, name
        self.url = f"file://{service.folder}/{name}.git"
        self.clone = Repository(service.folder / f"away-{name}", self.url, service.environ)
        self.clone.git("init", "-q", "--bare", "-b", "main", str(service.folder / f"{name}.git"))

    def push(self, files: Files, message: str) -> str:
        commit = self.clone.commit(files, message)
        self.clone.git("push", "-q", "-f", "pushlive", "main")
        return commit

    def deliver(self, commit: str, delivery: str = "", **more: Any) -> tuple[int, Any]:
        """A webhook: status and decoded JSON."""
        return self.service.http("POST", "/hooks/github", *self.signed(commit, delivery, **more))

    def signed(self, commit: str, delivery: str = "", **more: Any) -> tuple[bytes, dict[str, str]]:
        """The webhook's body and headers."""
        payload = {
            "ref": "refs/heads/main", "before": "0" * 40, "after": commit, "deleted": False, "forced": False,
            "repository": {"clone_url": self.url}, "pusher": {"name": "ann"}, "head_commit": {"message": "Hi"},
            **more,
        }  # fmt: skip
        body = json.dumps(payload).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        return body, {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
            "X-Hub-Signature-256": f"sha256={signature}",
        }

    def live_at(self, commit: str) -> bool:
        return bool(self.service.environments(self.name)["live"]["commit"] == commit)
