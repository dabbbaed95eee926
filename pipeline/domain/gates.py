"""Whether a run may enter an environment: gates, holds, quarantine and the order of runs. Pure rules.

``may_enter`` is the one answer. It is asked before the environment's lease is taken, again under the lease, and again
in the transaction that records the intent to switch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.config.models import Pipeline
from pipeline.domain.environment import SLOTS, Environment, Hold, Quarantined
from pipeline.domain.promotion import approvals
from pipeline.domain.promotion.freezing import THAW, Frozen, thaw_command
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run, State
from pipeline.domain.shifting.rule import of_run
from pipeline.domain.slots import pair_of, switched
from pipeline.domain.taken_back import obstacle
from pipeline.errors import AppFailed, Superseded


@dataclass(frozen=True)
class Gate:
    """Why a run has to wait, and what lets it go on: "resume", "promote", a promotion that is forced ("force"), or a
    time (THAW)."""

    why: str
    command: str
    how: str = ""  # commands as they are typed, if one is not enough
    by_itself: bool = False  # the run goes on without anyone's command
    then: tuple[str, ...] = ()  # why it has to wait after that


def may_enter(
    pipeline: Pipeline,
    environment: Environment,
    release: Release,
    run: Run,
    open_runs: Iterable[Run],
    environments: Iterable[Environment] = (),
    in_force: Pipeline | None = None,
    frozen: Frozen | None = None,
    now: float = 0.0,
) -> Gate | None:
    """None if the run may enter now, else the gate at which it waits, for a person or for the end of a freeze.

    ``open_runs``: the pipeline's, once this run has the environment's lease. Before that, (): a newer run that has
    switched may still be at work there, and may go back. ``environments``: the pipeline's, of which those before this
    one may have taken the release back. ``pipeline``: by the run's configuration; ``in_force``: by the current one,
    whose gates hold as well. ``frozen``: what freezes the environment ``now``. Raises Superseded if a newer run serves
    there, and AppFailed if the release is in quarantine."""
    if any(switched(environment, run, slot) for slot in SLOTS):
        return None  # this run is in already: it was taken up again after a crash, and only has to verify
    is_in = of_run(environment, run.number) is not None
    _refuse_overtaken(environment, run, open_runs)
    entry = quarantined(environment, release)
    if entry:
        raise AppFailed(
            f"r{release.number} has the image and configuration of r{entry.release}, which is in quarantine in "
            f"{environment.name}: {entry.reason}",
            advice=f"Push a fix; or `pushlive unquarantine {run.pipeline} r{entry.release} "
            f"--env {environment.name}`, then `pushlive retry '{run.id}'`.",
        )
    found = (
        _held(environment, run),
        _taken_back(environment, release, run, environments),
        # What has a share of the traffic already is in, and may finish.
        None if is_in else _gate((pipeline, in_force), environment, run, now),
        None if is_in else _frozen(environment, run, frozen, now),
    )
    first, *others = [gate for gate in found if gate] or (None,)
    return replace(first, then=tuple(one.why for one in others if one)) if first else None


def _refuse_overtaken(environment: Environment, run: Run, open_runs: Iterable[Run]) -> None:
    """Forward only: raises Superseded if a newer run serves here already. That includes an open run that began to
    switch and was not verified yet: its worker died, and another one takes it up."""
    if run.kind == Kind.REVERT:
        return
    traffic = (environment.active, environment.switching)
    moved = {record.run for slot, record in environment.slots.items() if slot in traffic}
    at_it = (one.number for one in open_runs if one.kind != Kind.REVERT and one.number in moved)
    newer = next((number for number in (environment.newest_run, *at_it) if number > run.number), 0)
    if newer:
        raise Superseded(f"{run.pipeline}#{newer} is newer and serves {environment.name} already.")


def _held(environment: Environment, run: Run) -> Gate | None:
    if run.kind == Kind.REVERT or not environment.hold:
        return None
    why = f"{environment.name} is held: {environment.hold.reason} (by {environment.hold.by})"
    return Gate(why, "resume")


def _taken_back(
    environment: Environment, release: Release, run: Run, environments: Iterable[Environment]
) -> Gate | None:
    found = obstacle(run, release, environment.name, environments)
    if found is None:
        return None
    how = f"`{found.again}`, then `pushlive promote '{run.id}'`; or `{found.force}`"
    return Gate(found.why, "force", how)


def _gate(
    pipelines: Iterable[Pipeline | None], environment: Environment, run: Run, now: float
) -> Gate | None:
    """The manual promotion that keeps the run out, or None."""
    if run.kind == Kind.REVERT or not needs_promotion(pipelines, environment.name, run, now):
        return None
    rule = approvals.rule(pipelines, environment.name) or approvals.PLAIN
    return Gate(approvals.text(run, environment.name, rule, now), "promote")


def needs_promotion(pipelines: Iterable[Pipeline | None], environment: str, run: Run, now: float) -> bool:
    """True if people have to promote the run into that environment, and not enough of them have."""
    rule = approvals.rule(pipelines, environment)
    return rule is not None and not approvals.enough(run, environment, rule, now)


def _frozen(environment: Environment, run: Run, found: Frozen | None, now: float) -> Gate | None:
    if run.kind == Kind.REVERT or found is None:
        return None
    how = f"`{thaw_command(run.pipeline, environment.name)}`"
    return Gate(found.text(environment.name, now), THAW, how, by_itself=found.until > 0)


def quarantined(environment: Environment, release: Release) -> Quarantined | None:
    """The entry that keeps this release out; a corrected configuration or a new image is another pair."""
    pair = pair_of(environment, release)
    return next((q for q in environment.quarantine if (q.image, q.fingerprint) == pair), None)


def with_quarantine(environment: Environment, release: Release, reason: str, now: float) -> Environment:
    """The environment with that release's pair in quarantine. Idempotent."""
    if quarantined(environment, release):
        return environment
    entry = Quarantined(*pair_of(environment, release), release.number, reason, now)
    return replace(environment, quarantine=(*environment.quarantine, entry))


def interrupted(environment: Environment, run: Run, open_runs: Iterable[Run]) -> bool:
    """True if a revert of this environment is due or running: it wins over every other run."""
    number = environment.interrupt
    return number not in (0, run.number) and any(other.number == number for other in open_runs)


def hold_text(hold: Hold | None) -> str:
    """``held by ann: lunch``, or ``not held``."""
    return f"held by {hold.by}: {hold.reason}" if hold else "not held"


def hold(environment: Environment, reason: str, by: str, now: float) -> Environment:
    return replace(environment, hold=Hold(reason, by, now))


def also_held(environment: Environment, reason: str) -> Environment:
    """The environment, which is held, for this reason as well."""
    if environment.hold is None or reason in environment.hold.reason:
        return environment
    return replace(environment, hold=replace(environment.hold, reason=f"{environment.hold.reason}. {reason}"))


def waiting_at(runs: tuple[Run, ...], gate_name: str) -> tuple[Run, ...]:
    """Runs that wait before that environment, oldest first."""
    return tuple(run for run in runs if run.state == State.WAITING and run.gate == gate_name)
