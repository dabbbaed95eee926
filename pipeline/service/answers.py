"""What is shown about the answers of the release that serves, as the keeper last counted them."""

from __future__ import annotations

from typing import Any

from pipeline.config.models import Config
from pipeline.domain.environment import Environment, Trial
from pipeline.domain.judging import judgement
from pipeline.domain.judging.counts import Counted, fact_name, read
from pipeline.domain.judging.figures import (
    HEALTH_ALONE,
    PROMETHEUS,
    latency_problem_name,
    problem_name,
    source,
)
from pipeline.domain.judging.latency import counts as timings
from pipeline.domain.judging.latency import judgement as latency
from pipeline.domain.run import Run
from pipeline.domain.watching import trials
from pipeline.lib import codec
from pipeline.store import Store


def shown(store: Store, environment: Environment | None) -> dict[str, Any] | None:
    """``{"release", "since", "requests", "errors", "verdict", "before", "needed", "text", "trial", "latency"}``, None
    if nothing is known of what serves. ``before``: the release that it is compared with, its requests and errors; None
    if there is none; ``trial``: see ``_trial``, None until it is worse; ``latency``: see ``latency.judgement.plain``.
    Times are seconds since the epoch."""
    if environment is None or environment.active is None:
        return None
    found, slot = read(store.facts.get(fact_name(environment.id))), environment.slots[environment.active]
    one = found.judged
    if one is None or (found.release, found.run) != (slot.release, slot.run):
        return None
    return {
        "release": found.release,
        "since": found.since,
        **codec.plain(one.new),
        "verdict": one.verdict.value,
        "before": {"release": one.before, **codec.plain(one.base)} if one.before else None,
        "needed": one.needed,
        "text": judgement.text(found),
        "trial": _trial(environment, trial) if (trial := trials.of(environment)) and trial.outcome else None,
        "latency": _latency(store, environment.id, found),
    }


def figures(store: Store, config: Config, environment: Environment | None) -> dict[str, str] | None:
    """``{"source", "problem", "text", "latency"}`` of what serves: ``source``: proxy, prometheus, or "" if its requests
    are not counted; ``problem``: why there are no figures now, "" if there are; ``text``: for people, "" if all is
    well; ``latency``: why answers are not compared by time although they are counted, for people, "" if they are. None
    if nothing serves."""
    if environment is None or environment.active is None:
        return None
    found = source(config, environment)
    problem = store.facts.get(problem_name(environment.id)) if found == PROMETHEUS else ""
    text = f"requests are not counted: {problem}" if problem else "" if found else HEALTH_ALONE
    untimed = store.facts.get(latency_problem_name(environment.id)) if found == PROMETHEUS else ""
    latency = f"answers are not compared by time: {untimed}" if untimed and not problem else ""
    return {"source": found, "problem": problem, "text": text, "latency": latency}


def of_run(store: Store, run: Run) -> list[dict[str, Any]]:
    """What followed when releases that the run brought were found to be worse, in the order of its environments."""
    records = store.environments(run.pipeline)
    found = (records[name] for name in run.stages if name in records)
    return [
        _trial(environment, one)
        for environment in found
        for one in environment.trials
        if one.run == run.number and one.outcome
    ]


def _trial(environment: Environment, trial: Trial) -> dict[str, Any]:
    """``state``: taken back, held, told or observed; ``judge``: observe or act; ``would``: what would have followed;
    ``revert``: the run that took it back; ``text``: for people."""
    return {
        "environment": environment.name,
        "release": trial.release,
        "run": f"{environment.pipeline}#{trial.run}",
        "judge": trial.judge,
        "state": trial.outcome.value if trial.outcome else "",
        "since": trial.since,
        "ended": trial.ended or None,
        "reason": trial.reason,
        "would": trial.would,
        "revert": f"{environment.pipeline}#{trial.revert}" if trial.revert else "",
        "text": trials.text(trial, environment.pipeline),
    }


def _latency(store: Store, environment: str, answers: Counted) -> dict[str, Any] | None:
    found = timings.read(store.facts.get(timings.fact_name(environment)))
    return latency.plain(found, answers.release, answers.run)
