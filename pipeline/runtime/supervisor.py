"""``pushlive up``: store, proxy, web and workers under one process; and what ends them."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from argparse import Namespace
from pathlib import Path
from types import FrameType
from typing import IO

from pipeline.config import settings as settings_module
from pipeline.config.settings import Settings
from pipeline.errors import ConfigError, PushliveError, RequestError, StoreUnavailable, TryAgain
from pipeline.lib.processes import RESTORING, SUPERVISED
from pipeline.lib.retry import poll
from pipeline.lib.units import show_size
from pipeline.runtime import bootstrap
from pipeline.runtime.embedded_store import EmbeddedStore
from pipeline.store import Store
from pipeline.store.configurations import Configurations

READY = 30.0  # seconds until the web side has to answer
WEB_STOP = 5.0
WORKER_STOP = 30.0
_FAST = 2.0  # seconds: a child that ends sooner than this is started again more slowly


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def _token(settings: Settings, store: Store) -> Path:
    """The first maintainer's token, written where the command line finds it."""
    file = settings.data / "token"
    found = store.tokens.find(file.read_text().strip()) if file.exists() else None
    if found and not found.expired(time.time()):
        return file
    text = store.tokens.create("first", "maintainer", replace=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(text + "\n")
    return file


class Child:
    """One process of the service, in a session of its own so that Ctrl-C reaches only the supervisor."""

    def __init__(self, name: str, module: str) -> None:
        self.name, self._module = name, module
        self._began = 0.0
        self._again = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", self._module, SUPERVISED], stdin=subprocess.DEVNULL, start_new_session=True
        )

    def tend(self) -> None:
        """Starts it again where it ended; more slowly when it ends at once."""
        if self.process is None or self.process.poll() is None:
            return
        if not self._again:
            quick = time.monotonic() - self._began < _FAST
            self._again = time.monotonic() + (2.0 if quick else 0.0)
            say(f"! the {self.name} process ended with {self.process.returncode} and is started again")
        if time.monotonic() >= self._again:
            self._again = 0.0
            self.start()

    def stop(self, patience: float) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Service:
    """The whole service on this machine."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = None if settings.redis_url else EmbeddedStore(settings.data)
        self._web = Child("web", "webhooks")
        self._workers = Child("workers", "workers")
        self._stop = False
        self._said = ""

    def run(self) -> int:
        lock = self._lock()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            while not self._stop:
                self._tend()
                time.sleep(0.2)
            say("Ending: web, workers, store. The applications go on serving.")
        finally:
            self._end()
            lock.close()
        return 0

    def _lock(self) -> IO[str]:
        self._settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (self._settings.data / RESTORING).exists():
            raise RequestError(
                f"a restore into {self._settings.data} is at work, or was cut off.",
                advice="Wait for it; or take the folder away and restore again.",
            )
        lock = (self._settings.data / "up.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RequestError(
                f"the service is running already with the data folder {self._settings.data}.",
                advice="Use it, end it with Ctrl-C or `pushlive down`, or set PUSHLIVE_DATA to another folder.",
            ) from error
        (self._settings.data / "up.pid").write_text(str(os.getpid()))
        return lock

    def _start(self) -> None:
        bootstrap.refuse_taken(self._settings.listen)
        if self._store:
            self._store.start()
        store = bootstrap.store(self._settings)
        self._take_up_config(store)
        token = _token(self._settings, store)
        bootstrap.ensure_proxy(self._settings)
        self._cap_builds()
        if self._stop:
            return
        self._web.start()
        self._workers.start()
        self._wait_for_web()
        if not self._stop:
            self._greet(store, token)

    def _take_up_config(self, store: Store) -> None:
        configs = Configurations(store, self._settings.config)
        configs.current()  # raises where there is none and never was
        problem = configs.problem()
        if problem:
            say(f"! {problem}\n! The last good configuration stays in force until it is corrected.")

    def _cap_builds(self) -> None:
        try:
            why_not = bootstrap.builder(self._settings).cap_builds()
        except (
            TryAgain
        ) as error:  # where environments need the Engine, too, the proxy has asked for it already
            why_not = f"{error} Until then nothing can be built; what is live serves on."
        if why_not:
            say(f"! {why_not}")

    def _web_answers(self) -> bool:
        """True also once the service is told to end."""
        if self._stop:
            return True
        try:
            urllib.request.urlopen(f"http://{self._settings.listen}/healthz", timeout=2).close()
        except (urllib.error.URLError, OSError):
            self._web.tend()
            return False
        return True

    def _wait_for_web(self) -> None:
        if not poll(self._web_answers, 0.05, timeout=READY):
            raise ConfigError(
                f"the web side does not answer on {self._settings.listen}.", advice="See its messages above."
            )

    def _greet(self, store: Store, token: Path) -> None:
        _, config = Configurations(store, self._settings.config).current()
        say(f"Pushlive is up: {self._settings.url}  (token: {token})")
        for name in config.pipelines:
            repository = config.repository_of(name)
            if repository:
                branch = config.pipelines[name].source.branch
                say(f"  {name}: git push {self._settings.url}/git/{repository}.git {branch}")
        say("Ctrl-C ends the service; the applications and their proxy go on serving.")

    def _tend(self) -> None:
        self._tend_store()
        self._web.tend()
        self._workers.tend()

    def _tend_store(self) -> None:
        try:
            if self._store and self._store.restore():
                say("! the embedded Valkey had ended and was started again; nothing acknowledged is lost")
            self._said = ""
        except PushliveError as error:  # pushes are answered 503 meanwhile, what is live serves on
            if str(error) != self._said:
                say(f"! {error} It is tried again.")
            self._said = str(error)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stop = True

    def _end(self) -> None:
        self._web.stop(WEB_STOP)
        self._workers.stop(WORKER_STOP)
        if self._store:
            self._store.stop()


# ── what the command line calls; each returns an exit code ───────────────────


def _settings(config: str | None = None) -> Settings:
    settings = settings_module.load()
    file = Path(config or settings.config).absolute()
    os.environ["PUSHLIVE_CONFIG"] = str(file)  # the children read it, too, wherever they stand
    os.environ["PUSHLIVE_DATA"] = str(settings.data.absolute())
    return settings_module.load()


def up(args: Namespace) -> int:
    return Service(_settings(getattr(args, "config", None))).run()


def web() -> int:
    """The web side alone. It makes the first token, as ``up`` does; the workers look after the proxy.

    Waits for the store, which may have been started beside it; raises StoreUnavailable where it does not come.
    """
    settings = _settings()
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = bootstrap.store(settings)
    _await(store)
    _token(settings, store)
    return _become("webhooks")


def _await(store: Store) -> None:
    if not poll(store.healthy, 0.2, timeout=READY):
        raise StoreUnavailable(
            f"the store takes no writes, {READY:.0f} s long.",
            advice="See its own output, and PUSHLIVE_REDIS_URL.",
        )


def worker() -> int:
    """The workers and the keeper alone."""
    _settings()
    return _become("workers")


def _become(module: str) -> int:
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606 - the same interpreter, fixed arguments


def down(everything: bool) -> int:
    """Ends a service that runs on this machine; with ``everything`` also the applications and their proxy."""
    settings = _settings()
    _end_service(settings)
    if everything:
        _remove_everything(settings)
    return 0


def backup(file: str) -> int:
    """Everything that is kept, into one file; the service may run."""
    from pipeline.runtime.backup import backup as save

    told = save(_settings(), Path(file).absolute())
    say(f"{told.file}: {told.files} files, {show_size(told.size)}.")
    say(
        "It holds tokens, keys and secrets: whoever reads it can do what this service can. Keep it accordingly."
    )
    return 0


def restore(file: str) -> int:
    """An empty data folder filled from such a file."""
    from pipeline.runtime.backup import restore as take_up

    settings = _settings()
    if _locked(settings):
        raise RequestError(
            f"the service is running with the data folder {settings.data}.", advice="`pushlive down` first."
        )
    told = take_up(settings, Path(file).absolute())
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(told.made))
    say(f"{settings.data} is as it was at {made} UTC ({told.files} files, {show_size(told.size)}).")
    for note in told.notes:
        say(note + ".")
    say("`pushlive up` starts it; `pushlive status` then says which images are missing.")
    return 0


def _end_service(settings: Settings) -> None:
    pid_file = settings.data / "up.pid"
    pid = int(pid_file.read_text()) if pid_file.exists() else 0
    if not pid or not _locked(settings):
        say("no service is running here.")
        return
    os.kill(pid, signal.SIGTERM)
    if not poll(lambda: not _locked(settings), 0.05, timeout=WEB_STOP + WORKER_STOP + 20):
        raise RequestError(
            f"the service (pid {pid}) does not end.", advice=f"See what it does, then kill {pid}."
        )
    say("the service has ended.")


def _locked(settings: Settings) -> bool:
    try:
        with (settings.data / "up.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _remove_everything(settings: Settings) -> None:
    for line in bootstrap.remove_everything(settings):
        say(line)
    say(f"Data, repositories and images are kept in {settings.data}")
