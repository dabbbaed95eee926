"""Whether the store knows this installation. An empty one belongs to a new installation, or the old one was lost: only
a look at the engines, the proxy and the repositories can tell (``maintenance.recognition``)."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.errors import StoreUnknown
from pipeline.lib import codec
from pipeline.store.connection import Client, translate
from pipeline.store.records import Records

_RECORDS = ("pipelines", "with-secrets")  # a store from before the mark has one of them if it has any record


@dataclass(frozen=True)
class Beside:
    """What is there beside a store without records. ``found``: what an earlier store must have known; ``unseen``: where
    nobody could look; both in words. Without either the installation is new."""

    found: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def new(self) -> bool:
        return not self.found and not self.unseen

    def error(self) -> StoreUnknown:
        """The state in words, with the ways out of it."""
        start = "the store has no records of this installation, "
        if self.found:
            return StoreUnknown(
                f"{start}but it is not new: {'; '.join((*self.found, *self.unseen))}.",
                advice="What serves keeps serving, and nothing is deployed, rerouted or removed until you decide. "
                "`pushlive adopt` takes up what is there. To return to a backup instead: `pushlive down`, move the "
                "data folder away, `pushlive restore FILE`, `pushlive up`. If another service on this machine manages "
                "it, stop this one and give it a PUSHLIVE_INSTANCE of its own.",
            )
        if self.unseen:
            return StoreUnknown(
                f"{start}and whether it is new is unknown: {'; '.join(self.unseen)}.",
                advice="Nothing is deployed until that is known; the service looks again every few seconds.",
            )
        return StoreUnknown(
            f"{start}and has not yet looked for what may be there.", advice="Try again in a few seconds."
        )


class Origin:
    """The mark that the installation leaves in its store, and what was found beside one without it."""

    def __init__(self, client: Client, records: Records) -> None:
        self._client, self._reader = client, records
        self.mark_key, self._beside = records.key("fact", "known"), records.key("fact", "unknown")
        self._records = tuple(records.key(name) for name in _RECORDS)
        self._seen = False  # by this process

    def known(self) -> bool:
        """False if its installation has not marked the store. Marks one with records of a version before the
        mark."""
        with translate():
            pipe = self._client.pipeline(transaction=False)
            pipe.exists(self.mark_key)
            pipe.exists(self._beside)
            pipe.exists(*self._records)
            marked, unknown, records = pipe.execute()
        before = bool(records and not unknown)  # beside a note, `adopt` has begun to write them
        if before and not marked:
            self.mark()
        self._seen = bool(marked or before)
        return self._seen

    def insist(self) -> None:
        """Raises StoreUnknown unless the store is known."""
        if not self.known():
            raise self.beside().error()

    def mark(self, pipelines: tuple[str, ...] = ()) -> None:
        """From now on the store is this installation's. ``pipelines``: those that had runs in an earlier store.
        Idempotent."""
        with translate():
            pipe = self._client.pipeline(transaction=True)
            if pipelines:
                pipe.sadd(self._records[0], *pipelines)
            pipe.set(self.mark_key, f"{time.time():.0f}", nx=True)
            pipe.delete(self._beside)
            pipe.execute()

    def note(self, beside: Beside) -> None:
        """Keeps what was found beside an unknown store, for people."""
        with translate():
            self._client.set(self._beside, codec.dump(beside))

    def beside(self) -> Beside:
        """What was found beside an unknown store; nothing if nobody has looked yet."""
        with translate():
            text = self._reader.fact(self._client, "unknown")
        return codec.load(Beside, text) if text else Beside()

    def still(self, mark: str | None) -> None:
        """Raises StoreUnknown if this process knew the store, and an empty one has taken its place since. ``mark``: the
        value of ``mark_key``."""
        if self._seen and not mark:
            raise Beside().error()
