"""Ends what people's commands have left in containers when the process that served them died. A job of the keeper."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Actor
from pipeline.errors import DamagedRecord, PushliveError, StoreUnavailable
from pipeline.ports.engine import Engines
from pipeline.ports.terminal import SessionRecord
from pipeline.store import Store


class LeftSessions:
    """``waited``: see ``maintenance.job.Job``; ``damaged`` is told of records that cannot be read."""

    waited = 0.0

    def __init__(
        self,
        store: Store,
        engines: Engines,
        damaged: Callable[[DamagedRecord], None],
        now: Callable[[], float],
    ) -> None:
        self._store, self._engines, self._damaged, self._now = store, engines, damaged, now
        self._said: set[str] = set()

    def run(self) -> list[str]:
        """One round: what was ended. An engine that does not answer is asked again in the next."""
        every, damaged = self._store.sessions.all()
        for error in damaged.values():
            self._damaged(error)
        left = [one for one in every if self._store.leases.free(one.lease)]
        known = set(self._engines.in_use()) if left else set()
        ends = (self._end(one) if one.engine in known else self._give_up(one) for one in left)
        return [text for text in ends if text]

    def _told(self, one: SessionRecord) -> None:
        """The audit log gets the end that its process could not record. Twice if the keeper dies right after it."""
        if one.act:
            entry = audit_chain.entry(
                Actor(one.by, way="keeper"),
                f"{one.act} ended",
                self._now(),
                pipeline="" if one.act.startswith("accessory") else one.pipeline,
                environment=one.environment,
                release=one.release,
                detail=one.what,
                after="what came of it is not known: the process that served it has not ended it",
            )
            self._store.audit.record(entry)

    def _give_up(self, one: SessionRecord) -> str:
        """Of an engine that is no longer in the configuration, and that has no environment any more."""
        self._told(one)
        self._store.sessions.forget(one.id)
        return (
            f"{one.pipeline}/{one.environment}: a command of {one.by} was not ended: nothing uses the engine "
            f"{one.engine} any more. If it still runs there, end it by hand: its container's name ends with {one.id}"
        )

    def _end(self, one: SessionRecord) -> str:
        where = f"{one.pipeline}/{one.environment}"
        try:
            self._engines.of(one.engine).terminals.end_session(one.ref, one.id, one.replica)
        except StoreUnavailable:
            raise
        except PushliveError as error:
            text = f"{where}: a command of {one.by} could not be ended: {error}"
            fresh = text not in self._said
            self._said.add(text)
            return text if fresh else ""
        self._told(one)
        self._store.sessions.forget(one.id)
        return f"{where}: a command of {one.by} was ended, since the service that it ran through has stopped"
