"""Copies of volumes that were broken off: receivers are told, and what needs no person is settled."""

from __future__ import annotations

from pipeline.deploy.data.moves import VolumeMoves
from pipeline.deploy.data.unfinished import at_work, unfinished
from pipeline.deploy.services import Services
from pipeline.domain.volumes import UnfinishedCopy
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.maintenance.job import Job
from pipeline.notify import messages
from pipeline.ports.adapters import Adapters
from pipeline.store import Transaction


class UnfinishedVolumes(Job):
    """Nothing is copied here, and no volume removed: a copy that is not whole waits for the person who asked for it."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._store, self._clock = services.store, adapters.clock
        self._work = VolumeMoves(services, adapters)

    def run(self) -> list[str]:
        said: list[str] = []
        for one in unfinished(self._store):
            if not at_work(self._store, one.ref):
                said += self._one(one)
        return said

    def _one(self, one: UnfinishedCopy) -> list[str]:
        if self._is_moot(one):
            self._work.unfinished.end(one.ref)
            return [f"{one.ref} has all files of {one.source}, which is removed: the move of it is done"]
        if one.told and not one.whole:
            return []
        text = f"{one.text()}. {one.advice}"

        def tell(tx: Transaction, _: UnfinishedCopy) -> None:
            messages.unfinished(tx, one, self._users(one), self._clock.now())

        # Its files are whole, so nothing is left to be done but to say so.
        self._work.unfinished.tell(one.ref, tell, over=one.whole)
        return [f"! {text}"]

    def _is_moot(self, one: UnfinishedCopy) -> bool:
        try:
            return self._work.is_moot(one)
        except StoreUnavailable:
            raise
        except PushliveError:  # an engine does not answer
            return False

    def _users(self, one: UnfinishedCopy) -> tuple[str, ...]:
        """The pipelines whose receivers are told."""
        ref = one.ref
        if ref.kind == "pipeline":
            return (ref.owner,)
        config = self._work.config()
        using = [
            name
            for name, pipeline in config.pipelines.items()
            if ref.environment in pipeline.environments
            and any(use.accessory == ref.owner for use in pipeline.render(ref.environment).uses.values())
        ]
        record = self._store.accessories.get(ref.owner, ref.environment)
        return tuple(dict.fromkeys([*using, *(record.attached if record else ())]))
