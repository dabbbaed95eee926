"""Volumes that do not have all their files yet, because a copy or a restore is at work, was broken off or has failed.

The mark is in the store before the first byte is written, and goes after the last one. Until then nothing starts with
the volume, reads it for a backup, or gives it other files: a release would begin with an empty volume, and no one
would know. Docker cannot change a volume's labels, and a label could not tell a process that died from one at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from pydantic import ValidationError

from pipeline.deploy.data.access import replacing_lease
from pipeline.deploy.services import Services
from pipeline.domain.volumes import UnfinishedCopy, VolumeRef
from pipeline.errors import (
    ConfigError,
    DamagedRecord,
    EngineFailed,
    PushliveError,
    RequestError,
    StoreUnavailable,
    single_stops,
)
from pipeline.lib import codec
from pipeline.ports.clock import Clock
from pipeline.store import Store, Transaction

FACT = "unfinished-copies"

Copies = tuple[UnfinishedCopy, ...]


def unfinished(store: Store) -> Copies:
    """Every one, by its volume. Raises DamagedRecord."""
    return _read(store.facts.get(FACT))


def at_work(store: Store, ref: VolumeRef) -> bool:
    """Whether a process writes to that volume now."""
    return not store.leases.free(replacing_lease(ref))


def refuse(
    store: Store, refs: Iterable[VolumeRef], error: type[PushliveError] = EngineFailed, *, alone: bool = False
) -> None:
    """Raises ``error`` if one of the volumes must not be used now. ``alone``: the caller keeps others from writing."""
    wanted = set(refs)
    for one in unfinished(store) if wanted else ():
        if one.ref in wanted and not one.whole:
            raise refusal(store, one, error, alone=alone)


def to_be_copied(store: Store, source: str) -> UnfinishedCopy | None:
    """See ``UnfinishedCopies.to_be_copied``."""
    return next((one for one in unfinished(store) if one.source == source), None)


def refusal(
    store: Store, one: UnfinishedCopy, error: type[PushliveError] = EngineFailed, *, alone: bool = False
) -> PushliveError:
    """What is said about that one. ``alone``: as for ``refuse``."""
    busy = not alone and at_work(store, one.ref)
    advice = "Try again once it has ended." if busy else one.advice
    return error(f"{one.text(at_work=busy)}.", advice=advice, again=issubclass(error, EngineFailed))


class UnfinishedCopies:
    def __init__(self, services: Services, clock: Clock) -> None:
        self._store, self._vault, self._clock = services.store, services.vault, clock

    def of(self, ref: VolumeRef) -> UnfinishedCopy | None:
        return next((one for one in unfinished(self._store) if one.ref == ref), None)

    def to_be_copied(self, source: str) -> UnfinishedCopy | None:
        """One that gets the data of the volume, or of the accessory, of that name."""
        return to_be_copied(self._store, source)

    def refuse_other(self, wanted: UnfinishedCopy, *, alone: bool = False) -> None:
        """Raises RequestError if the volume was to get other data than these. ``alone``: as for ``refuse``."""
        found = self.of(wanted.ref)
        if found and found.source != wanted.source:
            raise refusal(self._store, found, RequestError, alone=alone)

    @contextmanager
    def during(self, wanted: UnfinishedCopy, *, error_ends: bool = False) -> Iterator[None]:
        """Around everything that writes to the volume, under the leases that keep others out. A copy that was refused
        leaves no mark, and neither does what leaves a volume whole; any other failure leaves it, and why.
        ``error_ends``: after a failure all is as it was, so that only a process that dies leaves it. Raises as
        ``refuse_other``."""
        self.refuse_other(wanted, alone=True)
        before = self.of(wanted.ref)
        whole = wanted.whole and (before is None or before.whole)
        since = before.since if before else wanted.since
        self._put(replace(wanted, since=since, whole=whole, copied=before is not None and before.copied))
        try:
            yield
        except PushliveError as error:
            with suppress(StoreUnavailable):
                refused = bool(wanted.source) and isinstance(error, RequestError | ConfigError)
                if whole or (before is None and (refused or error_ends)):
                    self.end(wanted.ref)
                else:
                    self._failed(wanted.ref, error)
            raise
        self.end(wanted.ref)

    def begin(self, wanted: UnfinishedCopy) -> None:
        """Raises as ``refuse_other``."""
        self.refuse_other(wanted, alone=True)
        self._put(wanted)

    def copied(self, ref: VolumeRef) -> None:
        """All files are there; what is left is to remove the source. Idempotent."""
        self._change(ref, lambda one: replace(one, copied=True))

    def end(self, ref: VolumeRef) -> None:
        """Nothing is left to be done. Idempotent."""
        if self.of(ref):
            self._store.facts.replace(FACT, lambda text: _written(_without(_read(text), ref)))

    def tell(self, ref: VolumeRef, by: Callable[[Transaction, UnfinishedCopy], None], *, over: bool) -> None:
        """Queues what receivers get, once, in the transaction that remembers it. ``over``: the mark goes with it."""

        def act(tx: Transaction) -> None:
            found = _read(tx.shared_fact(FACT))
            one = next((one for one in found if one.ref == ref and not one.told), None)
            if one is None:
                return
            left = _without(found, ref)
            tx.put_fact(FACT, _written(left if over else (*left, replace(one, told=True))))
            by(tx, one)

        self._store.transact(ref.owner, act)

    def _failed(self, ref: VolumeRef, error: PushliveError) -> None:
        masked, _ = self._vault.mask(ref.owner)
        said = single_stops(" ".join(masked.lines((error.message,))))
        self._change(ref, lambda one: replace(one, failed=said))

    def _put(self, wanted: UnfinishedCopy) -> None:
        self._store.facts.replace(FACT, lambda text: _written((*_without(_read(text), wanted.ref), wanted)))

    def _change(self, ref: VolumeRef, change: Callable[[UnfinishedCopy], UnfinishedCopy]) -> None:
        def changed(text: str) -> str:
            return _written(change(one) if one.ref == ref else one for one in _read(text))

        self._store.facts.replace(FACT, changed)


def _without(found: Copies, ref: VolumeRef) -> Copies:
    return tuple(one for one in found if one.ref != ref)


def _read(text: str) -> Copies:
    try:
        return codec.load(Copies, text) if text else ()
    except ValidationError:
        raise DamagedRecord(
            f"The record of copies of volumes that have not ended (fact:{FACT}) is not as Pushlive writes it, so it is "
            "not known which volumes have all their files.",
            advice="Restore a backup of the store. Or look at the volumes (`pushlive volume list`), and remove the key "
            "once each has its files: docs/operations.md, 'A record is damaged'.",
        ) from None


def _written(found: Iterable[UnfinishedCopy]) -> str:
    ordered = tuple(sorted(found, key=lambda one: one.ref))
    return codec.dump_as(Copies, ordered) if ordered else ""
