"""Which release commands a revert goes across that a person has to know of first. Pure rules."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.domain.environment import Environment
from pipeline.domain.going_back.release_commands import Crossed, irreversible
from pipeline.domain.going_back.reverts import Doubt


def unconfirmed(
    environment: Environment, target: int, found: Iterable[Crossed], across: int | None, back: bool = False
) -> Doubt | None:
    """If the newest of them that is not reversible is another one than ``across``, which the person was told of.
    ``back``: the others are undone."""
    crossed = tuple(found)
    newest = irreversible(crossed)
    if newest is None or newest.release == across:
        return None
    command = f"pushlive revert {environment.pipeline} --env {environment.name} --to r{target}"
    anyway = f"To go back all the same: `{command}{' --back' if back else ''} --across {newest.name}`."
    undo = f"To undo it first with `{newest.commands[1]}`: `{command} --back`. " if newest.back else ""
    return Doubt(why(environment.name, target, newest), undo + anyway)


def why(environment: str, target: int, newest: Crossed) -> str:
    """What a person has to know, as a sentence without a full stop."""
    return (
        f"{newest.name} has run its release command in {environment} (`{newest.commands[0]}`) and says "
        f"`reversible: false`, so r{target} may not work with what it has changed"
    )
