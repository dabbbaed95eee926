"""What serves is started again, under the environment's lease."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from contextlib import suppress

from pipeline.deploy.heartbeat import HeldLease, holding
from pipeline.deploy.tools.telling import Tell, told
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import LeaseLost, PushliveError, RequestError, StoreUnavailable
from pipeline.ports.clock import Clock, Deadline
from pipeline.ports.engine import Engine
from pipeline.ports.terminal import SessionRecord
from pipeline.store import Lease, Store

WAITS = 6.0  # seconds for the keeper to leave the environment
ONE = 120.0  # seconds for one replica, beside what the service's own limits allow


def take(store: Store, clock: Clock, where: str) -> Lease:
    """The environment's lease: from now on no run and no keeper is at work there. Raises RequestError if one is."""
    wait = Deadline(clock, WAITS)
    while (lease := store.leases.take(f"env:{where}", "restart")) is None:
        if wait.remaining() <= 0:
            raise RequestError(
                f"a run is at work in {where}.",
                advice="Restart it once that has ended: `pushlive status`.",
            )
        clock.sleep(0.1)
    return lease


class Restart:
    """``by``: who asked for it. ``lease``: the environment's, taken before ``spec`` was read. ``ended``: is told what
    came of it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        engine: Engine,
        spec: SlotSpec,
        by: str,
        lease: Lease,
        ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._ended = ended
        self._store, self._clock, self._engine, self._spec = store, clock, engine, spec
        ref = spec.ref
        self._record = SessionRecord(
            secrets.token_hex(6),
            ref.pipeline,
            ref.environment,
            ref.index,
            ref.slot,
            ref.engine,
            by=by,
            began=clock.now(),
            act="restart",
            release=spec.release,
        )
        self._lease = lease

    def lines(self) -> Generator[tuple[str, ...]]:
        """What was done, as it comes; () while it goes on. Raises what the engine raises."""
        yield from told("restart", self._work)

    def _work(self, tell: Tell) -> None:
        done: list[str] = []

        def told(text: str) -> None:
            done.append(text)
            tell(text)

        try:
            with holding(self._store, self._lease) as held:
                self._restart(held, told)
        except LeaseLost:
            raise  # the keeper ends it, and says so
        except PushliveError as error:
            self._ended(f"failed: {error.message}")
            raise
        self._ended(f"started again: {'; '.join(done)}" if done else "started again")

    def _restart(self, held: HeldLease, tell: Tell) -> None:
        """If this process dies, or loses the lease, the keeper ends what it has left, and brings the proxy to what the
        store says."""
        if own := self._store.leases.take(self._record.lease, "restart"):
            held.heartbeat.hold(own)
        self._store.sessions.put(self._record)
        service = self._spec.config.service
        each = ONE + service.drain + service.stop + service.ready
        limit = each * (service.web_replicas + 1)
        for one in service.processes_in_use.values():
            limit += one.replicas * (ONE + one.stop + (service.ready if one.ready else one.settle))
        watch = Deadline(self._clock, limit, "The restart")
        engine = held.fenced(self._engine)
        try:
            engine.restarts.restart_slot(self._spec, self._record.id, lambda event: tell(event.text), watch)
        except LeaseLost:
            raise  # what it has left is still in the store, for the keeper
        except PushliveError:
            self._forget()
            raise
        self._forget()

    def _forget(self) -> None:
        with suppress(StoreUnavailable):
            self._store.sessions.forget(self._record.id)
