"""Whether a configuration that is sent would change anything: if not, no release is made of it."""

from __future__ import annotations

from pipeline.config import loading
from pipeline.domain.release import FORM, Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import newest
from pipeline.errors import ConfigError, DamagedRecord, NotFound
from pipeline.store import Store
from pipeline.store.configurations import Configurations


def made_by(
    store: Store, configurations: Configurations, pipeline: str, text: str, number: int
) -> Run | None:
    """The run that made the release of that number, if it serves in every environment, nothing newer is on its way, and
    a release of its image with the configuration in ``text`` would be the same; otherwise None."""
    try:
        release = store.release(pipeline, number)
        run = store.run(pipeline, release.run)
        if store.open_runs(pipeline) or not _serves_everywhere(store, release):
            return None
        made, sent = configurations.by_hash(run.config), loading.load(text)
    except (NotFound, DamagedRecord, ConfigError):
        return None
    wanted = sent.pipelines[pipeline]
    if (made.pipelines.get(pipeline), made.accessories) != (wanted, sent.accessories) or release.form != FORM:
        return None
    names = {env: wanted.render(env).service.secrets for env in wanted.environments}
    try:
        same = newest(store.secrets(pipeline), pipeline, names) == release.secrets
    except ConfigError:
        return None
    return run if same else None


def _serves_everywhere(store: Store, release: Release) -> bool:
    found = store.environments(release.pipeline)
    return all(name in found and found[name].serving == release.number for name in release.environments)
