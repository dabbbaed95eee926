"""The keeper: runs the maintenance jobs, each in its own period.

``tick`` is called about once a second in every worker process; a lease lets one of them act.
"""

from __future__ import annotations

from pipeline.maintenance.jobs import Jobs, Period
from pipeline.ports.clock import Clock
from pipeline.store import Lease, Store

RECOGNISE_EVERY = 2.0  # seconds, while the store is unknown: nothing else is done meanwhile
SHARE = 5  # a period's jobs take at most one part in so many of a processor's time, …
REST = 10.0  # … but rest no longer than so many seconds: a round is slow on a busy machine as well


class _Timer:
    """When the jobs of one period are due, on the monotonic clock."""

    def __init__(self, period: Period, clock: Clock) -> None:
        self._period, self._clock = period, clock
        self._pace, self._started = period.every, -1e9

    def run(self, now: float) -> list[str]:
        """Runs the jobs if they are due at ``now``."""
        if now - self._started < self._pace:
            return []
        self._started = now
        began, said, waited = self._clock.monotonic(), [], 0.0
        for job in self._period.jobs:
            said += job.run()
            waited += job.waited
        # With many environments a round takes longer, and then comes less often.
        took = self._clock.monotonic() - began - waited
        self._pace = max(self._period.every, min(SHARE * took, took + REST))
        return said


class Keeper:
    """One for each process; the one with the lease acts."""

    def __init__(self, jobs: Jobs, store: Store, clock: Clock) -> None:
        self._jobs, self._store, self._clock = jobs, store, clock
        self._lease: Lease | None = None
        jobs.cron.leads = self._leads
        jobs.opening.fence = lambda: self._lease
        self._timers = tuple(_Timer(period, clock) for period in jobs.schedule())
        self._unknown = _Timer(Period(RECOGNISE_EVERY, (jobs.recognition,)), clock)

    def tick(self) -> list[str]:
        """One round. Returns what it did that a person may want to know. Raises PushliveError of the first job that
        fails; the jobs after it run in the next round."""
        jobs = self._jobs
        if not jobs.recognition.known():
            return self._unknown.run(self._clock.monotonic()) if self._leads() else []
        jobs.requeue.run()
        jobs.clock_jumps.look()
        if not self._leads():
            jobs.clock_jumps.forget()
            return []
        now = self._clock.monotonic()
        said = jobs.clock_jumps.run() + jobs.damage.news()
        for timer in self._timers:
            said += timer.run(now)
        self._store.metrics.keeper_round(self._clock.monotonic() - now, self._clock.now())
        return said

    def _leads(self) -> bool:
        leases = self._store.leases
        if self._lease is None or not leases.renew(self._lease):
            self._lease = leases.take("keeper", "keeper")
        return self._lease is not None

    def stop(self) -> None:
        """Drops the lease, so that another keeper begins at once."""
        if self._lease:
            self._store.leases.drop(self._lease)
