"""The record of an environment that cannot be read is made again from what runs there, if that is certain.

Certain is: one engine has the environment, its proxy says which slot serves, and the release that the containers name
is in the store and leads to these very containers. Then nothing is started, stopped or rerouted. The environment is
held, since its own holds and quarantines are lost; the damaged text is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from pipeline.deploy.heartbeat import holding
from pipeline.deploy.services import Services
from pipeline.domain import audit_chain, gates
from pipeline.domain.adoption import FoundEnvironment, FoundSlot, environment_of, spec_from
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import Environment, Slot
from pipeline.domain.release import Release
from pipeline.domain.slots import GOOD
from pipeline.errors import DamagedRecord, LeaseLost, NotFound, PushliveError, StoreUnavailable, TryAgain
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.adapters import Adapters
from pipeline.store import Lease, Transaction

BY = "keeper"  # who sets the hold
LOOKED_AT = 200  # runs


class Uncertain(Exception):
    """Why a record cannot be made again, as the rest of a sentence. No error: what runs goes on."""


class RepairRecords(Job):
    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._store, self._adapters = services.store, adapters
        self._failed_for = services.settings.failed_for
        self._changes: dict[str, Changes] = {}

    def run(self) -> list[str]:
        said: list[str] = []
        for pipeline in self._store.pipelines():
            try:
                damaged = self._store.damaged_environments(pipeline)
            except DamagedRecord:  # all of them at once; it is reported where they are read
                continue
            for name, text in damaged.items():
                said += self._one(pipeline, name, text)
        return said

    def _one(self, pipeline: str, name: str, text: str) -> list[str]:
        changes = self._changes.setdefault(f"{pipeline}/{name}", Changes())
        lease = self._store.leases.take(f"env:{pipeline}/{name}", "keeper")
        if lease is None:
            return []  # a run or a person is at work there
        try:
            with holding(self._store, lease) as held:
                return self._repaired(pipeline, name, text, held)
        except Uncertain as error:
            return changes.report(
                f"! the record of {pipeline}/{name} is damaged, and was not made again: {error}. What serves goes on. "
                "Restore a backup of the store (`pushlive restore FILE`), or see 'A record is damaged' in "
                "docs/operations.md."
            )
        except (StoreUnavailable, LeaseLost):
            raise
        except TryAgain:
            return []  # the next round asks again
        except PushliveError as error:
            return changes.report(
                f"! the record of {pipeline}/{name} is damaged, and was not made again: {error}"
            )

    def _repaired(self, pipeline: str, name: str, text: str, lease: Lease) -> list[str]:
        found = self._found(pipeline, name)
        specs = {one.ref.slot: spec for one in found.slots if (spec := self._spec(one))}
        if found.active is None or found.ambiguous:
            raise Uncertain("nothing says which of its slots serves")
        if found.active not in specs:
            raise Uncertain(f"what runs in {found.active} is not what a release in the store leads to")
        record = self._record(found, specs)

        def act(tx: Transaction) -> bool:
            with suppress(DamagedRecord):
                tx.environment(name)
                return False  # a person was faster
            tx.put_environment(record)
            tx.put_fact(f"damaged:{pipeline}/{name}", text)
            tx.record(
                audit_chain.entry(
                    BY,
                    "repair",
                    self._adapters.clock.now(),
                    pipeline=pipeline,
                    environment=name,
                    release=record.serving,
                    detail="its record was damaged",
                    before="a record that could not be read",
                    after=f"r{record.serving} serves; held",
                )
            )
            return True

        if not self._store.transact(pipeline, act, fence=lease):
            return []
        return [
            f"the record of {pipeline}/{name} was damaged, and was made again from what runs: r{record.serving} "
            f"serves. It is held, because what kept runs out of it before is lost: `pushlive resume {pipeline} --env "
            f"{name} --held-by {BY}`"
        ]

    def _found(self, pipeline: str, name: str) -> FoundEnvironment:
        """Raises EngineAway if an engine does not answer that may have it as well."""
        engines = self._adapters.engines
        every = (one for key in sorted(engines.in_use()) for one in engines.of(key).adoption.survey())
        found = [one for one in every if (one.pipeline, one.name) == (pipeline, name) and one.slots]
        if len(found) != 1:
            raise Uncertain("nothing runs there" if not found else "it runs on several engines")
        if found[0].index != self._store.index_of(found[0].id):
            raise Uncertain("what runs there has the index of another environment")
        return found[0]

    def _spec(self, one: FoundSlot) -> SlotSpec | None:
        """That of the release in the store, if it leads to exactly these containers."""
        try:
            release = self._store.release(one.ref.pipeline, one.release)
        except (NotFound, DamagedRecord):
            return None
        config = release.environments.get(one.ref.environment)
        if one.made is None or config != one.made.config:
            return None
        spec = spec_from(one, one.made)
        hashed = self._adapters.engines.of(one.ref.engine).adoption.spec_hash(spec, one.replica)
        return spec if hashed == one.spec else None

    def _record(self, found: FoundEnvironment, specs: Mapping[Slot, SlotSpec]) -> Environment:
        now = self._adapters.clock.now()
        releases = {spec.release: self._release(found, spec.release) for spec in specs.values()}
        record = environment_of(found, specs, releases, now, self._failed_for)
        verified = self._verified(found, record.serving)
        good = tuple(dict.fromkeys([*(one for one in verified if one not in record.good), *record.good]))
        pairs = {number: _pair(self._release(found, number), found.name) for number in good}
        reason = (
            "its record was damaged and made again from what runs; holds and quarantines of before are lost"
        )
        if record.hold and record.quarantine:
            reason = f"{reason}. {record.quarantine[-1].reason}"
        record = replace(record, good=good[-GOOD:], pairs=pairs, hold=None)
        return gates.hold(record, reason, BY, now)

    def _verified(self, found: FoundEnvironment, serving: int | None) -> list[int]:
        """The releases that were good there before the one that serves, oldest first, as far as the records of runs
        tell."""
        numbers: list[int] = []
        for run in self._store.recent(found.pipeline, LOOKED_AT, readable=True):
            if run.release and run.release < (serving or 0) and run.passed(found.name, "verify"):
                with suppress(NotFound, DamagedRecord):
                    if found.name in self._release(found, run.release).environments:
                        numbers.append(run.release)
        return sorted(set(numbers))

    def _release(self, found: FoundEnvironment, number: int) -> Release:
        return self._store.release(found.pipeline, number)


def _pair(release: Release, environment: str) -> tuple[str, str]:
    return release.image, release.fingerprint(environment)
