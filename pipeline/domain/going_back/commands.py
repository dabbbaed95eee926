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
    asked = irreversible(found)
    if not asked or asked[0].release == across:
        return None
    newest = asked[0]
    command = f"pushlive revert {environment.pipeline} --env {environment.name} --to r{target}"
    anyway = f"To go back all the same: `{command}{' --back' if back else ''} --across {newest.name}`."
    undone = tuple(one for one in asked if one.back)
    undo = ""
    if undone:
        what = "it" if len(asked) == 1 else _listed(one.name for one in undone)
        by = _listed(f"`{one.commands[1]}`" for one in undone)
        undo = f"To undo {what} first with {by}: `{command} --back`. "
    return Doubt(why(environment.name, target, asked), undo + anyway)


def why(environment: str, target: int, asked: tuple[Crossed, ...]) -> str:
    """What a person has to know of these, newest first, as a sentence without a full stop."""
    names, by = _listed(one.name for one in asked), _listed(f"`{one.commands[0]}`" for one in asked)
    if len(asked) == 1:
        return (
            f"{names} has run its release command in {environment} ({by}) and says `reversible: false`, so r{target} "
            "may not work with what it has changed"
        )
    return (
        f"{names} have run their release commands in {environment} ({by}) and say `reversible: false`, so r{target} "
        "may not work with what they have changed"
    )


def _listed(texts: Iterable[str]) -> str:
    """``a, b and c``, each once."""
    *first, last = dict.fromkeys(texts)
    return f"{', '.join(first)} and {last}" if first else last
