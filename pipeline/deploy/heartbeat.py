"""Renews the leases that a worker holds, and lets it act on engines only as long as it holds them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from pipeline.errors import LeaseLost, StoreUnavailable, TryAgain
from pipeline.ports.clock import Watch
from pipeline.ports.engine import Engine
from pipeline.store import Lease, Store
from pipeline.store.leases import TTL

RENEW_EVERY = 2.0  # seconds


class LeaseHeartbeat:
    """Renews leases in a thread. ``lost``: another worker has one of them, or may have it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._leases: dict[str, Lease] = {}
        self._stop = threading.Event()
        self._refused = False
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._loop, name="renew-leases", daemon=True)

    @property
    def lost(self) -> bool:
        """True once another worker has a lease, or may: the store has not answered for almost a lease's life."""
        return self._refused or time.monotonic() - self._renewed > TTL - 1.0

    def __enter__(self) -> LeaseHeartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)
        for lease in self.held:
            self.drop(lease)

    def hold(self, lease: Lease) -> HeldLease:
        """Renews it as well from now on."""
        self._leases[lease.key] = lease
        return HeldLease(lease.key, lease.token, lease.name, heartbeat=self)

    @property
    def held(self) -> tuple[Lease, ...]:
        """What this worker holds, as far as it knows."""
        return tuple(self._leases.values())

    def ours(self) -> bool:
        """Asks the store whether this worker still has all its leases; if it does not answer, ``lost`` decides."""
        if self.lost:
            return False
        try:
            return self._store.leases.ours(self.held)
        except StoreUnavailable:
            return True

    def insist(self) -> None:
        """Asked before each act outside the store: engines know no fencing tokens. Raises LeaseLost."""
        if not self.ours():
            names = ", ".join(one.name for one in self.held)
            raise LeaseLost(f"another process has taken over {names}; this one stops.")

    def fenced(self, engine: Engine) -> Engine:
        """The engine for what is done under these leases: they are read before each call, and by each call whenever it
        looks at its watch. Either raises LeaseLost once one is lost."""
        return fenced(engine, self.insist)

    def drop(self, lease: Lease) -> None:
        self._leases.pop(lease.key, None)
        try:
            self._store.leases.drop(lease)
        except StoreUnavailable:
            return  # it expires

    def _loop(self) -> None:
        while not self._stop.wait(RENEW_EVERY):
            began = time.monotonic()
            try:
                held = [lease for lease in self.held if not self._store.leases.renew(lease)]
            except StoreUnavailable:
                continue
            self._renewed = began
            # A lease dropped while we were renewing is no loss.
            self._refused = self._refused or any(lease.key in self._leases for lease in held)


@dataclass(frozen=True)
class HeldLease(Lease):
    """A lease that a heartbeat renews."""

    heartbeat: LeaseHeartbeat = field(kw_only=True, compare=False, repr=False)

    def fenced(self, engine: Engine) -> Engine:
        """See ``LeaseHeartbeat.fenced``."""
        return self.heartbeat.fenced(engine)

    def insist(self) -> None:
        """See ``LeaseHeartbeat.insist``."""
        self.heartbeat.insist()


@contextmanager
def holding(store: Store, lease: Lease) -> Iterator[HeldLease]:
    """Renews a lease for what a person asked for. They are told if it is lost: raises TryAgain then."""
    with LeaseHeartbeat(store) as heartbeat:
        held = heartbeat.hold(lease)
        try:
            yield held
        except LeaseLost as error:
            if heartbeat.ours():
                raise  # another lease was lost than this one
            where = lease.name.partition(":")[2]
            raise TryAgain(
                f"another process has taken over {where}, so nothing more was done there.",
                advice="`pushlive status` shows what runs; then try again.",
            ) from error


def fenced(engine: Engine, insist: Callable[[], None]) -> Engine:
    """The engine with ``insist`` before each call, and whenever a call looks at its watch. ``insist`` raises
    LeaseLost."""
    ports = {one.name: getattr(engine, one.name) for one in fields(engine)}
    return Engine(**{name: _FencedPort(port, insist) for name, port in ports.items()})


class _FencedPort:
    """One port of an engine. ``insist``: raises LeaseLost."""

    def __init__(self, port: Any, insist: Callable[[], None]) -> None:
        self._port, self._insist = port, insist

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        def call(*arguments: Any, **named: Any) -> Any:
            self._insist()
            given = {key: self._watched(one) for key, one in named.items()}
            return method(*map(self._watched, arguments), **given)

        return call

    def _watched(self, one: Any) -> Any:
        return _FencedWatch(one, self._insist) if isinstance(one, Watch) else one


class _FencedWatch:
    """A watch that stops what it watches once a lease is lost."""

    def __init__(self, watch: Watch, insist: Callable[[], None]) -> None:
        self._watch, self._insist = watch, insist

    def check(self) -> None:
        """Raises LeaseLost, and what the watch raises."""
        self._watch.check()
        self._insist()

    def remaining(self) -> float:
        """See ``Watch``."""
        return self._watch.remaining()

    def wait(self, seconds: float) -> None:
        """Waits, then checks."""
        self._watch.wait(seconds)
        self._insist()
