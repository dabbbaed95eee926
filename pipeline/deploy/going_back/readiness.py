"""*Revert ready*: what `pushlive revert` would do now. `status`, a run's last lines and the page say the same."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pipeline.config.engines import kind_of
from pipeline.deploy.slot import in_turn
from pipeline.domain import secret_versions, slots
from pipeline.domain.environment import Environment, other
from pipeline.domain.going_back import by_itself, commands, release_commands
from pipeline.domain.going_back import warm as warm_slots
from pipeline.domain.shifting import rule as shifting
from pipeline.errors import ConfigError, DamagedRecord, NotFound
from pipeline.store import Store


def missing_images(store: Store, pipeline: str) -> frozenset[int]:
    """Releases whose image the keeper did not find on the Engine."""
    return frozenset(json.loads(store.facts.get(f"missing:{pipeline}") or "[]"))


def revert_readiness(
    store: Store, environment: Environment | None, missing: frozenset[int]
) -> dict[str, Any]:
    """What `pushlive revert` would do now: ``{"ready", "release", "how", "text", "across", "asks", "backs",
    "by_itself", "instead"}``, the last two as in ``_with_by_itself``.
    ``across``: the newest release whose command it goes across and that is not reversible; ``asks``: what a person has
    to know of all such; ``backs``: the commands that ``--back`` would run first: ``{"release", "command"}``."""
    found = _revert_readiness(store, environment, missing) | {"by_itself": None, "instead": ""}
    crossed: tuple[release_commands.Crossed, ...] = ()
    if environment and found["release"] is not None:
        crossed = _crossed(store, environment, found["release"])
    asked = release_commands.irreversible(crossed)

    def can_come(target: int) -> bool:
        if environment is None or _not_ready(store, environment, target, missing):
            return False
        return not release_commands.irreversible(_crossed(store, environment, target))

    found["across"], found["asks"] = (asked[0].release if asked else None), ""
    found["backs"] = [{"release": one.release, "command": one.commands[1]} for one in crossed if one.back]
    if asked and environment:
        found["asks"] = commands.why(environment.name, found["release"], asked)
        names = [one.name for one in asked]
        found["text"] += (
            f", across the release command of {names[0]}, which is not reversible"
            if len(names) == 1
            else f", across the release commands of {', '.join(names[:-1])} and {names[-1]}, which are not reversible"
        )
    return _with_by_itself(environment, found, can_come) if environment else found


def _crossed(store: Store, environment: Environment, target: int) -> tuple[release_commands.Crossed, ...]:
    return release_commands.crossed(
        environment, target, lambda number: store.release(environment.pipeline, number)
    )


def _revert_readiness(
    store: Store, environment: Environment | None, missing: frozenset[int]
) -> dict[str, Any]:
    if environment and (found := _in_shift(environment)):
        return found
    target = slots.revert_target(environment) if environment else None
    if environment is None or target is None:
        why = slots.passed_over(environment) if environment else ""
        text = "not ready: no earlier good release" + (f", {why}" if why else "")
        return {"ready": False, "release": None, "how": "", "text": text}
    if why := _not_ready(store, environment, target, missing):
        return {"ready": False, "release": target, "how": "", "text": f"not ready: {why}"}
    if in_turn.instead(store, environment, target):  # what is warm has been stopped
        text = f"revert ready: r{target}, cold; requests wait until it has started (`one`)"
        return {"ready": True, "release": target, "how": "cold", "text": text}
    slot = other(environment.active) if environment.active else ""
    warm = bool(slot) and slots.is_warm(environment, slot, target)
    if why := warm_slots.failing(environment, target):
        back = warm_slots.further(environment, target)
        text = f"not ready: {why}" + (f". {back}" if back else "")
        return {"ready": False, "release": target, "how": "", "text": text}
    how = "warm" if warm else "cold"
    about = "warm" if warm else f"cold, about {_start_of(store, environment, target)} s"
    text = f"revert ready: r{target}, {about}"
    return {"ready": True, "release": target, "how": how, "text": text}


def _start_of(store: Store, environment: Environment, target: int) -> int:
    """Seconds, at least 1, that starting the release took in that environment; if its own run did not bring it there,
    what starting the one that serves took. 1 if neither is known."""
    with suppress(NotFound, DamagedRecord):
        if found := _started(store, environment, store.release(environment.pipeline, target).run):
            return found
    return (
        _started(store, environment, environment.slots[environment.active].run if environment.active else 0)
        or 1
    )


def _started(store: Store, environment: Environment, number: int) -> int:
    """Seconds that the start in that run took, rounded up; 0 if it did not start anything there that was not warm."""
    with suppress(NotFound, DamagedRecord):
        for one in reversed(store.run(environment.pipeline, number).steps):
            if (one.stage, one.step, one.ok) == (
                environment.name,
                "start",
                True,
            ) and ", warm" not in one.detail:
                return max(1, math.ceil(one.seconds))
    return 0


def _not_ready(store: Store, environment: Environment, target: int, missing: frozenset[int]) -> str:
    """Why the release cannot be started there again; "" if it can."""
    # Other engines take the image from the registry.
    if target in missing and kind_of(environment.engine).local:
        return f"the image of r{target} is gone"
    pipeline, name = environment.pipeline, environment.name
    try:
        release = store.release(pipeline, target)
        if name in release.environments and release.environments[name].service.all_secrets:
            secret_versions.chosen(store.secrets(pipeline), release, name)
    except (NotFound, ConfigError) as error:
        return error.message
    return ""


def _in_shift(environment: Environment) -> dict[str, Any] | None:
    """The same while a release has a part of the visitors; None if none has."""
    shift = shifting.wanted(environment)
    if shift is None:
        return None
    if why := warm_slots.failing(environment, shift.before):
        return {"ready": False, "release": shift.before, "how": "", "text": f"not ready: {why}"}
    text = f"revert ready: all visitors back to r{shift.before}, at once"
    return {"ready": True, "release": shift.before, "how": "warm", "text": text}


def _with_by_itself(
    environment: Environment, found: dict[str, Any], can_come: Callable[[int], bool]
) -> dict[str, Any]:
    """*Revert ready* with ``by_itself``: the release that takes the place of what serves if that fails now, without a
    person; None if none does. If it is another one than a revert by a person brings, the text says so, and ``instead``
    says why, else "". ``can_come``: whether a release can be put back without anyone's word."""
    by, asked, text = by_itself.watched_by(environment), found["release"], found["text"]
    if not by or shifting.wanted(environment):
        return found | {"by_itself": None, "instead": ""}
    target, instead = next((one for one in by_itself.targets(environment) if can_come(one)), None), ""
    if target not in (None, asked):
        instead = f"{by} goes back to r{target}"
        text += f"; {instead}"
        if found["ready"] and (why := by_itself.why_not(environment, asked)):
            instead += f", not to r{asked}: {why}"
    return found | {"by_itself": target, "instead": instead, "text": text}
