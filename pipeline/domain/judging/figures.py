"""Where the figures of an environment come from. Pure."""

from __future__ import annotations

from pipeline.config.engines import kind_of
from pipeline.config.judging.metrics import Metrics
from pipeline.config.models import Config
from pipeline.domain.environment import Environment
from pipeline.domain.naming import service_name

PROXY, PROMETHEUS = "proxy", "prometheus"
NO_LATENCY = "`metrics` has queries of its own, but none for `latency`"
TIMES_ALIKE = "the query for `latency` does not tell the two releases apart ($pods or $slot would)"
HEALTH_ALONE = "its requests are not counted (no `metrics`): it is watched by restarts and readiness alone"


def configured(config: Config, environment: Environment) -> Metrics | None:
    """The Prometheus that counts for it; None if its engine counts, and if none is named."""
    pipeline = config.pipelines.get(environment.pipeline)
    if kind_of(environment.engine).proxied or not pipeline or environment.name not in pipeline.environments:
        return None
    return pipeline.environment(environment.name).metrics


def source(config: Config, environment: Environment) -> str:
    """PROXY, PROMETHEUS, or "" if nothing counts."""
    if kind_of(environment.engine).proxied:
        return PROXY
    return PROMETHEUS if configured(config, environment) else ""


def stands_for(pipeline: str, environment: str, slot: str, namespace: str) -> dict[str, str]:
    """What the words in the queries of ``metrics`` stand for (``metrics.WORDS``)."""
    service = service_name(pipeline, environment)
    return {
        "namespace": namespace,
        "service": service,
        "slot": slot,
        "pods": f"{service}-{slot}-.*",
        "pipeline": pipeline,
        "environment": environment,
    }


def problem_name(environment: str) -> str:
    """The fact in which the store has why there are no figures. ``environment``: its id."""
    return f"metrics-problem:{environment}"


def latency_problem_name(environment: str) -> str:
    """The fact in which the store has why answers are not compared by time. ``environment``: its id."""
    return f"latency-problem:{environment}"
