"""The only place where services and adapters are made and put together: once for each process and ``Settings``.

Adapters are imported when they are first needed, so that a command that needs none starts at once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters.http import otlp
from pipeline.adapters.queue import RqQueue
from pipeline.config.address.public import is_encrypted, own_hosts
from pipeline.config.engines import (
    DOCKER,
    KUBERNETES,
    LOCAL,
    REMOTE_DOCKER,
    EngineKind,
    Where,
    kind_of,
    where_of,
)
from pipeline.config.https.policy import HostPolicy, policies
from pipeline.config.models import Config
from pipeline.config.place.repository import ConfigRepository
from pipeline.config.settings import Settings
from pipeline.deploy import engine_addresses
from pipeline.deploy.configuring.taking import Taking
from pipeline.deploy.data.moves import VolumeMoves
from pipeline.deploy.longest_drain import longest_drain
from pipeline.deploy.parity.looking import Looked, Looking
from pipeline.deploy.runner import Runner
from pipeline.deploy.services import Services, services_on
from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.audit_chain import Who
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.events import Said
from pipeline.domain.parity.by_hand import ByHand
from pipeline.errors import (
    ConfigError,
    EngineFailed,
    PushliveError,
    RequestError,
    StoreUnavailable,
    TimedOut,
    TryAgain,
)
from pipeline.lib import logs
from pipeline.lib.journal import files as journal_files
from pipeline.lib.journal.files import JournalFile
from pipeline.lib.journal.stream import JournalStream
from pipeline.lib.journal.writer import Journal, JournalHandler
from pipeline.lib.sockets import listening
from pipeline.maintenance.doctor import demands, replaced_code
from pipeline.maintenance.fix import fix
from pipeline.maintenance.gc import gc
from pipeline.maintenance.jobs import Jobs
from pipeline.maintenance.loop import Keeper
from pipeline.maintenance.requeue import Requeue
from pipeline.maintenance.sleep.waker import Waker
from pipeline.notify.delivery import Delivery
from pipeline.notify.traces import TraceDelivery
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import SystemClock
from pipeline.ports.engine import Engine, engine_of
from pipeline.ports.inspection import Inspection
from pipeline.runtime import embedded_store, lock, traces
from pipeline.runtime.first_token import first_token
from pipeline.runtime.running_code import running_code
from pipeline.service.accessories import Accessories
from pipeline.service.app.backups import Backups
from pipeline.service.app.evidence import Evidence
from pipeline.service.baking import Baking
from pipeline.service.commands import Commands
from pipeline.service.sleep.sleeping import Sleeping
from pipeline.service.tools import Tools
from pipeline.service.visitors.maintenance import MaintenanceCommands
from pipeline.store import Store
from pipeline.store.origin import Beside

if TYPE_CHECKING:
    from pipeline.adapters.buildkit.builder import DockerBuilder
    from pipeline.adapters.kubernetes.api.credentials import CredentialPlugins
    from pipeline.adapters.kubernetes.api.kube_api import KubeApi
    from pipeline.adapters.router import EngineRouter


def redis_url(settings: Settings) -> str:
    return settings.redis_url or embedded_store.url(settings.data)


@cache
def store(settings: Settings) -> Store:
    return Store(redis_url(settings), settings.instance, journal=journal(settings), traced=otlp.wanted())


@cache
def journal(settings: Settings) -> Journal:
    """It writes once ``process_of_service`` was called: a command of the command line has none."""
    if settings.journal == "off":
        return Journal()
    target = (
        JournalStream() if settings.journal == "stdout" else JournalFile(journal_files.current(settings.data))
    )
    return Journal(target, instance=settings.instance, version=version("pushlive"))


def process_of_service(settings: Settings, name: str) -> Journal:
    """Says at a process's start that it is one of the service, by that name. What it logs for people is in its journal
    as well."""
    found = journal(settings)
    found.named(name)
    logs.also(JournalHandler(found))
    return found


@cache
def services(settings: Settings) -> Services:
    return services_on(store(settings), settings)


@cache
def _queue(settings: Settings) -> RqQueue:
    return RqQueue(redis_url(settings), settings.instance)


@cache
def proxy(settings: Settings) -> Any:
    from pipeline.adapters.docker_api.client import client
    from pipeline.adapters.haproxy.proxy import Proxy

    return Proxy(client, settings, SystemClock())


@cache
def adapters(settings: Settings) -> Adapters:
    """The real ones: git, the machine's Docker Engine with HAProxy, Kubernetes clusters."""
    from pipeline.adapters.copies import AnyCopies, CommandCopies
    from pipeline.adapters.git.source import GitSource
    from pipeline.adapters.http.prometheus import Prometheus
    from pipeline.adapters.s3.copies import S3Copies

    clock = SystemClock()
    source = GitSource(
        repositories(settings), settings.data / "mirrors", clock, settings.git_allow, settings.push_limit,
        settings.git_fsck_ignore,
    )  # fmt: skip
    copies = AnyCopies(CommandCopies(), S3Copies(settings))
    return Adapters(
        source, builder(settings), _engines(settings), clock, _queue(settings), copies, Prometheus()
    )


@cache
def _engines(settings: Settings) -> EngineRouter:
    from pipeline.adapters.router import EngineRouter

    return EngineRouter(lambda key: _engine(settings, where_of(key)), lambda: sorted(_in_use(settings)))


def _engine(settings: Settings, where: Where) -> Engine:
    return _ENGINES[where.kind](settings, where)


def _local_docker(settings: Settings, _: Where) -> Engine:
    from pipeline.adapters.docker.engine import DockerEngine
    from pipeline.adapters.docker_api.client import client
    from pipeline.adapters.http.probe import ProxyProbe

    probe = ProxyProbe()
    return engine_of(DockerEngine(client, proxy(settings), settings, probe, SystemClock()), probe)


def _remote_docker(settings: Settings, where: Where) -> Engine:
    from pipeline.adapters.docker import remote

    return engine_of(*remote.pair(where, settings, SystemClock()))


def _kubernetes(settings: Settings, where: Where) -> Engine:
    from pipeline.adapters.kubernetes.engine import KubeEngine
    from pipeline.adapters.kubernetes.probe import KubeProbe

    api = _kube_api(where.kubernetes or "", where.namespace)
    images = settings.volume_image, settings.activator_image
    engine = KubeEngine(api, settings.instance, where.key, SystemClock(), *images)
    return engine_of(engine, KubeProbe(api))


_ENGINES: dict[EngineKind, Callable[[Settings, Where], Engine]] = {
    LOCAL: _local_docker,
    REMOTE_DOCKER: _remote_docker,
    KUBERNETES: _kubernetes,
}


@cache
def _kube_api(context: str, namespace: str) -> KubeApi:
    from pipeline.adapters.kubernetes.api.client import connect
    from pipeline.adapters.kubernetes.api.kube_api import KubeApi

    return KubeApi(lambda: connect(context, namespace, _credential_plugins()))


@cache
def _credential_plugins() -> CredentialPlugins:
    """One for this process: what a program printed serves every namespace."""
    from pipeline.adapters.kubernetes.api.credentials import CredentialPlugins

    return CredentialPlugins()


def inspection(settings: Settings) -> Inspection:
    from pipeline.adapters.inspection import EngineInspection

    return EngineInspection(_kube_api, repositories(settings), lambda key: _proxy_of(settings, key), settings)


def _with_proxy(settings: Settings) -> frozenset[str]:
    """The engines in use, and this machine's if its proxy serves the service itself."""
    return _in_use(settings) | ({DOCKER} if own_hosts(settings) else frozenset())


def _in_use(settings: Settings) -> frozenset[str]:
    try:
        _, config = services(settings).configurations.current()
    except ConfigError:
        return engine_addresses.in_use(store(settings), None)
    except StoreUnavailable:  # `down --all` asks when the service has ended
        return frozenset({DOCKER, *_configured_in(settings)})
    return engine_addresses.in_use(store(settings), config)


def _configured_in(settings: Settings) -> frozenset[str]:
    """The engines that the configuration names, without the store; nothing if it cannot be read."""
    if isinstance(settings.config, Path):
        return engine_addresses.configured_in(settings.config)
    try:
        found = taking(settings)
        return engine_addresses.named_by(found.text_at(found.head()))
    except PushliveError:
        return frozenset()


@cache
def builder(settings: Settings) -> DockerBuilder:
    from pipeline.adapters.buildkit.builder import DockerBuilder
    from pipeline.adapters.docker_api.client import client

    return DockerBuilder(
        client,
        SystemClock(),
        instance=settings.instance,
        disk_free=settings.disk_free,
        memory=settings.build_memory,
        cpu=settings.build_cpu,
    )


def refuse_taken(listen: str) -> None:
    """Raises ConfigError if another program already listens there."""
    from pipeline.adapters.haproxy.container import in_use

    if in_use(listen):
        raise ConfigError(
            f"{listen} is already in use by another program (`ss -ltnp` names it).",
            advice="Stop that program, or set PUSHLIVE_LISTEN to another address.",
        )


def socket_of_proxy(settings: Settings) -> socket.socket:
    """On which the proxy connects to the web process. Raises EngineFailed if its folder cannot be written."""
    from pipeline.adapters.haproxy.files import drops_to, unwritable
    from pipeline.adapters.haproxy.rules import service

    folder = settings.data / "proxy"
    try:
        return listening(folder, service.SOCKET, drops_to(settings))
    except OSError as error:
        raise unwritable(folder, error) from error


def ensure_proxy(settings: Settings) -> list[str]:
    """Starts the proxy if any environment or the service's own address needs it, and replaces one with another
    version's configuration; what there is to report. One that cannot be replaced goes on as before."""
    if DOCKER not in _with_proxy(settings):
        return []
    try:
        proxy(settings).ensure()
    except PushliveError as error:
        if DOCKER in _in_use(settings):
            raise
        return [f"! {error} Until then the service answers on {settings.listen} alone."]
    try:
        drain = longest_drain(store(settings), DOCKER)
        return [f"{line[:1].upper()}{line[1:]}." for line in proxy(settings).renew(drain)]
    except (EngineFailed, TryAgain) as error:
        return [f"! {error}"]


def remove_everything(settings: Settings) -> Iterator[Said]:
    """Removes the applications on every engine in use, and the proxies; yields what was done and what could not be. An
    engine that does not answer is reported and skipped; raises TryAgain if it is the only one. Data, repositories and
    images stay."""
    engines, keys = _engines(settings), _with_proxy(settings)
    for key in sorted(keys):
        try:
            engine = engines.of(key)
            for accessory in tuple(engine.accessories.accessories()):
                yield _halted(engine, accessory)
            for ref in tuple(engine.slots.environments()):
                yield _removed(engine, ref)
            for volume in engine.volumes.volumes():
                yield Said(f"the volume {volume.ref} stays with its files: {volume.stored_as}")
            if (own := _proxy_of(settings, key)) is not None and own.stop():
                yield Said(f"removed the proxy{'' if key == DOCKER else f' of {key}'}")
        except TryAgain as error:
            if keys == {key}:
                raise
            # No environment may ever have been on this machine's Engine: it is asked in any case.
            needed = key != DOCKER or DOCKER in _configured_in(settings)
            yield Said(f"! {error} Nothing more was removed there.", left=needed)
        except PushliveError as error:
            yield Said(f"! {error}", left=True)


def _halted(engine: Engine, ref: AccessoryRef) -> Said:
    """Raises TryAgain."""
    try:
        engine.accessories.halt_accessory(ref)
    except TryAgain:
        raise
    except PushliveError as error:
        return Said(f"! the accessory {ref.id} was not stopped: {error}", left=True)
    # The store that knows who uses it has ended with the service.
    text = f"stopped the accessory {ref.id}; its data stay, and the next `pushlive up` starts it again if it is in use"
    return Said(text)


def _removed(engine: Engine, ref: SlotRef) -> Said:
    """Raises TryAgain."""
    name = f"{ref.pipeline}/{ref.environment}"
    try:
        rest = engine.slots.remove(ref)
    except TryAgain:
        raise
    except PushliveError as error:
        return Said(f"! {name} was not removed: {error}", left=True)
    return Said(f"removed {name}, but {rest}", left=True) if rest else Said(f"removed {name}")


@cache
def _proxy_of(settings: Settings, key: str) -> Any:
    """The proxy beside that engine; None for a cluster. It remembers since when it does not answer."""
    from pipeline.adapters.docker import remote

    where = where_of(key)
    if where.kind == LOCAL:
        return proxy(settings)
    return remote.proxy(where, settings, SystemClock()) if where.kind == REMOTE_DOCKER else None


def _keep_proxies(settings: Settings, *, by_hand: bool = False) -> Iterator[str]:
    """Repairs every proxy in use that does not answer, starts this machine's own if it is needed, and loads changed
    certificates; yields what there is to report. ``by_hand``: without waiting until one has been silent for long."""
    left: list[TryAgain] = []
    for key in sorted(_with_proxy(settings)):
        if (one := _proxy_of(settings, key)) is None:
            continue
        try:
            yield from one.repair(by_hand=by_hand)
            if key == DOCKER:
                one.ensure()
            yield from one.tend(partial(longest_drain, store(settings), key), by_hand=by_hand)
            loaded, refused = one.secure(_policies(settings, key))
            there = "" if key == DOCKER else f" by the proxy on {key}"
            yield from (f"certificate {name} was loaded{there}" for name in loaded)
            yield from refused
        except TryAgain as error:
            left.append(error)
    if left:
        raise left[0]


def _policies(settings: Settings, key: str) -> dict[str, HostPolicy]:
    """What the configuration in force says about the hosts on that engine, and that those of the service itself lead to
    HTTPS if its URL does."""
    own = own_hosts(settings) if key == DOCKER and is_encrypted(settings) else ()
    try:
        _, config = services(settings).configurations.current()
    except ConfigError:
        config = Config()
    return policies(config, key, own)


def repositories(settings: Settings) -> Path:
    return settings.data / "git"


def taking(settings: Settings) -> Taking:
    """What puts a configuration in a repository into force. Raises ConfigError if it is in a file."""
    from pipeline.adapters.git.hosted import HostedRepositories

    place, parts = settings.config, adapters(settings)
    if not isinstance(place, ConfigRepository):
        raise ConfigError(f"the configuration is in the file {place}, in no repository.")
    hosted = HostedRepositories(repositories(settings))
    return Taking(services(settings), place, parts.source, hosted, parts.clock)


class _Operations:
    """``service.operations.Operations`` on the real engines."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def doctor(self) -> list[dict[str, Any]]:
        from pipeline.maintenance.doctor.examine import examine

        settings = self._settings
        parts = (services(settings), adapters(settings), _with_proxy(settings), inspection(settings))
        return examine(*parts, self.replaced())

    def replaced(self) -> str:
        return running_code().replaced() or store(self._settings).facts.get(replaced_code.FACT)

    def gc(self, serving: frozenset[str] | None = None) -> tuple[Said, ...]:
        return gc(_jobs(self._settings), serving)

    def fix(self) -> tuple[str, ...]:
        return fix(_jobs(self._settings, by_hand=True))

    def adopt(self, by: Who) -> tuple[str, ...]:
        from pipeline.maintenance.adopt import adopt

        return adopt(_jobs(self._settings), by)

    def message(self, repository: str, commit: str) -> str:
        from pipeline.adapters.git.hosted import HostedRepositories

        try:
            return HostedRepositories(repositories(self._settings)).message(repository, commit)
        except (EngineFailed, TimedOut):
            return ""

    def head(self, repository: str, branch: str) -> str:
        from pipeline.adapters.git.hosted import HostedRepositories

        return HostedRepositories(repositories(self._settings)).heads(repository).get(branch, "")

    def output(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        return _engines(self._settings).of(ref.engine).slots.logs(ref, lines)

    def insist_on_commit(self, pipeline: str, commit: str) -> None:
        _, config = services(self._settings).configurations.current()
        source = config.pipelines[pipeline].source
        if not source.url:
            adapters(self._settings).source.commit(pipeline, source, commit)

    def scaled(self, ref: SlotRef) -> int:
        known = kind_of(ref.engine).scaled_by_others
        return _engines(self._settings).of(ref.engine).slots.scaled(ref) if known else 0

    def taking(self) -> Taking:
        return taking(self._settings)

    def volumes(self) -> VolumeMoves:
        return VolumeMoves(services(self._settings), adapters(self._settings))

    def look(self, config: Config, pipeline: str, environment: str) -> Looked:
        return Looking(services(self._settings), adapters(self._settings)).now(config, pipeline, environment)

    def compare(self, spec: SlotSpec) -> tuple[ByHand, ...]:
        return _engines(self._settings).of(spec.ref.engine).drift.drift(spec)


@cache
def commands(settings: Settings) -> Commands:
    parts = (services(settings), _queue(settings), SystemClock(), _Operations(settings))
    found = Commands(*parts)
    found.tools = Tools(*parts, _engines(settings))
    found.accessories = Accessories(*parts, _engines(settings))
    found.baking = Baking(*parts)
    found.backups = Backups(*parts, lambda: adapters(settings))
    found.evidence = Evidence(*parts, lambda: adapters(settings))
    found.sleeping = Sleeping(*parts, lambda: adapters(settings))
    found.maintenance = MaintenanceCommands(*parts, lambda: adapters(settings))
    return found


def runner(settings: Settings, stopping: Callable[[], bool]) -> Runner:
    accept = commands(settings).accept
    return Runner(services(settings), adapters(settings), accept, stopping, running_code().replaced)


def keeper(settings: Settings) -> Keeper:
    return Keeper(_jobs(settings), store(settings), SystemClock())


def refuse_second(settings: Settings) -> None:
    """Raises RequestError if another service on this machine runs this instance, with a data folder of its own."""
    mounted = _proxy_of(settings, DOCKER).mounted() if DOCKER in _in_use(settings) else ""
    other = Path(mounted).parent
    if mounted and other.resolve() != settings.data.resolve() and lock.held(other):
        raise RequestError(
            f"another service already runs the instance {settings.instance!r} on this machine, with the data folder "
            f"{other}.",
            advice=f"Use that one (PUSHLIVE_DATA={other}), or give this one a PUSHLIVE_INSTANCE and ports of its own.",
        )


def recognise(settings: Settings) -> Beside | None:
    """None if the store knows this installation, or if both are new; else what is there beside the empty store. Raises
    TryAgain if this machine's own Engine is needed and does not answer."""
    recognition = _jobs(settings).recognition
    if recognition.known():
        return None
    if DOCKER in _in_use(settings):
        tuple(_engines(settings).of(DOCKER).slots.slots())
    recognition.run()
    return None if recognition.known() else store(settings).origin.beside()


def requeue(settings: Settings) -> Requeue:
    """The sweep, for a thread of its own."""
    return _jobs(settings).requeue


def waker(settings: Settings) -> Waker:
    return Waker(services(settings), adapters(settings))


def _jobs(settings: Settings, *, by_hand: bool = False) -> Jobs:
    """New ones on each call: a job remembers what it has reported, and is for one thread. ``by_hand``: a person waits
    for what they do."""
    from pipeline.adapters.git.hosted import HostedRepositories

    def ensure() -> Iterator[str]:
        return _keep_proxies(settings, by_hand=by_hand)

    accept = commands(settings).accept
    return Jobs(
        services(settings),
        adapters(settings),
        accept,
        HostedRepositories(repositories(settings)),
        ensure,
        lambda: traces.of(settings),
        lambda: first_token(settings, store(settings)),
        lambda: demands.examine(store(settings), settings.data, _in_use(settings), inspection(settings)),
        running_code().replaced,
        take_back=commands(settings).baking.take_back,
    )


def messenger(settings: Settings) -> Delivery:
    from pipeline.adapters.http.post import HttpPost

    return Delivery(store(settings), HttpPost(), SystemClock(), settings)


def trace_messenger(settings: Settings) -> TraceDelivery:
    sender = otlp.OtlpSender(version("pushlive"), settings.instance)
    return TraceDelivery(store(settings), sender, SystemClock())


@dataclass(frozen=True)
class Web:
    """What the web side needs."""

    commands: Commands
    ensure_repository: Callable[[str], Path]


def web(settings: Settings) -> Web:
    from pipeline.adapters.git.source import init_repository

    def ensure(name: str) -> Path:
        folder = repositories(settings) / f"{name}.git"
        if not (folder / "HEAD").exists():
            init_repository(folder, push_limit=settings.push_limit)
        return folder

    return Web(commands(settings), ensure)
