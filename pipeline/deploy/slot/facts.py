"""What the store has of an environment beside its record, for those who remove it."""

from __future__ import annotations

from pipeline.deploy.cron import history
from pipeline.deploy.slot import failed_slot
from pipeline.domain.environment import SLOTS, Environment
from pipeline.domain.judging import counts
from pipeline.domain.judging.figures import latency_problem_name, problem_name
from pipeline.domain.judging.latency import counts as latency_counts
from pipeline.domain.shifting import times


def names(environment: Environment) -> tuple[str, ...]:
    """The names of its facts. Not those that are still to be written into a record of evidence, which go with that."""
    key = environment.id
    return (
        counts.fact_name(key),
        latency_counts.fact_name(key),
        times.fact_name(key),
        problem_name(key),
        latency_problem_name(key),
        f"problem:{key}",
        f"damaged:{key}",
        *(failed_slot.fact_name(environment, slot) for slot in SLOTS),
        *(history.fact_name(key, process) for process in sorted(environment.cron)),
    )
