"""Who may use the volumes of an environment at the same time, beside its slots.

Commands of people and runs by a schedule start without the environment's lease, since a run may have it for long. So
that none of them starts while files are replaced, both take a lease of their own: for the moment of a start, or for
the whole of a replacement. Commands of a backup have another one: the keeper leaves their containers alone meanwhile.

Several may read the files of a volume at once, and no one replaces them meanwhile: the engine would end what reads.
Both sides take their lease first and then look for the other's, so that at least one of two sees the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial

from pipeline.deploy.heartbeat import HeldLease, holding
from pipeline.domain.volumes import VolumeRef
from pipeline.errors import Busy
from pipeline.lib.retry import poll
from pipeline.lib.units import show_time
from pipeline.ports.clock import Clock
from pipeline.store import Store

WAITS = 10.0  # seconds: a start, or the replacement of files, takes moments

READERS = 4  # of one volume at once
READS = "backup@"  # and the seconds at which it began: the holder of such a lease


class InUse(Busy):
    """Another process has that lease."""


def backup_lease(environment: str) -> str:
    """The name of the lease under which commands of a backup run."""
    return f"backup:{environment}"


def _readers(ref: VolumeRef) -> tuple[str, ...]:
    return tuple(f"reading:{ref}:{number}" for number in range(READERS))


def replacing_lease(ref: VolumeRef) -> str:
    """The name of the lease under which the files of a volume are replaced."""
    return f"replacing:{ref}"


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
    def reading(self, ref: VolumeRef) -> Iterator[HeldLease]:
        """While a backup of it is made. Raises InUse while its files are replaced, or if many read it."""
        holder = f"{READS}{self._clock.now():.0f}"
        taken = (self._store.leases.take(name, holder) for name in _readers(ref))
        lease = next((one for one in taken if one), None)
        if lease is None:
            raise InUse(f"{READERS} backups of {ref} run already.", advice="Try again once one has ended.")
        with holding(self._store, lease) as held:
            if not self._store.leases.free(replacing_lease(ref)):
                raise InUse(f"The files of {ref} are being replaced.", advice="Try again in a moment.")
            yield held

    @contextmanager
    def replacing(self, *refs: VolumeRef, waits: float = WAITS) -> Iterator[None]:
        """While files of these volumes are replaced, or their accessory is stopped for a copy. Raises InUse while a
        backup of one of them runs."""
        with ExitStack() as stack:
            for ref in sorted(refs):
                said = f"The files of {ref} are being replaced by another command."
                stack.enter_context(self._under(replacing_lease(ref), said, waits))
                self._refuse_while_read(ref)
            yield

    def _refuse_while_read(self, ref: VolumeRef) -> None:
        holders = [found for name in _readers(ref) if (found := self._store.leases.holder(name))]
        if holders:
            since = show_time(min(float(one.removeprefix(READS)) for one in holders))
            raise InUse(
                f"A backup of {ref} has been running since {since}, so nothing was changed.",
                advice="Try again once it has ended.",
            )

    @contextmanager
    def _under(self, name: str, otherwise: str, waits: float = WAITS) -> Iterator[HeldLease]:
        take = partial(self._store.leases.take, name, "volumes")
        lease = poll(take, 0.05, self._clock, timeout=waits)
        if lease is None:
            raise InUse(otherwise, advice="Try again in a moment.")
        with holding(self._store, lease) as held:
            yield held
