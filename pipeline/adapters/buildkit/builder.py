"""``ports.Builder``: images built by the Docker Engine's BuildKit."""

from __future__ import annotations

import hashlib
import json
import posixpath
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from typing import IO, Any

from pipeline.adapters.buildkit import limits, unneeded
from pipeline.adapters.buildkit.dockerfile import (
    Dockerfile,
    parse,
    platform_args,
    refuse_hidden,
    refuse_unsupported,
)
from pipeline.adapters.buildkit.dockerignore import filtered
from pipeline.adapters.buildkit.errors import failed
from pipeline.adapters.buildkit.images import (
    Record,
    base_ids,
    declared_by,
    is_accepted,
    labels_of,
    refresh,
    refuse_foreign,
)
from pipeline.adapters.buildkit.output import Output
from pipeline.adapters.buildkit.trace import Vertex, decode
from pipeline.adapters.docker_api import registry
from pipeline.adapters.docker_api.api import ClientFactory, DockerApi
from pipeline.adapters.docker_api.build_stream import build
from pipeline.adapters.docker_api.labels import INSTANCE, KEY, PIPELINE
from pipeline.config.dockerfile import builder_settings
from pipeline.config.models import safe_path
from pipeline.domain.engine_types import Image, Login
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, EngineFailed, TryAgain
from pipeline.ports.builder import BuildRequest, Emit
from pipeline.ports.clock import Clock, Watch

Context = Callable[[], AbstractContextManager[IO[bytes]]]

_REMOTE = "builds run on another machine (DOCKER_HOST), which must limit them itself"
_CACHE_NAMESPACE = "BUILDKIT_CACHE_MOUNT_NS"
_RESTART = 60.0  # seconds that a restart of the Engine may take


class DockerBuilder:
    """See ``ports.Builder``.

    ``instance``: the label of this installation's images; ``disk_free``: bytes that must be free before a build;
    ``memory`` (bytes) and ``cpu`` (cores): what all builds together may use, 0 for the default.
    """

    def __init__(
        self, client_factory: ClientFactory, clock: Clock, *, instance: str,
        disk_free: int = 1 << 30, memory: int = 0, cpu: float = 0.0,
    ) -> None:  # fmt: skip
        self._api = DockerApi(client_factory)
        self._clock = clock
        self._instance = instance
        self._disk_free = disk_free
        self._memory = memory
        self._cpu = cpu
        self._root = ""

    def build(self, request: BuildRequest, context: Context, emit: Emit, watch: Watch) -> Image:
        """See ``ports.Builder``."""
        path = request.build.dockerfile
        if not safe_path(path):
            raise AppFailed(
                f"The Dockerfile {path!r} is outside the context.", advice="Move it into the context."
            )
        if settings := builder_settings(request.build.args):
            raise AppFailed(
                f"The build argument {settings[0]} is a setting of the builder, not of the Dockerfile.",
                advice="Remove it from `args` under `build`.",
            )
        file = parse(request.dockerfile, request.build.args, self._platform_args(request))
        refuse_unsupported(file, request.build.target)
        refuse_hidden(request.dockerfile)
        bases = self._bases(file, request, emit, watch)
        refuse_foreign(self._api, bases, request.pipeline)
        key = _key(request, bases)
        found = "" if request.rebuild else self._find(key)
        if found:
            image = Image(found, reused=True)
        else:
            limits.check_disk(self._docker_root(), self._disk_free)
            image = self._retried(request, key, context, emit, watch)
        declared = declared_by(self._api.image(image.digest))
        return replace(image, declared=declared, bases=tuple(sorted(bases.items())))

    def _bases(self, file: Dockerfile, request: BuildRequest, emit: Emit, watch: Watch) -> dict[str, str]:
        """The ids of the images that the build starts from. A rebuild starts from what their registries have now."""
        for note in refresh(self._api, file, request.build, watch, self._mark) if request.rebuild else ():
            emit(Event("warning", self._clock.now(), text=note))
        return base_ids(self._api, file, request.build, watch, self._mark)

    def _mark(self, id_: str) -> None:
        unneeded.mark(self._api, self._instance, id_)

    def _platform_args(self, request: BuildRequest) -> dict[str, str]:
        if not any(word in request.dockerfile for word in ("TARGET", "BUILD")):
            return {}
        return platform_args(request.build.platform, self._api.platform())

    def tag(self, digest: str, repository: str, tag: str) -> None:
        """See ``ports.Builder``."""
        self._api.tag(digest, repository, tag)

    def push(
        self, digest: str, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
    ) -> str:
        """See ``ports.Builder``."""
        self.tag(digest, repository, tag)
        try:
            return registry.push(self._api, self._clock, repository, tag, login, emit, watch)
        finally:
            with suppress(TryAgain, EngineFailed):  # the next push removes the tag
                self._remove_registry_tag(digest, repository, tag)

    def _remove_registry_tag(self, digest: str, repository: str, tag: str) -> None:
        """Unless it is the image's last tag: the image would be removed with it."""
        tags = (self._api.image(digest) or {}).get("RepoTags") or ()
        if len(tags) > 1:
            self.untag(repository, tag)

    def exists(self, digest: str) -> bool:
        """See ``ports.Builder``."""
        return self._api.image(digest) is not None

    def images(self, repository: str) -> dict[str, tuple[str, ...]]:
        """See ``ports.Builder``; the tags are without the repository's name."""
        found = {}
        for image in self._api.images(f"{INSTANCE}={self._instance}"):
            pairs = (name.rpartition(":") for name in image.get("RepoTags") or ())
            tags = tuple(tag for name, _, tag in pairs if name == repository)
            if tags:
                found[str(image["Id"])] = tags
        return found

    def untag(self, repository: str, tag: str) -> bool:
        """See ``ports.Builder``. The last tag stays if a container uses the image."""
        name = f"{repository}:{tag}"
        if labels_of(self._api.image(name)).get(INSTANCE) != self._instance:
            return False
        return self._api.remove_image(name)

    def untagged(self, pipeline: str) -> frozenset[str]:
        """See ``ports.Builder``."""
        return unneeded.untagged(self._api, self._instance, pipeline)

    def remove_untagged(self, digest: str) -> bool:
        """See ``ports.Builder``."""
        return unneeded.remove_untagged(self._api, digest)

    def remove_replaced_bases(self) -> int:
        """See ``ports.Builder``."""
        return unneeded.remove_replaced(self._api, self._instance)

    def trim_cache(self, limit: int) -> int:
        """See ``ports.Builder``."""
        free = self._free_disk()
        short = free is not None and free < self._disk_free
        return self._api.prune_cache(0 if short else limit)

    def cache_size(self) -> int:
        """See ``ports.Builder``."""
        return self._api.cache_size()

    def cap_builds(self) -> str:
        """Limits what all builds together may use, so that they cannot slow down what is live. Returns "", or a
        sentence that says why that is not possible."""
        if not self._api.is_local:
            return _REMOTE
        return limits.cap(self._api.info(), self._memory, self._cpu)

    def why_uncapped(self) -> str:
        """What ``cap_builds`` would return, without changing anything."""
        return limits.why_uncapped(self._api.info()) if self._api.is_local else _REMOTE

    def _retried(self, request: BuildRequest, key: str, context: Context, emit: Emit, watch: Watch) -> Image:
        """Retries once if a restart of the Engine cut the build off."""
        try:
            return self._once(request, key, context, emit, watch)
        except TryAgain as error:
            note = f"The connection to Docker broke during the build. Retrying once. {error.message}"
            emit(Event("warning", self._clock.now(), text=note))
        self._await_engine(watch)
        try:
            return self._once(request, key, context, emit, watch)
        except TryAgain as error:
            raise EngineFailed(
                f"The build was cut off twice: {error.message}",
                advice="Check the Docker daemon's log.",
                again=True,
            ) from error

    def _once(self, request: BuildRequest, key: str, context: Context, emit: Emit, watch: Watch) -> Image:
        output, digest, sources = Output(), "", Record(self._api, request.pipeline)
        with context() as stream:
            text = request.dockerfile if request.dockerfile_linked else ""
            body = filtered(stream, request.dockerignore, request.build.dockerfile, text)
            params = self._params(request, key)
            with closing(build(self._api, uuid.uuid4().hex, params, body, watch)) as answer:
                for record in answer:
                    for event in self._events(record, output, sources):
                        emit(event)
                    if "error" in record:
                        raise failed(
                            str(record["error"]), output, self._free_disk(), self._api.engine_version()
                        )
                    if record.get("id") == "moby.image.id":
                        digest = str(record["aux"]["ID"])
        if not digest:
            raise TryAgain("Building the image: the Engine ended its answer without a result.")
        ran = tuple(output.ran)
        return Image(digest, reused=False, steps=output.steps, cached=output.cached, ran=ran)

    def _events(self, record: dict[str, Any], output: Output, sources: Record) -> Iterator[Event]:
        if record.get("id") == "moby.buildkit.trace":
            for entry in decode(str(record["aux"])):
                if isinstance(entry, Vertex):
                    sources.check(entry.image)
                yield from output.feed(entry, self._clock.now())

    def _params(self, request: BuildRequest, key: str) -> dict[str, str]:
        """Without commit and run among the labels, so that equal trees give one image."""
        wanted = request.build
        labels = {INSTANCE: self._instance, PIPELINE: request.pipeline, KEY: key}
        params = {
            "dockerfile": posixpath.normpath(wanted.dockerfile),
            "labels": json.dumps(labels, sort_keys=True),
            "networkmode": "default",
            "rm": "1",
        }
        # Cache mounts are found by their path or id alone, so that one pipeline could write into another's builds.
        args = {**wanted.args, _CACHE_NAMESPACE: f"{self._instance}/{request.pipeline}"}
        params["buildargs"] = json.dumps(args, sort_keys=True)
        optional = {
            "target": wanted.target,
            "platform": wanted.platform,
            "nocache": "1" if request.rebuild else "",
        }
        return params | {name: value for name, value in optional.items() if value}

    def _find(self, key: str) -> str:
        """The newest accepted image built from this key, or ""."""
        listed = self._api.images(f"{INSTANCE}={self._instance}", f"{KEY}={key}")
        found = [image for image in listed if is_accepted(image)]
        newest = max(found, key=lambda image: int(image["Created"]), default=None)
        return str(newest["Id"]) if newest else ""

    def _await_engine(self, watch: Watch) -> None:
        end = self._clock.monotonic() + _RESTART
        while True:
            watch.wait(0.5)
            try:
                self._api.ping()
                return
            except (TryAgain, EngineFailed):
                if self._clock.monotonic() > end:
                    return  # the next attempt says what is wrong

    def _docker_root(self) -> str:
        """The Engine's folder, "" if it is on another machine."""
        if not self._root and self._api.is_local:
            self._root = str(self._api.info().get("DockerRootDir", ""))
        return self._root

    def _free_disk(self) -> int | None:
        return limits.free_disk(self._docker_root())


def _key(request: BuildRequest, bases: dict[str, str]) -> str:
    text = json.dumps([request.key, sorted(bases.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:40]
