"""The build stage: fetch ▶ build ▶ push. It ends with a release, which is never built again on its way."""

from __future__ import annotations

import hashlib
import json
import posixpath
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import cache
from typing import IO

from pipeline.config import image_hints
from pipeline.config.dockerfile import declared
from pipeline.config.models import Pipeline
from pipeline.config.previews.names import is_preview, short_of
from pipeline.config.settings import Settings
from pipeline.deploy.branch_head import BranchHead
from pipeline.deploy.explaining.cache_misses import CacheMisses
from pipeline.deploy.run_context import RunContext, Step
from pipeline.domain.engine_types import Image
from pipeline.domain.measuring import missed
from pipeline.domain.release import FORM, Release
from pipeline.domain.run import Run
from pipeline.domain.secret_versions import newest
from pipeline.errors import AppFailed, DamagedRecord, NotFound, RequestError
from pipeline.lib import dockerignore
from pipeline.lib.units import show_duration
from pipeline.ports.adapters import Adapters
from pipeline.ports.builder import BuildRequest
from pipeline.ports.clock import Watch
from pipeline.ports.source import Ignored
from pipeline.secrets.vault import Vault
from pipeline.store import Transaction

FETCH_TIMEOUT = 300.0  # seconds
REUSE_TIMEOUT = 60.0
COMMIT_ARGS = (
    "PUSHLIVE_COMMIT",
    "SOURCE_COMMIT",
)  # build arguments: the commit's id, if the Dockerfile declares them
NOTABLE = 1.0  # seconds of steps that were not cached: said if they took longer
PUSH_TIMEOUT = 60.0  # a push to a registry may take as long as a build

NO_DOCKERFILE = "there is no {path} in commit {commit}."
_MINIMAL = """ A minimal one for {language}:

    FROM {base}
    WORKDIR /app
    COPY . .
    RUN {install}
    CMD {command}
"""
_PYTHON = ("Python", "python:3.12-slim", "pip install -r requirements.txt", '["python", "-m", "app"]')
_BY_FILE = {  # a file at the top of the context, and what to start with
    "package.json": ("Node.js", "node:22-slim", "npm install", '["npm", "start"]'),
    "pyproject.toml": ("Python", "python:3.12-slim", "pip install .", '["python", "-m", "app"]'),
    "go.mod": ("Go", "golang:1", "go build -o /bin/app .", '["/bin/app"]'),
}


def repository(instance: str, pipeline: str) -> str:
    """The image repository's name: the pipeline's own, prefixed unless the instance has the default name."""
    return pipeline if instance == "pushlive" else f"{instance}/{pipeline}"


class BuildStage:
    """``branch``: fetches the head, and says whether the run may go on; ``misses``: says why it built what it built."""

    def __init__(
        self,
        context: RunContext,
        adapters: Adapters,
        pipeline: Pipeline,
        settings: Settings,
        vault: Vault,
        branch: BranchHead,
        misses: CacheMisses,
    ) -> None:
        self._context, self._adapters, self._pipeline, self._settings = context, adapters, pipeline, settings
        self._vault, self._branch, self._misses = vault, branch, misses
        self._key = context.run.pipeline

    def go(self) -> None:
        """Sets ``run.release``. Idempotent. Raises Superseded if the commit is no longer the head, and what
        ``Vault.ready`` raises before anything is fetched."""
        if self._context.run.stage != "build":
            self._context.update(stage="build")
        if self._context.run.release is not None:  # after a crash: only the tag may be missing
            image = Image(self._context.store.release(self._key, self._context.run.release).image, True)
            self._push(image)
            return
        self._vault.ready(self._key, self._pipeline, tuple(self._pipeline.environments))
        if self._context.run.from_release is None:
            self._fetch()
            image = self._build()
        else:
            image = self._reuse(self._context.run.from_release)
        self._push(image)

    def _fetch(self) -> None:
        source, config = self._adapters.source, self._pipeline.source
        advice = f"Check that the repository answers (`git ls-remote`), then `pushlive retry '{self._context.run.id}'`."
        with self._context.step("build", "fetch", FETCH_TIMEOUT, advice) as step:
            self._branch.fetch(step.watch)
            run = self._context.run
            commit = source.commit(self._key, config, run.commit or self._branch.head)
            source.keep(self._key, config, commit.id, f"run-{run.number}")
            self._context.update(commit=commit.id, message=commit.message, author=commit.author)
            context = self._pipeline.build.context
            why_not = source.unsupported(self._key, config, commit.id, context, self._ignored())
            if why_not:
                raise AppFailed(why_not)
            waited = step.clock.now() - run.awaited if run.awaited else 0.0
            step.detail = commit.id[:7] + (f", after {show_duration(waited)}" if waited else "")

    def _build(self) -> Image:
        advice = "Raise `build.timeout` in pipelines.yaml if the build needs longer."
        with self._context.step("build", "build", self._pipeline.build.timeout, advice) as step:
            request = self._request()
            emit = self._context.emitter("build")
            image = self._adapters.builder.build(request, self._archive, emit, step.watch)
            step.detail = "reused" if image.reused else f"{image.steps} steps, {image.cached} cached"
            step.data["bases"] = dict(image.bases)
            self._explain(request, image, step)
            if image.reused:
                self._context.note("reused the image of the same tree and settings", "build")
            files = image_hints.declared(request.dockerfile).filled
            for text in image_hints.unwise(replace(image.declared, filled=files), self._pipeline):
                self._context.note(f"the image {text}", "build", "warning")
            self._say_entrypoint(image)
            return image

    def _explain(self, request: BuildRequest, image: Image, step: Step) -> None:
        """Records which line of the Dockerfile was not cached, and why; says so if that took notable time."""
        found = self._misses.explain(self._pipeline, request, image)
        if found:
            step.data["missed"] = found
            if found["seconds"] >= NOTABLE:
                self._context.note(f"not cached from {missed.place(found)} on: {found['why']}", "build")

    def _say_entrypoint(self, image: Image) -> None:
        """An earlier version ran release commands without the image's ENTRYPOINT: said once, with the first
        release that does not."""
        live = list(self._pipeline.environments)[-1]
        command = self._pipeline.render(live).service.release
        environment = self._context.store.environment(self._key, live)
        if not (command.command and command.entrypoint and image.declared.entrypoint and environment):
            return
        with suppress(NotFound, DamagedRecord):
            if environment.serving and not self._context.store.release(self._key, environment.serving).form:
                entrypoint = json.dumps(list(image.declared.entrypoint))
                text = (
                    f"from this release on the image's ENTRYPOINT {entrypoint} is given the `release` command, as at a "
                    "start; `entrypoint: false` under `release` runs it without, as before"
                )
                self._context.note(text, "build", "warning")

    def _request(self) -> BuildRequest:
        build, run = self._pipeline.build, self._context.run
        dockerfile = self._read(build.dockerfile)
        if dockerfile is None:
            path = posixpath.normpath(posixpath.join(build.context, build.dockerfile))
            raise AppFailed(
                NO_DOCKERFILE.format(path=path, commit=run.short) + self._minimal(),
                advice="Commit a Dockerfile, or set its path with `build.dockerfile` in pipelines.yaml.",
            )
        commit = dict.fromkeys(declared(dockerfile, COMMIT_ARGS), run.commit)
        build = build.model_copy(update={"args": {**commit, **build.args}})
        ignore = self._dockerignore()
        tree = self._adapters.source.tree(self._key, self._pipeline.source, run.commit, build.context)
        facts = [tree, dockerfile, ignore, build.dockerfile, build.args, build.target, build.platform]
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        path, linked = self._without_links(build.dockerfile)
        build = build.model_copy(update={"dockerfile": path})
        return BuildRequest(run.pipeline, run.commit, key, build, dockerfile, ignore, run.rebuild, linked)

    def _dockerignore(self) -> str:
        own = self._read(f"{self._pipeline.build.dockerfile}.dockerignore")
        return self._read(".dockerignore") or "" if own is None else own  # even an empty one hides the other

    def _ignored(self) -> Ignored:
        """Whether the build leaves a path of its context out, or reads nothing there. The rules are read once asked."""
        rules = cache(lambda: dockerignore.parse(self._dockerignore()))
        reads = cache(lambda: image_hints.reads(self._read(self._pipeline.build.dockerfile) or "COPY . ."))
        return lambda path: dockerignore.ignored(rules(), path) or not reads()(path)

    def _without_links(self, path: str) -> tuple[str, bool]:
        """The Dockerfile's own path in the context; True if a link leads out of the context there."""
        context = self._follow(self._pipeline.build.context)
        real = posixpath.relpath(self._follow(context, path), context)
        if not real.startswith("../"):
            return real, False
        folder = posixpath.relpath(self._follow(context, posixpath.dirname(path)), context)
        if folder == ".." or folder.startswith("../"):
            raise AppFailed(
                f"the Dockerfile {path!r} is in a linked folder, which leads out of the build's context.",
                advice="Commit the Dockerfile itself, or set `build.context` to a folder that has both.",
            )
        return posixpath.normpath(posixpath.join(folder, posixpath.basename(path))), True

    def _follow(self, *path: str) -> str:
        """The path in the repository, without links, after a slash."""
        source, commit = self._pipeline.source, self._context.run.commit
        inside = posixpath.normpath(posixpath.join(*path).lstrip("/") or ".")
        return posixpath.normpath("/" + self._adapters.source.follow(self._key, source, commit, inside))

    def _minimal(self) -> str:
        """A Dockerfile to start with, by what is in the repository."""
        found = (words for name, words in _BY_FILE.items() if self._has(name))
        language, base, install, command = next(found, _PYTHON)
        return _MINIMAL.format(language=language, base=base, install=install, command=command)

    def _has(self, path: str) -> bool:
        try:
            return self._read(path) is not None
        except RequestError:  # too large to read, or a link that leads nowhere
            return False

    def _read(self, path: str) -> str | None:
        inside = posixpath.normpath(posixpath.join(self._pipeline.build.context, path))
        found = self._adapters.source.read(self._key, self._pipeline.source, self._context.run.commit, inside)
        return None if found is None else found.decode("utf-8", "replace")

    def _archive(self) -> AbstractContextManager[IO[bytes]]:
        source, config = self._pipeline.source, self._pipeline.build
        return self._adapters.source.archive(self._key, source, self._context.run.commit, config.context)

    def _reuse(self, number: int) -> Image:
        again = f"`pushlive retry '{self._context.run.id}'`"
        advice = f"Check that the Docker Engine answers (`docker info`), then {again}."
        with self._context.step("build", "build", REUSE_TIMEOUT, advice) as step:
            release = self._context.store.release(self._key, number)
            if not self._adapters.builder.exists(release.image):
                raise AppFailed(
                    f"the image of {release.name} no longer exists on the build machine.",
                    advice=f"Build it again: `pushlive deploy {self._key} --commit {release.commit[:7]}`.",
                )
            self._context.update(commit=release.commit, message=release.message)
            step.detail = f"the image of {release.name}"
            return Image(release.image, True)

    def _push(self, image: Image) -> None:
        """Makes the release once its image is where engines will take it from; only then its own tag is known."""
        timeout, advice = self._push_limit()
        with self._context.step("build", "push", timeout, advice) as step:
            name = repository(self._settings.instance, self._key)
            self._adapters.builder.tag(image.digest, name, self._context.run.short)
            remote = self._send(image, self._context.run.short, step.watch)
            number = self._context.run.release
            release = (
                self._context.store.release(self._key, number)
                if number
                else self._make_release(image, remote)
            )
            self._adapters.builder.tag(image.digest, name, release.name)
            self._send(image, release.name, step.watch)
            if remote:
                self._context.note(f"pushed to {remote}", "build")
            step.detail = release.tag

    def _push_limit(self) -> tuple[float, str]:
        """Seconds, and what to do about a timeout."""
        if self._pipeline.registry:
            return self._pipeline.build.timeout, (
                "Check the connection to the registry, or raise `build.timeout` in pipelines.yaml: it limits the push "
                "as well."
            )
        return PUSH_TIMEOUT, (
            f"Check that the Docker Engine answers (`docker info`), then `pushlive retry '{self._context.run.id}'`."
        )

    def _send(self, image: Image, tag: str, watch: Watch) -> str:
        """Pushes to the pipeline's registry. Returns the image's reference there; "" for a pipeline without one."""
        registry = self._pipeline.registry
        if registry is None:
            return ""
        login = self._vault.login(self._key, registry)
        self._context.redact_also([login.password] if login else [])
        emit = self._context.emitter("build")
        if is_preview(self._key):  # its pipeline has releases of the same numbers in that repository
            tag = f"{short_of(self._key)}-{tag}"
        return self._adapters.builder.push(image.digest, registry.repository, tag, login, emit, watch)

    def _make_release(self, image: Image, remote: str) -> Release:
        now = self._adapters.clock.now()
        name = repository(self._settings.instance, self._key)
        rendered = {env: self._pipeline.render(env) for env in self._pipeline.environments}
        made: list[Release] = []

        def act(transaction: Transaction, run: Run) -> Run:
            wanted = {env: one.service.all_secrets for env, one in rendered.items()}
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
                form=FORM,
            )
            transaction.put_release(release)
            made[:] = [release]
            return replace(run, release=number, image_ready=now)

        self._context.change(act)
        return made[0]
