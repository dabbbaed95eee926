"""The only place where adapters are made and put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapters.queue import RqQueue
from pipeline.config.engines import DOCKER, Where, where_of
from pipeline.config.settings import Settings
from pipeline.deploy import engine_addresses
from pipeline.deploy.runner import Runner
from pipeline.errors import ConfigError, StoreUnavailable, TryAgain
from pipeline.maintenance.keeper import Keeper
from pipeline.notify.delivery import Delivery
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import SystemClock
from pipeline.ports.engine import Engine, engine_of
from pipeline.ports.inspection import Inspection
from pipeline.runtime import embedded_store
from pipeline.service.commands import Commands
from pipeline.store import Store
from pipeline.store.configurations import Configurations

if TYPE_CHECKING:
    from pipeline.adapters.buildkit.builder import DockerBuilder
    from pipeline.adapters.kubernetes.api import KubeApi
    from pipeline.adapters.router import EngineRouter


def preload() -> None:
    """Imports every adapter now, so that processes forked from this one start at once."""
    for name in (
        "buildkit.builder",
        "docker.engine",
        "git.source",
        "http.post",
        "http.probe",
        "kubernetes.engine",
    ):
        import_module(f"pipeline.adapters.{name}")


def redis_url(settings: Settings) -> str:
    return settings.redis_url or embedded_store.url(settings.data)


def store(settings: Settings) -> Store:
    return Store(redis_url(settings), settings.instance)


def _queue(settings: Settings) -> RqQueue:
    return RqQueue(redis_url(settings), settings.instance)


@cache
def proxy(settings: Settings) -> Any:
    from pipeline.adapters.docker_api.client import client
    from pipeline.adapters.haproxy.proxy import Proxy

    return Proxy(client, settings, SystemClock())


def parts(settings: Settings) -> Adapters:
    """The real parts: git, the machine's Docker Engine with HAProxy, Kubernetes clusters."""
    from pipeline.adapters.git.source import GitSource

    clock, every = SystemClock(), _engines(settings)
    source = GitSource(
        repositories(settings), settings.data / "mirrors", clock, settings.git_allow, settings.push_limit
    )
    return Adapters(source, builder(settings), every, clock, _queue(settings))


@cache
def _engines(settings: Settings) -> EngineRouter:
    from pipeline.adapters.router import EngineRouter

    return EngineRouter(lambda key: _engine(settings, where_of(key)), lambda: sorted(_in_use(settings)))


def _engine(settings: Settings, where: Where) -> Engine:
    clock = SystemClock()
    if where.kubernetes is None:
        from pipeline.adapters.docker import remote
        from pipeline.adapters.docker.engine import DockerEngine
        from pipeline.adapters.docker_api.client import client
        from pipeline.adapters.http.probe import HttpProbe

        if where.docker:
            return engine_of(*remote.pair(where, settings, clock))
        probe = HttpProbe()
        return engine_of(DockerEngine(client, proxy(settings), settings, probe, clock), probe)
    from pipeline.adapters.kubernetes.engine import KubeEngine
    from pipeline.adapters.kubernetes.probe import KubeProbe

    api = _kube_api(where.kubernetes, where.namespace)
    return engine_of(KubeEngine(api, settings.instance, where.key, clock), KubeProbe(api))


@cache
def _kube_api(context: str, namespace: str) -> KubeApi:
    from pipeline.adapters.kubernetes.api import KubeApi
    from pipeline.adapters.kubernetes.client import connect

    return KubeApi(lambda: connect(context, namespace))


def inspection() -> Inspection:
    from pipeline.adapters.inspection import EngineInspection

    return EngineInspection(_kube_api)


@cache
def _configs(settings: Settings) -> Configurations:
    return Configurations(store(settings), settings.config)


def _in_use(settings: Settings) -> frozenset[str]:
    kept = store(settings)
    try:
        _, config = _configs(settings).current()
    except ConfigError:
        return engine_addresses.in_use(kept, None)
    except StoreUnavailable:  # `down --all` asks when the service has ended
        return engine_addresses.named_in(settings.config)
    return engine_addresses.in_use(kept, config)


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
    """Raises ConfigError where somebody else has the page's port already."""
    from pipeline.adapters.haproxy.container import taken

    if taken(listen):
        raise ConfigError(
            f"{listen} is taken by another program (`ss -ltnp` names it).",
            advice="End that program, or set PUSHLIVE_LISTEN to something else.",
        )


def ensure_proxy(settings: Settings) -> None:
    """The proxy runs, where any environment needs it."""
    if DOCKER in _in_use(settings):
        proxy(settings).ensure()


def remove_everything(settings: Settings) -> Iterator[str]:
    """Ends the applications on every engine in use, and the proxy; what was done. An engine that does not answer is
    said and passed over. Data, repositories and images stay."""
    every, keys = _engines(settings), _in_use(settings)
    for key in sorted(keys):
        try:
            engine = every.of(key)
            for place in tuple(engine.slots.slots()):
                engine.slots.remove(place)
                yield f"removed {place.pipeline}/{place.environment}/{place.slot}"
            if (own := _proxy_of(settings, key)) is not None:
                own.stop()
                yield f"removed the proxy{'' if key == DOCKER else f' of {key}'}"
        except TryAgain as error:
            if keys == {key}:
                raise
            yield f"! {error} Nothing was removed there."


def _proxy_of(settings: Settings, key: str) -> Any:
    """The proxy beside that engine, None for a cluster."""
    from pipeline.adapters.docker import remote

    if key == DOCKER:
        return proxy(settings)
    where = where_of(key)
    return remote.proxy(where, settings, SystemClock()) if where.docker else None


def _keep_proxy(settings: Settings) -> list[str]:
    """The proxy runs, and serves the certificates that are in the folder; what there is to say of it."""
    if DOCKER not in _in_use(settings):
        return []
    one = proxy(settings)
    one.ensure()
    taken_up, refused = one.refresh_certificates()
    return [*(f"certificate {name} was taken up" for name in taken_up), *refused]


def repositories(settings: Settings) -> Path:
    return settings.data / "git"


def desk(settings: Settings) -> Commands:
    kept = store(settings)
    return Commands(
        kept,
        settings,
        _queue(settings),
        SystemClock(),
        doctor=lambda: _doctor(settings, kept),
        gc=lambda: keeper(settings).gc(),
        fix=lambda: keeper(settings).fix(),
        output=lambda ref, lines: _engines(settings).of(ref.engine).slots.logs(ref, lines),
        compare=lambda spec: _engines(settings).of(spec.ref.engine).drift.drift(spec),
    )


def _doctor(settings: Settings, kept: Store) -> list[dict[str, Any]]:
    from pipeline.maintenance.doctor import examine

    return examine(settings, kept, parts(settings), _in_use(settings), inspection())


def runner(settings: Settings, stopping: Callable[[], bool] = lambda: False) -> Runner:
    kept = store(settings)
    configs = Configurations(kept, settings.config)
    accept = Commands(kept, settings, _queue(settings), SystemClock()).accept
    return Runner(kept, parts(settings), settings, configs.by_hash, accept, stopping)


def keeper(settings: Settings) -> Keeper:
    from pipeline.adapters.git.source import heads

    kept = store(settings)
    accept = Commands(kept, settings, _queue(settings), SystemClock()).accept

    def heads_of(name: str) -> dict[str, str]:
        folder = repositories(settings) / f"{name}.git"
        return heads(folder) if folder.exists() else {}

    return Keeper(kept, parts(settings), settings, accept, heads_of, lambda: _keep_proxy(settings))


def messenger(settings: Settings) -> Delivery:
    from pipeline.adapters.http.post import HttpPost

    return Delivery(store(settings), HttpPost(), SystemClock(), settings)


@dataclass(frozen=True)
class Web:
    """What the web side needs."""

    desk: Commands
    ensure_repository: Callable[[str], Path]


def web(settings: Settings) -> Web:
    from pipeline.adapters.git.source import init_repository

    def ensure(name: str) -> Path:
        folder = repositories(settings) / f"{name}.git"
        if not (folder / "HEAD").exists():
            init_repository(folder, push_limit=settings.push_limit)
        return folder

    return Web(desk(settings), ensure)
