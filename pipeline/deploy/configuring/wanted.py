"""What a webhook said of the configuration's repository: the keeper fetches it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.deploy.configuring.taking import KEEPER
from pipeline.domain.audit_chain import Actor, Who
from pipeline.lib import codec
from pipeline.store import Store

_WANTED = "config-wanted"


@dataclass(frozen=True)
class Wanted:
    """The last push that was reported. ``id``: of its delivery, "" if there was none yet."""

    id: str = ""
    commit: str = ""
    pusher: str = ""
    address: str = ""
    way: str = ""

    def who(self, commit: str) -> Who:
        """Who pushed that commit."""
        if self.id and commit == self.commit:
            return Actor(self.pusher, "", self.address, self.way)
        return KEEPER


def wanted(store: Store) -> Wanted:
    found = store.facts.get(_WANTED)
    return codec.load(Wanted, found) if found else Wanted()


def want(store: Store, asked: Wanted) -> None:
    """From now on this one is wanted. Idempotent."""
    store.facts.set(_WANTED, codec.dump(asked))
