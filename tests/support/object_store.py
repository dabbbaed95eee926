"""A real object store for the tests: versitygw, which checks signatures and keeps objects as files in a folder.

``python -m tests.support.object_store`` builds its program once: a minute and a half on an idle machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from tests.support.go_programs import built
from tests.support.ports import free_port
from tests.support.waiting import until

VERSION = "v1.8.0"
KEY, SECRET = "pushlive-tests", "a secret of the tests"


def program() -> Path:
    """Its path. Raises RuntimeError if it cannot be built."""
    return built("versitygw", VERSION, "github.com/versity/versitygw/cmd/versitygw")


@dataclass
class ObjectStore:
    """``folder``: has a folder for each bucket, and in it a file for each object."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The service's variables for it."""
        return {
            "PUSHLIVE_S3_ENDPOINT": self.url,
            "PUSHLIVE_S3_REGION": "us-east-1",
            "PUSHLIVE_S3_ACCESS_KEY": KEY,
            "PUSHLIVE_S3_SECRET_KEY": SECRET,
        }

    def objects(self, bucket: str) -> list[str]:
        """The names of whole objects."""
        root = self.folder / bucket
        files = (str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
        return sorted(name for name in files if not name.startswith("."))


@contextmanager
def running(*buckets: str) -> Iterator[ObjectStore]:
    """One with these buckets."""
    binary = program()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "buckets"
        for one in buckets:
            (folder / one).mkdir(parents=True)
        port = free_port()
        environment = {**os.environ, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
        command = [binary, "--port", f"127.0.0.1:{port}", "--quiet", "--health", "/health", "posix", folder]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            until(lambda: _answers(port) or process.poll() is not None, 20)
            if process.poll() is not None:
                raise RuntimeError(f"versitygw ended with {process.returncode}")
            yield ObjectStore(port, folder, process)
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        return (
            urllib3.request("GET", f"http://127.0.0.1:{port}/health", retries=False, timeout=5).status == 200
        )
    except urllib3.exceptions.HTTPError:
        return False


if __name__ == "__main__":
    sys.stdout.write(f"{program()}\n")
