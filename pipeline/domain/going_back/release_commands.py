"""Which release commands have run in an environment, and which a revert goes across. Pure rules.

A release command runs once for each release in each environment. Releases that earlier versions made have no entry in
``Environment.commands``, and neither have those that were taken up after a store was lost: those that were good there
had run theirs.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from pipeline.config.workload.release import ReleaseCommand
from pipeline.domain.environment import CommandRun, Environment
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run
from pipeline.errors import DamagedRecord, NotFound

KEPT = 200  # releases whose commands an environment remembers


@dataclass(frozen=True)
class Crossed:
    """A release whose command has run in an environment and not been undone, while a revert goes to one before it."""

    release: int
    command: tuple[str, ...]
    back: tuple[str, ...]
    reversible: bool

    @property
    def name(self) -> str:
        return f"r{self.release}"

    @property
    def commands(self) -> tuple[str, str]:
        """Its release command and its `back`, as a shell would be given them."""
        return shlex.join(self.command), shlex.join(self.back)


def command_of(environment: Environment, release: Release) -> ReleaseCommand:
    """Its release command there; an empty one if it was made without that environment."""
    rendered = release.environments.get(environment.name)
    return rendered.service.release if rendered else ReleaseCommand()


def stands(environment: Environment, release: Release) -> bool:
    """Whether its command has run there and was not undone since."""
    if not command_of(environment, release).command:
        return False
    entry = _entry(environment, release.number)
    if entry is not None:
        return not entry.undone
    # Made by an earlier version, or the records were lost with the store.
    return release.number in environment.good and not (release.form and environment.commands)


def is_due(environment: Environment, release: Release, kind: Kind) -> bool:
    """Whether the release's command runs before it starts there. A revert runs it only if it has been undone."""
    if not command_of(environment, release).command or stands(environment, release):
        return False
    return kind != Kind.REVERT or is_undone(environment, release.number)


def is_undone(environment: Environment, release: int) -> bool:
    """Whether its command has run there and was undone since."""
    entry = _entry(environment, release)
    return entry is not None and entry.undone > 0


def with_ran(environment: Environment, release: int, run: Run, now: float) -> Environment:
    """Its command has succeeded."""
    return _with(environment, CommandRun(release, run.number, now))


def with_undone(environment: Environment, release: int, run: Run, now: float) -> Environment:
    """Its `back` has succeeded."""
    entry = _entry(environment, release) or CommandRun(release, run.number, now)
    return _with(environment, replace(entry, undone=now))


def crossed(
    environment: Environment, target: int, release_of: Callable[[int], Release]
) -> tuple[Crossed, ...]:
    """What a revert to ``target`` goes across, newest first. ``release_of``: the records by their numbers; one that is
    not found or not readable is left out."""
    numbers = {one.release for one in environment.commands} | set(environment.good)
    found = []
    for number in sorted((number for number in numbers if number > target), reverse=True):
        with suppress(NotFound, DamagedRecord):
            release = release_of(number)
            if stands(environment, release):
                own = command_of(environment, release)
                found.append(Crossed(number, own.command, own.back, own.reversible))
    return tuple(found)


def irreversible(found: Iterable[Crossed]) -> tuple[Crossed, ...]:
    """Those that a revert is asked about, newest first."""
    return tuple(one for one in found if not one.reversible)


def _entry(environment: Environment, release: int) -> CommandRun | None:
    return next((one for one in environment.commands if one.release == release), None)


def _with(environment: Environment, entry: CommandRun) -> Environment:
    others = (one for one in environment.commands if one.release != entry.release)
    return replace(environment, commands=(*others, entry)[-KEPT:])
