"""What a failed run reports: what failed, where, whose it is, the evidence, what differs, what to do next."""

from __future__ import annotations

import shlex
from dataclasses import replace

from pipeline.config.diff import differences
from pipeline.deploy.last_lines import advice_of
from pipeline.domain.environment import Environment
from pipeline.domain.going_back import release_commands
from pipeline.domain.release import Release
from pipeline.domain.run import Failure, Kind, Run
from pipeline.errors import (
    AccessoryFailed,
    AppFailed,
    ConfigError,
    DamagedRecord,
    EngineFailed,
    NotFound,
    OutcomeUnknown,
    Overtime,
    PushliveError,
    RepositoryFailed,
    RequestError,
    TimedOut,
    WrongRelease,
)
from pipeline.store import Store

_NEXT = {
    "application": "Push a fix.",
    "engine": "Fix the cause (see `pushlive doctor`), then `pushlive retry '{run}'`.",
    "repository": "Correct the repository and push, or `pushlive retry '{run}'`.",
    "configuration": "Correct pipelines.yaml (`pushlive check`), then `pushlive retry '{run}'`.",
    "accessory": "`pushlive accessory status` shows what is wrong; correct that, then `pushlive retry '{run}'`.",
}
_HELD = (
    "Find out what it has done. Then `pushlive resume {pipeline} --env {stage}`, and `pushlive retry '{run}'` or a "
    "revert."
)


def whose(error: PushliveError, stage: str = "") -> str:
    """Who can fix it: "application", "repository", "configuration", "accessory" or "engine"."""
    if isinstance(error, WrongRelease):
        return "engine"  # routing is Pushlive's task
    if isinstance(error, AppFailed | TimedOut | Overtime):
        return "application"
    if isinstance(error, AccessoryFailed):
        return "accessory"
    if isinstance(error, RepositoryFailed) or (isinstance(error, NotFound) and stage == "build"):
        return "repository"  # a build looks for nothing else: a commit, a repository
    if isinstance(error, ConfigError | RequestError):
        return "configuration"
    return "engine"


def card(run: Run, error: PushliveError) -> Failure:
    """The card for that error; ``compared`` adds what differs."""
    step = next((s for s in reversed(run.steps) if not s.ok), None)
    stage = step.stage if step else run.stage or run.stages[0]
    kind = whose(error, stage)
    evidence, facts = (
        (error.evidence, error.facts) if isinstance(error, AppFailed | EngineFailed) else ((), 0)
    )
    advice = advice_of(evidence) or error.advice
    if advice and error.again:
        advice += f" Then `pushlive retry '{run.id}'`."
    following = _HELD if isinstance(error, OutcomeUnknown) else _NEXT[kind]
    advice = advice or following.format(run=run.id, pipeline=run.pipeline, stage=stage)
    name = step.step if step else "enter"
    return Failure(stage, name, kind, error.message, advice, evidence, facts=facts)


def compared(failure: Failure, run: Run, store: Store) -> Failure:
    """The card with what differs from the last good release of the environment it failed in, with what a release
    command has changed there already, that the release is in quarantine there, and what a revert has left."""
    changed = _changed(run, failure, store)
    more = (failure.advice, _quarantined(run, failure, store), changed, *left_by_revert(run, store))
    advice = " ".join(filter(None, more))
    return replace(failure, differs=_differs(run, failure.stage, store), advice=advice)


def _quarantined(run: Run, failure: Failure, store: Store) -> str:
    """That a retry would stop before the environment; "" if it would not, or the card is about just that."""
    stage, number = failure.stage, run.release
    if number is None or stage == "build" or failure.step == "enter":
        return ""
    try:
        environment = store.environment(run.pipeline, stage)
    except DamagedRecord:
        return ""
    if environment is None or not any(one.release == number for one in environment.quarantine):
        return ""
    return (
        f"r{number} is in quarantine in {stage}: a retry needs `pushlive unquarantine {run.pipeline} r{number} "
        f"--env {stage}` first."
    )


def left_by_revert(run: Run, store: Store) -> list[str]:
    """The hold and the quarantine that a revert sets before it starts, each with the command that lifts it; [] for any
    other run. Both stay when it fails: a person has said that what serves is bad, and only a person can say that it is
    not."""
    if run.kind != Kind.REVERT:
        return []
    try:
        environment = store.environment(run.pipeline, run.stages[-1])
    except DamagedRecord:
        return []
    return left_by(run, environment) if environment else []


def left_by(run: Run, environment: Environment) -> list[str]:
    """What a revert that did not take place has left in the environment, each with the command that undoes it."""
    name, said = environment.name, []
    if environment.hold:
        said.append(f"{name} stays held: `pushlive resume {run.pipeline} --env {name}` lets runs in.")
    said += [
        f"r{one.release}{' serves' if one.release == environment.serving else ''}, and stays in quarantine: "
        f"`pushlive unquarantine {run.pipeline} r{one.release} --env {name}` lets it in again."
        for one in environment.quarantine
        if one.since == run.accepted and one.release != run.release
    ]
    return said


def _changed(run: Run, failure: Failure, store: Store) -> str:
    """What stays of a release command although the run failed after it; "" if there is nothing."""
    stage, number = failure.stage, run.release
    if failure.step == "release" or number is None or stage == "build":
        return ""
    try:
        environment, release = store.environment(run.pipeline, stage), store.release(run.pipeline, number)
    except (NotFound, DamagedRecord):
        return ""
    if environment is None or environment.serving == number:
        return ""
    serving = environment.serving
    revert = f"pushlive revert {run.pipeline} --env {stage} --to r{serving}"
    if run.kind == Kind.REVERT:
        undone = [one for one in run.back if release_commands.is_undone(environment, one)]
        if serving not in undone:
            return ""
        return (
            f"`back` of r{serving} had succeeded, and r{serving} still serves {stage} with what that left: "
            f"`pushlive retry '{run.id}'` goes on, `{revert}` runs its release command again."
        )
    if not release_commands.stands(environment, release):
        return ""
    own = release_commands.command_of(environment, release)
    text = (
        f"The release command of {release.name} (`{shlex.join(own.command)}`) had succeeded in {stage}: what it "
        f"changed, such as the database, stays changed"
    )
    text += f" while r{serving} serves. Fix forward" if serving else ". Fix forward"
    if serving and own.back:
        return f"{text}, or `{revert} --back` runs `{shlex.join(own.back)}`."
    return f"{text}."


def _differs(run: Run, stage: str, store: Store) -> tuple[str, ...]:
    try:
        environment = store.environment(run.pipeline, stage if stage != "build" else run.stages[-1])
        if environment is None or environment.serving is None:
            return ()
        good = store.release(run.pipeline, environment.serving)
        bad = store.release(run.pipeline, run.release) if run.release else None
    except (NotFound, DamagedRecord):
        return ()
    found = []
    if good.commit != run.commit:
        found.append(f"commit {good.commit[:7]} → {run.short}  {run.message}".rstrip())
    if bad:
        found += _image_and_configuration(good, bad, stage)
    return tuple(found)


def _image_and_configuration(good: Release, bad: Release, stage: str) -> list[str]:
    same = good.image == bad.image
    found = ["the image is the same" if same else f"image {good.name} → {bad.name}"]
    if stage in good.environments and stage in bad.environments:
        found += differences(good.environments[stage], bad.environments[stage])
        found += _versions(good.secrets.get(stage, {}), bad.secrets.get(stage, {}))
    return found


def _versions(good: dict[str, int], bad: dict[str, int]) -> list[str]:
    return [
        f"secret {name}: version {good[name]} → {number}"
        for name, number in bad.items()
        if good.get(name, number) != number
    ]
