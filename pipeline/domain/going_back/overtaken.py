"""What the retry of an old run would take back: a newer run that serves, or that is on its way. Pure rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run


@dataclass(frozen=True)
class Newer:
    """The newest run that came after ``run``. ``release``: its number, None if it has none yet; ``serves``: the
    environment, "" while it is on its way."""

    run: Run
    number: int
    release: int | None
    about: str  # its commit and message
    serves: str

    @property
    def id(self) -> str:
        return f"{self.run.pipeline}#{self.number}"

    @property
    def why(self) -> str:
        """What a person has to know before it is taken back."""
        release = f"r{self.release}, " if self.release else ""
        does = f"serves {self.serves}" if self.serves else f"is on its way to {self.run.stages[-1]}"
        return (
            f"{self.id} ({release}{self.about}) is newer than {self.run.id} and {does}. "
            f"A retry puts {_about(self.run.commit, self.run.message)} in its place"
        )

    @property
    def command(self) -> str:
        return f"pushlive retry '{self.run.id}' --over '{self.id}'"


def newer(
    run: Run,
    environment: Environment | None,
    serving: Release | None,
    placed: Run | None,
    open_runs: Iterable[Run],
) -> Newer | None:
    """None if a retry of ``run`` takes nothing back. ``environment``: its last one, which has ``serving``, put there by
    the run ``placed``; ``open_runs``: those of the pipeline."""
    found = [
        Newer(run, one.number, one.release, _about(one.commit, one.message), "")
        for one in open_runs
        if one.kind != Kind.REVERT and one.number > run.number
    ]
    if environment and serving:
        # What was put back by a revert is as old as it is.
        by_deploy = placed is not None and placed.kind != Kind.REVERT
        number = placed.number if placed and by_deploy else serving.run
        about = _about(serving.commit, serving.message)
        found.append(Newer(run, number, serving.number, about, environment.name))
    found = [one for one in found if one.number > run.number]
    return max(found, key=lambda one: (one.number, one.serves), default=None)


def _about(commit: str, message: str) -> str:
    return f"{commit[:7]} “{message}”" if message else commit[:7] or "the branch's head"
