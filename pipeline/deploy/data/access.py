"""Who may use the volumes of an environment at the same time, beside its slots.

Commands of people and runs by a schedule start without the environment's lease, since a run may have it for long. So
that none of them starts while files are replaced, both take a lease of their own: for the moment of a start, or for
the whole of a replacement. Commands of a backup have another one: the keeper leaves their containers alone meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from pipeline.deploy.heartbeat import HeldLease, holding
from pipeline.errors import TryAgain
from pipeline.lib.retry import poll
from pipeline.ports.clock import Clock
from pipeline.store import Store

WAITS = 10.0  # seconds: a start, or the replacement of files, takes moments


class InUse(TryAgain):
    """Another process has that lease."""


def backup_lease(environment: str) -> str:
    """The name of the lease under which commands of a backup run."""
    return f"backup:{environment}"


class VolumeAccess:
    """``environment``: its id, ``hello/live``. Each raises InUse if another process has the lease for longer than
    ``waits`` seconds, and TryAgain if one takes it over."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def alone(self, environment: str) -> AbstractContextManager[HeldLease]:
        """While files are replaced."""
        return self._under(f"volumes:{environment}", f"Something starts with the volumes of {environment}.")

    def starting(
        self, environment: str, *, uses: bool, waits: float = WAITS
    ) -> AbstractContextManager[HeldLease | None]:
        """While something starts that ``uses`` volumes."""
        if not uses:
            return nullcontext()
        said = f"The files of a volume of {environment} are being replaced."
        return self._under(f"volumes:{environment}", said, waits)

    def backing_up(self, environment: str) -> AbstractContextManager[HeldLease]:
        """While a command of a backup runs."""
        said = f"A command of another backup of {environment} still runs."
        return self._under(backup_lease(environment), said)

    @contextmanager
    def _under(self, name: str, otherwise: str, waits: float = WAITS) -> Iterator[HeldLease]:
        take = partial(self._store.leases.take, name, "volumes")
        lease = poll(take, 0.05, self._clock, timeout=waits)
        if lease is None:
            raise InUse(otherwise, advice="Try again in a moment.")
        with holding(self._store, lease) as held:
            yield held
