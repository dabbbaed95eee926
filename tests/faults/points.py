"""A worker of its own whose every call to the outside is a point: there it can be killed, or lose its lease.

A worker's state lies in its memory and in what its calls have done, so "killed after call n" and "killed before call
n + 1" are one moment. A point is therefore the moment just before a call, and the last one the moment after the last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipeline.adapters.fake import IllegalOrder, Killed, OneEngine
from pipeline.deploy.runner import Runner
from pipeline.deploy.services import services_on
from pipeline.domain.run import Run
from pipeline.errors import RequestError, StoreUnavailable
from pipeline.ports.adapters import Adapters
from pipeline.store import Store
from tests.story.conftest import World, go_on

_AUDIT = {"LINDEX", "LRANGE", "LLEN"}  # looked at under a lock: nobody can be let in there by the same thread
_READS = {"MGET", "HGET", "HMGET", "HGETALL", "HVALS", "GET", "SMEMBERS", "EXISTS", "XREAD", "PTTL"} | _AUDIT


def _nothing() -> None:
    return


@dataclass
class Points:
    """``passed``: the names of the points so far; at number ``at`` (if any) ``act`` is called; ``look`` at each one.
    Once ``dead`` nothing gets out any more: that is what SIGKILL means."""

    at: int = -1
    act: Callable[[], None] = _nothing
    look: Callable[[str], None] = lambda _: None
    passed: list[str] = field(default_factory=list)
    dead: bool = False
    thread: int = field(default_factory=threading.get_ident)

    def alive(self) -> None:
        if self.dead and threading.get_ident() != self.thread:
            raise StoreUnavailable("dead")  # the thread that renews leases: it just goes quiet
        if self.dead:
            raise Killed("dead")

    def point(self, name: str) -> None:
        self.alive()
        if threading.get_ident() != self.thread:
            return
        number = len(self.passed)
        self.passed.append(name)
        self.look(name)
        if number == self.at:
            self.act()
            self.alive()

    def die(self) -> None:
        self.dead = True


class Pointed:
    """A port of which each call is a point."""

    def __init__(self, port: Any, points: Points) -> None:
        self._port, self._points = port, points

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._points.point(name)
            try:
                return method(*arguments, **named)
            except IllegalOrder as error:
                if not 0 <= self._points.at < len(self._points.passed):
                    raise
                raise RequestError(f"the engine refuses: {error}") from error  # a stale worker's wish

        return call


def pointed_store(url: str, prefix: str, points: Points) -> Store:
    """A store of which each write is a point; once dead it does not even read."""
    store = Store(url, prefix)
    run, make = store.client.execute_command, store.client.pipeline

    def execute_command(*arguments: Any, **options: Any) -> Any:
        if arguments[0] in _READS:
            points.alive()
        else:
            points.point(f"store:{arguments[0]}")
        return run(*arguments, **options)

    def pipeline(*arguments: Any, **options: Any) -> Any:
        points.alive()
        pipe = make(*arguments, **options)
        execute, reads = pipe.execute, options.get("transaction") is False  # what writes is a transaction

        def executed(*args: Any, **named: Any) -> Any:
            points.alive() if reads else points.point("store:write")
            return execute(*args, **named)

        pipe.execute = executed
        return pipe

    store.client.execute_command = execute_command  # type: ignore[method-assign]
    store.client.pipeline = pipeline  # type: ignore[method-assign]
    return store


def pointed_adapters(world: World, points: Points) -> Adapters:
    ports = (world.source, world.builder, world.engine, world.probe)
    source, builder, *engine = (Pointed(port, points) for port in ports)
    return Adapters(source, builder, OneEngine(*engine), world.clock, world.queue)  # type: ignore[arg-type]


def worker(world: World, url: str, points: Points) -> Runner:
    """Another worker's process, as far as the store and the outside can tell."""
    store = pointed_store(url, world.settings.instance, points)
    services = services_on(store, world.settings)
    return Runner(services, pointed_adapters(world, points), world.commands.accept, go_on)


def carry(runner: Runner, points: Points, pipeline: str = "hello") -> Run | None:
    """Work until nothing is due, or until it dies."""
    run = None
    try:
        while (found := runner.work(pipeline, worker="one")) is not None:
            run = found
        points.point("the end")
    except Killed:
        return None
    finally:
        runner._store.client.close()
    return run


def leases_end(world: World) -> None:
    """Time passes in which nobody renews: whoever held a lease has lost it."""
    client = world.store.client
    for key in client.scan_iter(f"{world.settings.instance}:lease:*"):
        client.delete(key)
    client.delete(f"{world.settings.instance}:beats")
