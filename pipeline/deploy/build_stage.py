"""The build stage: fetch ▶ build ▶ push. It ends with a release that is never rebuilt on its way."""

from __future__ import annotations

import hashlib
import json
import posixpath
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import IO

from pipeline.config.models import Pipeline
from pipeline.config.settings import Settings
from pipeline.deploy.run_context import RunContext
from pipeline.domain.engine_types import Image
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Run
from pipeline.domain.secret_versions import newest
from pipeline.errors import AppFailed, Superseded
from pipeline.ports.adapters import Adapters
from pipeline.ports.builder import BuildRequest
from pipeline.ports.clock import Watch
from pipeline.secrets.vault import Vault
from pipeline.store import Transaction

FETCH_TIMEOUT = 300.0  # seconds
PUSH_TIMEOUT = 60.0  # seconds; what goes to a registry may take as long as a build

NO_DOCKERFILE = """there is no {path} in commit {commit}. A minimal one:

    FROM python:3.12-slim
    WORKDIR /app
    COPY . .
    RUN pip install -r requirements.txt
    CMD ["python", "-m", "app"]
"""


def repository(instance: str, pipeline: str) -> str:
    """The image repository's name: the pipeline's own, prefixed where this is not the one installation."""
    return pipeline if instance == "pushlive" else f"{instance}/{pipeline}"


class BuildStage:
    """``head`` is the branch's head as the fetch found it."""

    def __init__(
        self, work: RunContext, parts: Adapters, pipeline: Pipeline, settings: Settings, vault: Vault
    ) -> None:
        self._work, self._adapters, self._pipeline, self._settings = work, parts, pipeline, settings
        self._vault = vault
        self._key = work.run.pipeline
        self.head = ""

    def go(self) -> None:
        """Leaves ``run.release`` set. Raises Superseded when the commit is not the head any more, and what
        ``Vault.ready`` does before anything is fetched."""
        if self._work.run.stage != "build":
            self._work.update(stage="build")
        if self._work.run.release is not None:  # taken up again after a crash: only the tag may be missing
            image = Image(self._work.store.release(self._key, self._work.run.release).image, True)
            self._push(image)
            return
        self._vault.ready(self._key, self._pipeline, tuple(self._pipeline.environments))
        if self._work.run.from_release is None:
            self._fetch()
            image = self._build()
        else:
            image = self._reuse(self._work.run.from_release)
        self._push(image)

    def _fetch(self) -> None:
        source, config = self._adapters.source, self._pipeline.source
        with self._work.step("build", "fetch", FETCH_TIMEOUT) as step:
            self.head = source.fetch(self._key, config, step.watch)
            run = self._work.run
            if run.kind == Kind.PUSH and self.head != run.commit:
                raise Superseded(
                    f"{run.short} is not the head of {config.branch} any more; {self.head[:7]} is."
                )
            commit = source.commit(self._key, config, run.commit or self.head)
            source.keep(self._key, config, commit.id, f"run-{run.number}")
            self._work.update(
                commit=commit.id, message=commit.message, pusher=run.pusher or run.by or commit.author
            )
            why_not = source.unsupported(self._key, config, commit.id)
            if why_not:
                raise AppFailed(why_not)
            step.detail = commit.id[:7]

    def _build(self) -> Image:
        with self._work.step("build", "build", self._pipeline.build.timeout) as step:
            request = self._request()
            tell = self._work.emitter("build")
            image = self._adapters.builder.build(request, self._context, tell, step.watch)
            step.detail = "reused" if image.reused else f"{image.steps} steps, {image.cached} cached"
            if image.reused:
                self._work.note("an image of the same tree and settings is there already: reused", "build")
            return image

    def _request(self) -> BuildRequest:
        build, run = self._pipeline.build, self._work.run
        dockerfile = self._read(build.dockerfile)
        if dockerfile is None:
            path = posixpath.normpath(posixpath.join(build.context, build.dockerfile))
            raise AppFailed(
                NO_DOCKERFILE.format(path=path, commit=run.short),
                advice="Commit a Dockerfile, or name its place under `build:` in pipelines.yaml.",
            )
        ignore = self._read(f"{build.dockerfile}.dockerignore") or self._read(".dockerignore") or ""
        tree = self._adapters.source.tree(self._key, self._pipeline.source, run.commit, build.context)
        facts = [tree, dockerfile, ignore, build.dockerfile, build.args, build.target, build.platform]
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return BuildRequest(run.pipeline, run.commit, key, build, dockerfile, ignore, run.rebuild)

    def _read(self, path: str) -> str | None:
        inside = posixpath.normpath(posixpath.join(self._pipeline.build.context, path))
        found = self._adapters.source.read(self._key, self._pipeline.source, self._work.run.commit, inside)
        return None if found is None else found.decode("utf-8", "replace")

    def _context(self) -> AbstractContextManager[IO[bytes]]:
        source, config = self._pipeline.source, self._pipeline.build
        return self._adapters.source.archive(self._key, source, self._work.run.commit, config.context)

    def _reuse(self, number: int) -> Image:
        with self._work.step("build", "build", 60.0) as step:
            release = self._work.store.release(self._key, number)
            if not self._adapters.builder.exists(release.image):
                raise AppFailed(
                    f"the image of {release.name} is not here any more.",
                    advice="Deploy its commit: it is built anew.",
                )
            self._work.update(commit=release.commit, message=release.message)
            step.detail = f"the image of {release.name}"
            return Image(release.image, True)

    def _push(self, image: Image) -> None:
        """The release is made once its image is where it will be taken from; its own tag is known only then."""
        timeout = self._pipeline.build.timeout if self._pipeline.registry else PUSH_TIMEOUT
        with self._work.step("build", "push", timeout) as step:
            name = repository(self._settings.instance, self._key)
            self._adapters.builder.tag(image.digest, name, self._work.run.short)
            remote = self._send(image, self._work.run.short, step.watch)
            number = self._work.run.release
            release = (
                self._work.store.release(self._key, number) if number else self._make_release(image, remote)
            )
            self._adapters.builder.tag(image.digest, name, release.name)
            self._send(image, release.name, step.watch)
            if remote:
                self._work.note(f"pushed to {remote}", "build")
            step.detail = release.tag

    def _send(self, image: Image, tag: str, watch: Watch) -> str:
        """To the pipeline's registry; where the image lies there, "" for a pipeline without one."""
        registry = self._pipeline.registry
        if registry is None:
            return ""
        login = self._vault.login(self._key, registry)
        self._work.redact_also([login.password] if login else [])
        tell = self._work.emitter("build")
        return self._adapters.builder.push(image.digest, registry.repository, tag, login, tell, watch)

    def _make_release(self, image: Image, remote: str) -> Release:
        now = self._adapters.clock.now()
        name = repository(self._settings.instance, self._key)
        rendered = {env: self._pipeline.render(env) for env in self._pipeline.environments}
        made: list[Release] = []

        def act(transaction: Transaction, run: Run) -> Run:
            wanted = {env: one.service.secrets for env, one in rendered.items()}
            versions = newest(transaction.secrets(), self._key, wanted)
            number = transaction.next_release()
            tag = f"{name}:r{number}"
            release = Release(
                self._key,
                number,
                run.commit,
                image.digest,
                tag,
                run.number,
                now,
                rendered,
                run.message,
                versions,
                remote,
            )
            transaction.put_release(release)
            made[:] = [release]
            return replace(run, release=number, image_ready=now)

        self._work.change(act)
        return made[0]
