"""What a revert without a named release goes back from. It is refused when the person may have something else in mind
than what it would take back. Pure rules."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Outcome, Run, State
from pipeline.domain.slots import target_before
from pipeline.lib.units import show_age

JUST = 120.0  # seconds after which people know what was done


@dataclass(frozen=True)
class Scene:
    """What is known when a revert is asked for. ``placed``: the run that put ``serving`` there; ``runs``: those that
    have not ended, and the latest ones; ``now``: seconds since the epoch."""

    environment: Environment
    serving: Release | None
    placed: Run | None
    runs: tuple[Run, ...]
    now: float

    def about(self) -> str:
        """What serves, in words."""
        if self.serving is None:
            return "no release"
        message = f" “{self.serving.message}”" if self.serving.message else ""
        text = f"{self.serving.name} ({self.serving.commit[:7]}{message}"
        if self.placed and self.placed.ended:
            by = self.placed.by or self.placed.pusher
            text += f", by {self.placed.id}" + (f" of {by}" if by else "") + f" {self.ago(self.placed.ended)}"
        return text + ")"

    def ago(self, when: float) -> str:
        return f"{show_age(self.now - when)} ago"

    def is_recent(self, when: float) -> bool:
        return 0 <= self.now - when < JUST


@dataclass(frozen=True)
class Doubt:
    """Why nothing is done, and the commands that do it or something else."""

    why: str
    advice: str


def moved_on(scene: Scene, shown: int | None, run: Run | None) -> Doubt | None:
    """If ``shown``, the release that the person saw there, or the release of ``run`` does not serve."""
    environment = scene.environment
    if shown is not None and environment.serving != shown:
        why = f"{environment.name} does not serve r{shown}: it serves {scene.about()}"
        return Doubt(why, _instead(environment))
    if run is None or (run.release is not None and environment.serving == run.release):
        return None
    how = "does not serve" if run.outcome == Outcome.LIVE else "never came to serve"
    release = f" (r{run.release})" if run.release else ""
    why = f"{run.id}{release} {how} {environment.name}: it serves {scene.about()}"
    return Doubt(why, _instead(environment))


def under_way(scene: Scene) -> Doubt | None:
    """If another revert of the environment has not ended."""
    environment = scene.environment
    reverts = (run for run in scene.runs if run.kind == Kind.REVERT and run.state != State.ENDED)
    found = next((run for run in reverts if run.stages[-1] == environment.name), None)
    if found is None:
        return None
    by = f" by {found.by}" if found.by else ""
    since = f"({found.id}, {scene.ago(found.accepted)})"
    why = f"{environment.name} is already being reverted to r{found.release}{by} {since}"
    further = _further(environment, found.release, f"To go further back than r{found.release}")
    return Doubt(why, f"`pushlive follow '{found.id}'` shows it. {further}".strip())


def unlike(scene: Scene) -> Doubt | None:
    """If live was just reverted, or if a run that a person wants to take back does not serve."""
    environment, placed = scene.environment, scene.placed
    if scene.serving is None:
        return None
    if placed and placed.kind == Kind.REVERT and scene.is_recent(placed.ended):
        by = f" by {placed.by}" if placed.by else ""
        to, when = scene.serving.name, scene.ago(placed.ended)
        why = f"{environment.name} was just reverted to {to}{by}, {when} ({placed.id})"
        return Doubt(why, _further(environment, environment.serving, "To go further back"))
    found = _not_serving(scene)
    if found is None:
        return None
    release = f" (r{found.release})" if found.release else ""
    how = (
        f"{found.outcome} {scene.ago(found.ended)}"
        if found.state == State.ENDED
        else f"is at work in {environment.name}"
    )
    why = f"{found.id}{release} {how} and does not serve: {environment.name} serves {scene.about()}"
    stop = "" if found.state == State.ENDED else f"To stop the run: `pushlive cancel '{found.id}'`. "
    further = _further(environment, environment.serving, f"To take {scene.serving.name} back as well")
    return Doubt(why, (stop + further).strip())


def _not_serving(scene: Scene) -> Run | None:
    """The newest run after the one that serves, if it is at work there, or just failed or was cancelled."""
    record = scene.environment.slots.get(scene.environment.active or "")
    serves = record.run if record else 0
    newer = [run for run in scene.runs if run.kind != Kind.REVERT and run.number > serves]
    found = [run for run in newer if _is_meant(scene, run)]
    return max(found, key=lambda run: run.number, default=None)


def _is_meant(scene: Scene, run: Run) -> bool:
    if run.state == State.ENDED:
        return run.outcome in (Outcome.FAILED, Outcome.CANCELLED) and scene.is_recent(run.ended)
    return run.state == State.RUNNING and run.stage == scene.environment.name


def _instead(environment: Environment) -> str:
    further = _further(environment, environment.serving, f"To take r{environment.serving} back")
    return further or "There is no earlier good release; `pushlive runs` lists all releases for `--to rN`."


def _further(environment: Environment, release: int | None, why: str) -> str:
    """The command that goes back from that release, "" if there is nothing before it."""
    target = target_before(environment, release)
    if target is None or release is None:
        return ""
    return f"{why}: `pushlive revert {environment.pipeline} --env {environment.name} --to r{target}`."
