"""A person puts an environment to sleep, or wakes it."""

from __future__ import annotations

from pipeline.config.previews.names import is_preview
from pipeline.deploy.heartbeat import holding
from pipeline.deploy.sleep.sleeper import Sleeper
from pipeline.deploy.tools.restart import take
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Who
from pipeline.domain.environment import Environment
from pipeline.errors import RequestError
from pipeline.maintenance.sleep.waker import Waker
from pipeline.service.audited import OnEngines


class Sleeping(OnEngines):
    """Puts environments to sleep, and wakes them, when a person asks."""

    def put_to_sleep(self, pipeline: str, by: Who, *, environment: str) -> tuple[str, ...]:
        """Ends what serves there until the next request. Idempotent. Raises NotFound, RequestError if it cannot sleep
        now or must not, and what the engine raises."""
        found = self._found(pipeline, environment)
        last = next(reversed(self._config().pipelines[pipeline].environments))
        if found.name == last and not is_preview(pipeline):
            raise RequestError(
                f"{found.id} is live and is not put to sleep: its first visitor would wait.",
                advice="Only environments before it can sleep.",
            )
        if found.asleep and not found.asleep.waking:
            return (f"{found.id} sleeps already; the next request wakes it.",)
        who, engines = audit_chain.actor(by).name, self._adapters().engines
        about = {"pipeline": pipeline, "environment": found.name, "release": found.serving}
        lease = take(self._store, self._clock, found.id)
        try:
            with self.acting(by, "sleep", **about) as outcome, holding(self._store, lease) as held:
                engine = held.fenced(engines.of(found.engine))
                why = f"put to sleep by {who}"
                Sleeper(self._services, engine, self._clock, held).put(
                    self._found(pipeline, found.name), why, who
                )
                outcome.after = "asleep"
        finally:
            self._store.leases.drop(lease)
        return (f"{found.id} sleeps; the next request wakes it.",)

    def wake(self, pipeline: str, by: Who, *, environment: str) -> tuple[str, ...]:
        """Returns once what slept serves. Idempotent. Raises NotFound, RequestError if a run is at work there for too
        long, and what the engine raises."""
        found = self._found(pipeline, environment)
        if found.asleep is None:
            return (f"{found.id} does not sleep.",)
        who, waker = audit_chain.actor(by).name, Waker(self._services, self._adapters())
        about = {"pipeline": pipeline, "environment": found.name, "release": found.serving}
        with self.acting(by, "wake", **about) as outcome:
            waker.wake(found, who)
            outcome.after = "awake"
        return (f"{found.id} serves r{found.serving} again.",)

    def _found(self, pipeline: str, environment: str) -> Environment:
        self.insist_on_store()
        _, name = self._environment_name(pipeline, environment)
        found = self._store.environment(pipeline, name)
        if found is None or found.active is None:
            raise RequestError(f"nothing serves in {pipeline}/{name}.", advice="Push first.")
        return found
