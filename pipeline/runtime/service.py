"""The service on one machine: `pushlive up` (store, proxy, web and workers), or one of its processes alone."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pipeline.config import settings as settings_module
from pipeline.config.address.public import own_hosts
from pipeline.config.place.repository import ConfigRepository, hosted
from pipeline.config.place.repository import place as place_of
from pipeline.config.settings import Settings
from pipeline.errors import ConfigError, PushliveError, StoreUnavailable, TryAgain
from pipeline.lib.processes import SUPERVISED
from pipeline.lib.retry import poll
from pipeline.maintenance.doctor import replaced_code
from pipeline.runtime import bootstrap, lock
from pipeline.runtime.embedded_store import EmbeddedStore
from pipeline.runtime.first_token import first_token
from pipeline.runtime.running_code import ARGUMENT, running_code
from pipeline.runtime.supervisor import SpawnedChild, Supervisor, stop
from pipeline.store import Store
from pipeline.store.configurations import Configurations
from pipeline.store.origin import Beside

READY = 30.0  # seconds until the web process has to answer, and the store to accept writes
WEB_GRACE = 5.0  # seconds between SIGTERM and SIGKILL
WORKER_GRACE = 30.0
STOP = WEB_GRACE + WORKER_GRACE + 20.0  # seconds until the whole service has stopped


def load_settings(config: str = "") -> Settings:
    """The settings; ``config``: another pipelines.yaml. Child processes get the same paths by the environment."""
    settings = settings_module.load()
    try:
        place = place_of(config) if config else settings.config
    except ValueError as error:
        raise ConfigError(f"--config: {error}.") from error
    os.environ["PUSHLIVE_CONFIG"] = str(place.absolute() if isinstance(place, Path) else place)
    os.environ["PUSHLIVE_DATA"] = str(settings.data.absolute())
    return settings_module.load()


class Service:
    """The whole service. ``say`` prints a line; ``workers`` is the module that runs the workers."""

    def __init__(self, settings: Settings, say: Callable[[str], None], workers: str = "workers") -> None:
        self._settings = settings
        self._say = say
        self._store = None if settings.redis_url else EmbeddedStore(settings.data)
        self._journal = bootstrap.process_of_service(settings, "up")
        self._supervisor = Supervisor(lambda text: say(f"! {text}"), journal=self._journal)
        self._web = SpawnedChild("web", _module("webhooks"))
        self._workers = SpawnedChild("workers", _module(workers))
        self._reported = ""
        self._beside: Beside | None = None  # what is there beside a store without records

    def run(self) -> None:
        """Until SIGINT or SIGTERM. Raises RequestError (it runs already) and what keeps it from starting."""
        held = lock.take(self._settings.data)
        self._supervisor.catch_signals()
        self._journal.write("service_started")
        try:
            self._start()
            self._supervisor.run(self._tend_store)
            self._say("Stopping web, workers and store. The applications keep serving.")
        finally:
            self._end()
            held.close()

    def _start(self) -> None:
        bootstrap.refuse_taken(self._settings.listen)
        if self._store:
            self._store.start()
        store = bootstrap.store(self._settings)
        store.facts.remove(replaced_code.FACT)  # of the service before this one
        self._take_up_config(store)
        bootstrap.refuse_second(self._settings)  # before what it runs is taken for the rest of a lost store
        self._recognise()
        token = first_token(self._settings, store)
        if not self._beside:  # else the proxy stays as it is
            for line in bootstrap.ensure_proxy(self._settings):
                self._say(line)
        self._cap_builds()
        if self._supervisor.stopping:
            return
        self._supervisor.start(self._web)
        self._supervisor.start(self._workers)
        self._wait_for_web()
        if not self._supervisor.stopping:
            self._greet(store, token)

    def _take_up_config(self, store: Store) -> None:
        configs = Configurations(store, self._settings.config)
        if isinstance(configs.place, ConfigRepository) and not (configs.place.url and configs.in_force()):
            self._take_from_repository(configs)  # later the keeper looks whether one elsewhere has changed
        configs.current()  # raises if there is none and never was
        problem = configs.problem()
        if problem:
            self._say(f"! {problem}\n! The last good configuration stays in use until this is corrected.")

    def _take_from_repository(self, configs: Configurations) -> None:
        """Before anything asks what runs where."""
        try:
            bootstrap.taking(self._settings).take(again=True)
        except PushliveError as error:
            configs.trouble(str(error))

    def _recognise(self) -> None:
        """Looks whether an empty store is that of a new installation."""
        self._beside = bootstrap.recognise(self._settings)
        if self._beside:
            self._say(f"! {self._beside.error()}")

    def _cap_builds(self) -> None:
        try:
            why_not = bootstrap.builder(self._settings).cap_builds()
        except TryAgain as error:  # no environment needs this Engine, or ensure_proxy would have raised
            why_not = f"{error} Builds fail until then; what is live keeps serving."
        if why_not:
            self._say(f"! {why_not}")

    def _wait_for_web(self) -> None:
        if not poll(lambda: self._supervisor.stopping or self._web_answers(), 0.05, timeout=READY):
            raise ConfigError(
                f"the web process does not answer on {self._settings.listen}.", advice="See its output above."
            )

    def _web_answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self._settings.listen}/healthz", timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            if self._beside:  # that is what it answers then
                return True
            self._supervisor.tend()
            return False
        except (urllib.error.URLError, OSError):
            self._supervisor.tend()
            return False
        return True

    def _greet(self, store: Store, token: Path) -> None:
        _, config = Configurations(store, self._settings.config).current()
        self._say(f"Pushlive is up: {self._settings.url}  (token: {token})")
        if self._settings.listen != Settings.model_fields["listen"].default:
            url = f"http://{_reached(self._settings.listen)}"
            self._say(f"  for the command line in other shells: export PUSHLIVE_URL={url}")
        if own_hosts(self._settings):
            self._say(
                f"  on this machine also: http://{_reached(self._settings.listen)}. `pushlive doctor` asks both."
            )
        if name := hosted(self._settings.config):
            branch = getattr(self._settings.config, "branch", "")
            self._say(f"  configuration: git push {self._settings.url}/git/{name}.git {branch}")
        for name in config.pipelines:
            repository = config.repository_of(name)
            if repository:
                branch = config.pipelines[name].source.branch
                self._say(f"  {name}: git push {self._settings.url}/git/{repository}.git {branch}")
        self._say("Ctrl-C stops the service; the applications and their proxy keep serving.")

    def _tend_store(self) -> None:
        try:
            if self._store and self._store.restore():
                self._restarted_store()
            self._reported = ""
        except PushliveError as error:  # meanwhile pushes are answered 503, and what is live keeps serving
            if str(error) != self._reported:
                self._say(f"! {error} Trying again.")
            self._reported = str(error)

    def _restarted_store(self) -> None:
        self._journal.write("process_ended", "it was restarted", level="error", name="store")
        self._say("! the embedded Valkey had ended; it was restarted.")
        if self._beside is None:
            self._recognise()

    def _end(self) -> None:
        self._journal.write("service_stopping")
        stop([self._web], WEB_GRACE)  # first, so that it accepts no more pushes
        stop([self._workers], WORKER_GRACE)
        if self._store:
            self._store.stop()
        self._journal.write("service_stopped")


def _reached(listen: str) -> str:
    """The address at which this machine reaches what listens there."""
    host, _, port = listen.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]", "*") else listen  # noqa: S104 - compared, not bound


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name, SUPERVISED, f"{ARGUMENT}{running_code().digest}"]


def become_web(settings: Settings) -> NoReturn:
    """Replaces this process by the web process, once the store, which may be starting beside it, accepts writes.
    Makes the first token, as ``up`` does; the workers look after the proxy. Raises StoreUnavailable."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = bootstrap.store(settings)
    if not poll(store.healthy, 0.2, timeout=READY):
        raise StoreUnavailable(
            f"the store has not accepted writes for {READY:.0f} s.",
            advice="See its own output, and check PUSHLIVE_REDIS_URL.",
        )
    first_token(settings, store)
    _become("webhooks")


def become_workers() -> NoReturn:
    """Replaces this process by the workers, with keeper and messenger."""
    _become("workers")


def _become(module: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, "-m", module])  # noqa: S606 - the same interpreter, fixed arguments
