"""A Docker daemon of one's own, beside the machine's: it may be killed, and its disk is small. Needs root."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.support.ports import daemon_subnet
from tests.support.waiting import until

DISK = "400m"  # of memory, at most: what the daemon has for images and containers; small, so that it can be filled
IMAGES = ("busybox:1.36", "haproxy:2.6")


class OwnEngine:
    """Use as a context manager. ``host`` is for DOCKER_HOST; ``subnets`` are addresses that no other daemon deals.
    ``port``: of a loopback TCP address that it listens on as well, as ``tcp``. ``disk``: its size, as for tmpfs."""

    def __init__(self, port: int = 0, disk: str = DISK) -> None:
        self._disk = disk
        self.tcp = f"tcp://127.0.0.1:{port}" if port else ""
        self._folder = Path(tempfile.mkdtemp(prefix="pl-engine-"))
        self._bridge = f"plf{secrets.token_hex(3)}"
        self._address, self.subnets = daemon_subnet()
        self.host = f"unix://{self._folder}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OwnEngine:
        try:
            self._link("add", "name", self._bridge, "type", "bridge")
            subprocess.run(["ip", "addr", "add", self._address, "dev", self._bridge], check=True)
            self._link("set", self._bridge, "up")
            self._data.mkdir()
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={self._disk}", "tmpfs", self._data], check=True
            )
            self.start()
            self._load_images()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGTERM)
        subprocess.run(["umount", "-l", self._data], capture_output=True)
        for mounted in sorted(self._folder.glob("exec/netns/*")):
            subprocess.run(["umount", "-l", mounted], capture_output=True)
        subprocess.run(["ip", "link", "del", self._bridge], capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Returns once it answers."""
        for file in (self._folder / "docker.pid", self._folder / "exec" / "containerd" / "containerd.pid"):
            file.unlink(missing_ok=True)  # one that was killed left it, and the next would wait for its owner
        command = [
            "dockerd", "--data-root", self._data, "--exec-root", self._folder / "exec", "-H", self.host,
            "--pidfile", self._folder / "docker.pid", "--bridge", self._bridge, "--iptables=false",
            "--ip-masq=false", *(["-H", self.tcp] if self.tcp else []),
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(lambda: not self._docker("version").returncode, 60)

    def end(self, number: signal.Signals) -> None:
        """SIGTERM ends its containers, too; SIGKILL leaves them to the next one. Returns once it is gone."""
        if self._process is None:
            return
        containerd = self._containerd()
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        self._process.wait(60)
        end = time.monotonic() + 20
        while containerd and Path(f"/proc/{containerd}/fd").exists() and time.monotonic() < end:
            with suppress(OSError):
                if not os.listdir(f"/proc/{containerd}/fd"):
                    break

    def restart(self, number: signal.Signals) -> None:
        self.end(number)
        self.start()

    def _containerd(self) -> int:
        try:
            return int((self._folder / "exec" / "containerd" / "containerd.pid").read_text())
        except (OSError, ValueError):
            return 0

    def _load_images(self) -> None:
        with subprocess.Popen(["docker", "save", *IMAGES], stdout=subprocess.PIPE) as saved:
            load = ["docker", "-H", self.host, "load"]
            loaded = subprocess.run(load, stdin=saved.stdout, capture_output=True)
        assert saved.returncode == 0, "docker save failed: scripts/images makes what is missing"
        assert loaded.returncode == 0, loaded.stderr

    def _docker(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["docker", "-H", self.host, *words], capture_output=True)

    def _link(self, *words: str) -> None:
        subprocess.run(["ip", "link", *words], check=True, capture_output=True)
