"""The real server on a fake service: ``python -m tests.web.serve DATA LISTEN PACE [LIMITS]``. ``LIMITS``: "real", or
"short", which keeps the tests of slow clients fast. SIGUSR1 takes the store down, or brings it back."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from pathlib import Path

from pipeline.config.settings import Secret, Settings
from pipeline.lib import logs
from tests.support.fake_service import FakeService
from webhooks.app import create_app
from webhooks.server import Limits, Server
from webhooks.site import Site


def make_site(data: Path, listen: str, pace: float) -> Site:
    lock = threading.Lock()

    def ensure(name: str) -> Path:
        path = data / "repositories" / f"{name}.git"
        with lock:
            if not path.exists():
                subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
        return path

    fake = FakeService(pace)
    signal.signal(signal.SIGUSR1, lambda *_: setattr(fake, "down", not fake.down))
    settings = Settings(data=data, listen=listen, github_secret=Secret("new secret"), push_limit=64 << 20)
    return Site(create_app(fake, settings, ensure))


if __name__ == "__main__":
    logs.configure(logging.INFO)
    short = Limits(head_seconds=2, idle_seconds=2, body_seconds=2, grace=2)
    limits = Limits() if "real" in sys.argv else short
    folder, address, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    Server(address, lambda: make_site(folder, address, seconds), limits).run()
