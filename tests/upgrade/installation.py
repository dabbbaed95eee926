"""The installation that fixtures are recorded from and that the tests bring back, always at the same place.

What Pushlive writes names its instance, ports, addresses and folders, and a container's ``pushlive.spec`` is a hash
over them: so they are fixed, and one session at a time uses them.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
from pipeline.config import settings as settings_module
from pipeline.config.settings import Settings
from tests.conftest import sweep
from tests.support.service import Done, Service

INSTANCE = "recorded"
FOLDER = Path("/tmp/pushlive-recorded")
LOCK = Path("/tmp/pushlive-recorded.lock")
FIRST = 19200  # below what other tests and the kernel deal
RECEIVER = FIRST + 39  # nobody listens there while a fixture is recorded
FIXED = {
    "PUSHLIVE_DATA": str(FOLDER / "data"),
    "PUSHLIVE_CONFIG": str(FOLDER / "pipelines.yaml"),
    "PUSHLIVE_INSTANCE": INSTANCE,
    "PUSHLIVE_LISTEN": f"127.0.0.1:{FIRST + 32}",
    "PUSHLIVE_PROXY_HTTP": f"127.0.0.1:{FIRST + 33}",
    "PUSHLIVE_PREVIEW_PORT": str(FIRST + 34),
    "PUSHLIVE_PORTS": f"{FIRST}-{FIRST + 31}",
    "PUSHLIVE_SUBNETS": "10.220.0.0/21",
    "PUSHLIVE_WORKERS": "1",  # so that the second push finds nobody who waits for it
    "PUSHLIVE_FAILED_FOR": "3650d",  # nothing that was recorded ends by itself before it is looked at
}
SETTINGS: Settings = settings_module.load(FIXED)


class Installation(Service):
    """A service at the fixed place. ``checkout``: whose code; ``python``: what runs it."""

    def __init__(self, client: docker.DockerClient, checkout: Path, python: str, **environ: str) -> None:
        self.program = (python, "-m", "pipeline.cli")
        config = (FOLDER / "pipelines.yaml").read_text()
        super().__init__(FOLDER, client.api, config, {}, (*self.program, "up"))
        self.instance, self.listen = INSTANCE, FIXED["PUSHLIVE_LISTEN"]
        self.proxy = FIXED["PUSHLIVE_PROXY_HTTP"]
        self.ports = range(FIRST, FIRST + 32)
        self.environ |= FIXED | {"PYTHONPATH": str(checkout)} | environ

    def pushlive(
        self, *arguments: str, code: int | None = 0, cwd: Path | None = None, text: str = "", **environ: str
    ) -> Done:
        """``text``: what is on its standard input."""
        done = subprocess.run(
            [*self.program, *arguments], env={**self.environ, **environ}, cwd=cwd or self.folder, text=True,
            input=text, capture_output=True, timeout=120,
        )  # fmt: skip
        found = Done(done.returncode, done.stdout, done.stderr)
        assert code in (None, found.code), f"{arguments} ended with {found.code}:\n{found.text}"
        return found


@contextmanager
def at_the_fixed_place(client: docker.DockerClient) -> Iterator[Path]:
    """The empty folder, for this process alone; what carries the instance's name is removed before and after."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            _clear(client)
            FOLDER.mkdir(mode=0o700)
            yield FOLDER
        finally:
            _clear(client)


def _clear(client: docker.DockerClient) -> None:
    sweep(client, INSTANCE)
    for image in client.api.images(name=f"{INSTANCE}/*"):
        with suppress(docker.errors.APIError):
            client.api.remove_image(image["Id"], force=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
