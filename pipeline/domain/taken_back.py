"""What was reverted in one environment does not go on to the next one. Pure rules.

A release that an environment took back is kept out of the environments after it, until that environment has it again or
a person forces the promotion with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.domain.environment import Environment, TakenBack
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run
from pipeline.domain.slots import pair_of


@dataclass(frozen=True)
class Obstacle:
    """Why ``release`` of that run may not go on to ``to``."""

    run: Run
    release: Release
    to: str
    environment: str  # that took it back
    entry: TakenBack

    @property
    def why(self) -> str:
        by = f" by {self.entry.by}" if self.entry.by else ""
        return f"{self.release.name} was taken back in {self.environment}{by}: {self.entry.reason}"

    @property
    def again(self) -> str:
        """The command that puts the release back there."""
        return f"pushlive revert {self.run.pipeline} --env {self.environment} --to {self.release.name}"

    @property
    def force(self) -> str:
        return f"pushlive promote '{self.run.id}' --force --reason TEXT"

    @property
    def advice(self) -> str:
        return (
            f"`{self.again}` puts it back there, then `pushlive promote '{self.run.id}'`. "
            f"To promote it all the same: `{self.force}`."
        )


def before(run: Run, name: str) -> tuple[str, ...]:
    """The environments that the run goes through before that one."""
    there = run.stages[: run.stages.index(name)] if name in run.stages else ()
    return tuple(stage for stage in there if stage != "build")


def with_taken_back(environment: Environment, release: Release, revert: Run) -> Environment:
    """The environment, from which ``revert`` takes that release. The newest revert counts."""
    image, fingerprint = pair_of(environment, release)
    why = revert.reason or f"{revert.id} reverted it"
    entry = TakenBack(image, fingerprint, release.number, revert.number, why, revert.by, revert.accepted)
    others = (one for one in environment.taken_back if (one.image, one.fingerprint) != (image, fingerprint))
    return replace(environment, taken_back=(*others, entry)[-50:])


def entry_of(environment: Environment, release: Release) -> TakenBack | None:
    """The entry that says this release was taken back there, None if the environment has it."""
    if environment.name not in release.environments:
        return None
    pair = pair_of(environment, release)
    found = [one for one in environment.taken_back if (one.image, one.fingerprint) == pair]
    if not found:  # earlier versions kept the quarantine only
        found = [
            TakenBack(one.image, one.fingerprint, one.release, 0, one.reason, "", one.since)
            for one in environment.quarantine
            if (one.image, one.fingerprint) == pair
        ]
    if not found:
        return None
    stayed = environment.serving is not None and environment.pairs.get(environment.serving) == pair
    reverting = found[0].run and environment.interrupt == found[0].run
    return None if stayed and not reverting else found[0]  # a revert that failed took nothing back


def obstacle(run: Run, release: Release, to: str, environments: Iterable[Environment]) -> Obstacle | None:
    """What keeps the run out of ``to`` because an environment before it took the release back. ``environments``: the
    records, of which those before ``to`` count. None for a revert, and after a person forced it past that."""
    if run.kind == Kind.REVERT:
        return None
    names = before(run, to)
    found = [
        Obstacle(run, release, to, environment.name, entry)
        for environment in environments
        if environment.name in names and (entry := entry_of(environment, release))
    ]
    found = [one for one in found if one.entry.run > run.forced.get(to, -1)]
    return max(found, key=lambda one: one.entry.run, default=None)
