"""A person puts an environment in maintenance, or ends that."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.deploy.visitors.notices import settle
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Who
from pipeline.domain.environment import Environment
from pipeline.domain.slots import slot_ref
from pipeline.domain.visitors.maintenance import Maintenance, checked
from pipeline.errors import RequestError, TryAgain
from pipeline.service.audited import OnEngines
from pipeline.service.promotion.until import end_of
from pipeline.service.visitors.shown import command
from pipeline.store import Transaction

_SOON = "The proxy does not answer at the moment; it follows as soon as it does."


class MaintenanceCommands(OnEngines):
    """It belongs to the environment: whatever is deployed, promoted or reverted there meanwhile, visitors read the
    message until it ends."""

    def turn_on(
        self,
        pipeline: str,
        by: Who,
        *,
        environment: str,
        message: str,
        until: str = "",
        lasting: str = "",
        zone: str = "UTC",
    ) -> tuple[str, ...]:
        """From now on visitors get the message with 503, until it is ended or until that time (see ``end_of``). Of an
        environment in maintenance it changes both. Raises ConfigError, NotFound, RequestError if nothing serves, and
        what ``Traffic.can_have_notice`` raises."""
        self.insist_on_store()
        _, name = self._environment_name(pipeline, environment)
        now, who = self._clock.now(), audit_chain.actor(by).name
        ends = f"`{command(pipeline, name)}` ends it."
        end = end_of(until, lasting, zone, now, f"Without --until and --for {ends}")
        wanted = Maintenance(checked(message), who, now, end, zone)
        record = self._store.environment(pipeline, name)
        if record is None or record.active is None:
            raise RequestError(f"nothing serves in {pipeline}/{name}.", advice="Push first.")
        traffic = self._adapters().engines.of(record.engine).traffic
        traffic.can_have_notice(slot_ref(record, record.active))

        def act(tx: Transaction) -> None:
            found = tx.environment(name)
            was, is_ = _words(found.maintenance, now), _words(wanted, now)
            what: dict[str, Any] = {"pipeline": pipeline, "environment": name, "before": was, "after": is_}
            tx.put_environment(replace(found, maintenance=wanted))
            tx.record(self._entry(by, "maintenance on", why=wanted.message, **what))

        self._acted(pipeline, act, notify=False)
        return (f"{pipeline}/{name} is {wanted.text(now)}; {ends}", *self._settled(record))

    def turn_off(self, pipeline: str, by: Who, *, environment: str) -> tuple[str, ...]:
        """Visitors get the application's answers again. Idempotent. Raises NotFound and what the engine raises."""
        self.insist_on_store()
        name, now = self._recorded_name(pipeline, environment), self._clock.now()

        def act(tx: Transaction) -> Environment:
            found = tx.environment(name)
            if found.maintenance:
                was, is_ = _words(found.maintenance, now), _words(None, now)
                what: dict[str, Any] = {
                    "pipeline": pipeline,
                    "environment": name,
                    "before": was,
                    "after": is_,
                }
                tx.put_environment(replace(found, maintenance=None))
                tx.record(self._entry(by, "maintenance off", **what))
            return found

        before = self._acted(pipeline, act, notify=False)
        said = self._settled(before)
        if before.maintenance is None:
            return (f"{before.id} is not in maintenance.", *said)
        return (f"{before.id} is no longer in maintenance.", *said)

    def _settled(self, record: Environment) -> tuple[str, ...]:
        """The proxy follows now, or else the keeper sees to it."""
        try:
            traffic = self._adapters().engines.of(record.engine).traffic
            settle(self._store, traffic, record.pipeline, record.name)
        except TryAgain:
            return (_SOON,)
        return ()


def _words(maintenance: Maintenance | None, now: float) -> str:
    return maintenance.text(now) if maintenance else "not in maintenance"
