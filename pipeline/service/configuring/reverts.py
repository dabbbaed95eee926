"""What a changed configuration does to *revert ready* in an environment."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Pipeline
from pipeline.deploy.going_back.readiness import missing_images, revert_readiness
from pipeline.domain.environment import Environment, SlotState
from pipeline.domain.release import Release
from pipeline.errors import DamagedRecord, NotFound
from pipeline.lib.units import write_duration
from pipeline.store import Store

STEPS = ("start", "smoke", "switch")  # of a revert to a release that is not warm


def after(store: Store, environment: Environment, serving: Release, wanted: Pipeline) -> str:
    """One or more sentences without the last full stop. ``serving``: the release that serves there; ``wanted``: the
    pipeline in the changed configuration, which has the environment."""
    now = revert_readiness(store, environment, missing_images(store, environment.pipeline))
    if serving.environments.get(environment.name) == wanted.render(environment.name):
        return f"no release is needed for this, so it stays as it is: {now['text']}"
    return ". ".join(_sentences(store, environment, serving, wanted, now))


def _sentences(
    store: Store, environment: Environment, serving: Release, wanted: Pipeline, now: dict[str, Any]
) -> list[str]:
    service, name = wanted.render(environment.name).service, serving.name
    warm = next((one for one in environment.slots.values() if one.state == SlotState.WARM), None)
    ends = f"the next deploy ends the warm r{warm.release}" if warm else "after the next deploy"
    again = f"starts {name} again, {_takes(store, environment)}"
    if service.one:
        told = f"{ends}; a revert then {again}, while requests wait (`one`)"
    elif not service.web:
        told = f"{ends}; a revert then {again}"
    elif wanted.keeps_warm(environment.name) and service.keep_warm:
        told = f"{ends}; {name} is then warm for {write_duration(service.keep_warm)}, and a revert to it is one switch"
    elif wanted.keeps_warm(environment.name):
        told = f"{ends}; with keep_warm 0 nothing is warm after the switch: a revert {again}"
    else:
        told = f"{ends}; nothing is kept warm here: a revert {again}"
    found = [told]
    if wanted.environment(environment.name).shift.steps and service.web:
        found.append(
            f"until the next release has all visitors (`shift`), a revert moves its own back to {name} at once"
        )
    if service.release.command and not service.release.reversible:
        found.append("a revert across the new release's command asks first (`reversible: false`)")
    if now["asks"]:
        found.append(f"now: {now['text']}")
    return found


def _takes(store: Store, environment: Environment) -> str:
    """How long that took when what serves was started last."""
    slot = environment.slots.get(environment.active) if environment.active else None
    try:
        run = store.run(environment.pipeline, slot.run) if slot else None
    except (NotFound, DamagedRecord):
        run = None
    steps = [one for one in run.steps if one.stage == environment.name and one.step in STEPS] if run else []
    seconds = sum(one.seconds for one in steps)
    return f"about {write_duration(max(1.0, round(seconds)))}" if steps else "about 1s"
