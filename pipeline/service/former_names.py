"""What was live under the name that an environment or a pipeline had before: no revert goes back to it, since its
release was made for that name, but its commit can be deployed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from pipeline.config.models import Config, Source
from pipeline.config.previews.names import is_preview
from pipeline.domain.run import Outcome, Run
from pipeline.errors import ConfigError, DamagedRecord, NotFound
from pipeline.store import Store
from pipeline.store.configurations import Configurations

RECENT = 50  # runs that are looked at


def last_live(store: Store, configurations: Configurations, pipeline: str, name: str) -> Run | None:
    """The newest run that went live in an environment that pipelines.yaml had in the place of ``name``: in one of the
    pipeline that is no longer there, or in a pipeline of the same repository that is no longer there."""
    try:
        config = configurations.current()[1]
    except ConfigError:
        return None
    own = config.pipelines.get(pipeline)
    if own is None or name != own.stages[-1] or is_preview(pipeline):
        return None
    gone = [one for one in store.pipelines() if one not in config.pipelines and not is_preview(one)]
    for former in (pipeline, *gone):
        for run in _live(store, former):
            if former != pipeline and not _same_repository(configurations, run, config, pipeline):
                break
            if former != pipeline or run.stages[-1] not in own.environments:
                return run
    return None


def _live(store: Store, pipeline: str) -> Iterator[Run]:
    """Its runs that went live, newest first, as far as they can be read."""
    with suppress(DamagedRecord):
        for run in store.recent(pipeline, RECENT):
            if run.outcome == Outcome.LIVE and run.commit:
                yield run


def _same_repository(configurations: Configurations, run: Run, config: Config, pipeline: str) -> bool:
    """Whether the run's pipeline was of the repository of ``pipeline``."""
    try:
        then = configurations.by_hash(run.config).pipelines[run.pipeline].source
    except (ConfigError, NotFound, KeyError):
        return False
    return _address(then, run.pipeline) == _address(config.pipelines[pipeline].source, pipeline)


def _address(source: Source, pipeline: str) -> str:
    return source.url or source.repository or pipeline
