"""What a preview is: a pipeline with one environment, made from its pipeline. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.config.models import Config, Environment, Pipeline
from pipeline.config.previews.names import pipeline_of, short_of
from pipeline.config.sleep.sleep_rules import impossible
from pipeline.config.workload.bake import Bake

# What an environment says about its place among the others, or about its visitors: a preview has none of it.
_NOT_TAKEN = (
    *("host", "hosts", "https", "hsts", "redirect_hosts"),
    *("promote", "shift", "bake", "judge", "metrics", "parity", "differs"),
)
# What the last environment of a pipeline does by default, and a preview does not.
_NOTHING = {"keep_warm": 0.0, "bake": Bake(lasts=0.0)}
SLEEP_AFTER = 3600.0  # seconds without a request, where `from` says nothing


class Wanted(NamedTuple):
    """``url``: of the repository that has the branch, "" if it is the pipeline's own."""

    name: str
    branch: str
    url: str = ""


def with_previews(config: Config, wanted: Iterable[Wanted]) -> Config:
    """The configuration with a pipeline for each of them, as far as their pipelines have previews."""
    found = {one.name: made for one in wanted if (made := preview(config, one))}
    return config.model_copy(update={"pipelines": {**config.pipelines, **found}}) if found else config


def preview(config: Config, wanted: Wanted) -> Pipeline | None:
    """None if the configuration has no previews of that pipeline."""
    name = pipeline_of(wanted.name)
    pipeline = config.pipelines.get(name)
    keys = pipeline.previews if pipeline else None
    if pipeline is None or keys is None or keys.from_ not in pipeline.environments:
        return None
    own = pipeline.environment(keys.from_)
    kept = {key: getattr(own, key) for key in own.model_fields_set if key not in _NOT_TAKEN}
    host = keys.host.replace("*", short_of(wanted.name)) or None
    environment = Environment.model_construct(
        **{**kept, "host": host, **_NOTHING}, _fields_set={*kept, "host", *_NOTHING}
    )
    if "sleep_after" not in kept:
        environment = _sleeping(pipeline, wanted.name, environment)
    source = pipeline.source.model_copy(
        update={
            "repository": "" if wanted.url else config.repository_of(name),
            "url": wanted.url or pipeline.source.url,
            "branch": wanted.branch,
        }
    )
    return pipeline.model_copy(
        update={
            "source": source,
            "environments": {wanted.name: environment},
            "notify": (),
            "freeze": (),
            "accept": {},
            "previews": None,
        }
    )


def _sleeping(pipeline: Pipeline, name: str, environment: Environment) -> Environment:
    """It sleeps while no one looks at it, if it can where it runs. A preview is no one's live environment."""
    found = environment.model_copy(update={"sleep_after": SLEEP_AFTER})
    before_another = pipeline.model_copy(update={"environments": {name: found, "live": None}})
    return environment if impossible(before_another, name) else found
