"""The real server on a fake service: ``python -m tests.web.serve DATA PORT PACE``. Used by test_server.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flask import Flask

from pipeline.config.settings import Secret, Settings
from tests.support.fake_service import FakeService
from webhooks.app import create_app
from webhooks.security import limits, slow_clients
from webhooks.server import Server


def make_app(data: Path, listen: str, pace: float) -> Flask:
    def ensure(name: str) -> Path:
        path = data / "repositories" / f"{name}.git"
        if not path.exists():
            subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
        return path

    settings = Settings(data=data, listen=listen, github_secret=Secret("new secret"), push_limit=64 << 20)
    return create_app(FakeService(pace), settings, ensure)


if __name__ == "__main__":
    slow_clients.HEAD_SECONDS = limits.BODY_SECONDS = 2.0  # keeps the tests of slow clients fast
    folder, address, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    Server(address, lambda: make_app(folder, address, seconds)).run()
