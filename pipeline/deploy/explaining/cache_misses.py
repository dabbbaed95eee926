"""Why a build did not find a step in its cache: asks git what changed since the last build."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.config.models import Pipeline
from pipeline.deploy.explaining import cache_facts
from pipeline.deploy.run_context import RunContext
from pipeline.domain.engine_types import Image
from pipeline.domain.measuring import missed
from pipeline.domain.measuring.missed import Built, Cause, Missed
from pipeline.domain.run import Run
from pipeline.errors import PushliveError
from pipeline.lib import dockerignore
from pipeline.lib.text import one_line
from pipeline.ports.builder import BuildRequest
from pipeline.ports.source import Source
from pipeline.store.configurations import Configurations

_BACK = 30  # runs in which the last build is looked for


@dataclass(frozen=True)
class _Earlier:
    """The run that built last, with the pipeline as it was for it."""

    run: Run
    pipeline: Pipeline
    bases: dict[str, str]


class CacheMisses:
    def __init__(self, context: RunContext, source: Source, configurations: Configurations) -> None:
        self._context, self._source, self._configurations = context, source, configurations

    def explain(self, pipeline: Pipeline, request: BuildRequest, image: Image) -> dict[str, Any] | None:
        """What is recorded with the build: ``{"line", "text", "seconds", "kind", "why", "file", "commit"}``; None if
        every step was cached, and for a pipeline's first build. What cannot be read is not explained: a build never
        fails by this."""
        try:
            file = missed.read(request.dockerfile)
            found = missed.first(file, image.ran)
            earlier = self._earlier() if found else None
            if found is None or earlier is None:
                return None
            cause = self._cause(pipeline, request, image, found, file, earlier)
            return {
                "line": found.line,
                "text": found.text,
                "seconds": round(found.seconds, 3),
                "kind": cause.kind,
                "file": cause.path,
                **self._with_commit(pipeline, cause, earlier),
            }
        except PushliveError:
            return None

    def _cause(
        self,
        pipeline: Pipeline,
        request: BuildRequest,
        image: Image,
        found: Missed,
        file: missed.Dockerfile,
        earlier: _Earlier,
    ) -> Cause:
        """Build arguments are compared as BuildKit was given them, those with the commit's id as well."""
        key, commit, build = self._context.run.pipeline, self._context.run.commit, earlier.pipeline.build
        path = posixpath.normpath(posixpath.join(build.context, build.dockerfile))
        text = self._source.read(key, earlier.pipeline.source, earlier.run.commit, path) or b""
        given = request.build.model_copy(update={"dockerfile": pipeline.build.dockerfile})
        commits = {
            name: earlier.run.commit
            for name, value in given.args.items()
            if value == commit and pipeline.build.args.get(name) != value
        }
        build = build.model_copy(update={"args": {**commits, **build.args}})
        now = Built(self._context.run.id, given, file, dict(image.bases))
        old = missed.read(text.decode("utf-8", "replace"))
        given_back = cache_facts.since(self._context.store, earlier.run.image_ready)
        before = Built(earlier.run.id, build, old, earlier.bases, given_back)

        def changed() -> Iterator[str]:
            rules = dockerignore.parse(request.dockerignore)
            folder = pipeline.build.context
            paths = self._source.changed(key, pipeline.source, commit, earlier.run.commit, folder)
            return (one for one in paths if not dockerignore.ignored(rules, one))

        return missed.cause(found, now, before, rebuild=request.rebuild, changed=changed)

    def _with_commit(self, pipeline: Pipeline, cause: Cause, earlier: _Earlier) -> dict[str, str]:
        """The clause, with the commit that changed the file if one is known."""
        if not cause.path:
            return {"why": cause.text, "commit": ""}
        run = self._context.run
        path = posixpath.normpath(posixpath.join(pipeline.build.context, cause.path))
        by = self._source.changed_by(run.pipeline, pipeline.source, run.commit, earlier.run.commit, path)
        if by is None:
            return {"why": cause.text, "commit": ""}
        said = f" “{one_line(by.message)[:60]}”" if by.message else ""
        which = f"{missed.path_text(cause.path)} in " if " more file" in cause.text else "in "
        text = f"{cause.text}, {which}" if which != "in " else f"{cause.text} {which}"
        return {"why": f"{text}{by.id[:7]}{said}", "commit": by.id}

    def _earlier(self) -> _Earlier | None:
        """The last run before this one that built its image, and whose record and configuration can be read."""
        run = self._context.run
        for one in self._context.store.recent(run.pipeline, _BACK, readable=True):
            bases = _built_from(one)
            if one.number < run.number and bases is not None:
                found = self._configurations.by_hash(one.config).pipelines.get(run.pipeline)
                return _Earlier(one, found, bases) if found else None
        return None


def _built_from(run: Run) -> dict[str, str] | None:
    """The images that the run's build started from; None if it built nothing."""
    for step in run.steps:
        if (step.stage, step.step, step.ok) == ("build", "build", True) and run.from_release is None:
            return dict(step.data["bases"]) if "bases" in step.data and step.detail != "reused" else None
    return None
