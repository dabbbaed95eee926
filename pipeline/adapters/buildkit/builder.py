"""The Builder adapter: images made by the Docker Engine's BuildKit."""

from __future__ import annotations

import hashlib
import json
import posixpath
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from typing import IO, Any

from pipeline.adapters.buildkit import limits
from pipeline.adapters.buildkit.dockerfile import parse, refuse_hidden, refuse_unsupported
from pipeline.adapters.buildkit.dockerignore import filtered
from pipeline.adapters.buildkit.errors import failed
from pipeline.adapters.buildkit.images import base_ids, inspect, refuse_foreign
from pipeline.adapters.buildkit.output import Output
from pipeline.adapters.buildkit.trace import decode
from pipeline.adapters.docker_api import registry
from pipeline.adapters.docker_api.build_stream import records
from pipeline.adapters.docker_api.client import DockerClient, status_of, translate
from pipeline.config.models import safe_path
from pipeline.domain.engine_types import Image, Login
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, EngineFailed, TryAgain
from pipeline.ports.builder import BuildRequest, Emit
from pipeline.ports.clock import Clock, Watch

Context = Callable[[], AbstractContextManager[IO[bytes]]]

_REMOTE = "builds run on another machine (DOCKER_HOST), which has to limit them itself"
_ENGINE_BACK = 60.0  # seconds that a restarting Engine is waited for


class DockerBuilder:
    """``ports.Builder`` on the Engine's BuildKit.

    ``instance``: the label of what is ours; ``disk_free``: bytes that must be free before a build;
    ``memory`` (bytes) and ``cpu`` (cores): what all builds together may use, 0 for the default.
    """

    def __init__(
        self, client_factory: Callable[[], DockerClient], clock: Clock, *, instance: str,
        disk_free: int = 1 << 30, memory: int = 0, cpu: float = 0.0,
    ) -> None:  # fmt: skip
        self._factory = client_factory
        self._clock = clock
        self._instance = instance
        self._disk_free = disk_free
        self._memory = memory
        self._cpu = cpu
        self._known_client: DockerClient | None = None
        self._root = ""

    def build(self, request: BuildRequest, context: Context, emit: Emit, watch: Watch) -> Image:
        """See ``ports.Builder``."""
        path = request.build.dockerfile
        if not safe_path(path):
            raise AppFailed(f"The Dockerfile {path!r} is outside of the context.", advice="Move it inside.")
        file = parse(request.dockerfile, request.build.args)
        refuse_unsupported(file, request.build.target)
        refuse_hidden(request.dockerfile)
        bases = base_ids(self._client, file, request.build, watch)
        refuse_foreign(self._client, bases, request.pipeline)
        key = _key(request, bases)
        found = "" if request.rebuild else self._find(key)
        if found:
            return Image(found, reused=True)
        limits.check_disk(self._docker_root(), self._disk_free)
        return self._twice(request, key, context, emit, watch)

    def tag(self, digest: str, repository: str, tag: str) -> None:
        """See ``ports.Builder``."""
        with translate(f"Tagging {digest[:19]} as {repository}:{tag}"):
            self._client.api.tag(digest, repository, tag)

    def push(
        self, digest: str, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
    ) -> str:
        """See ``ports.Builder``."""
        self.tag(digest, repository, tag)
        try:
            return registry.push(self._client.api, self._clock, repository, tag, login, emit, watch)
        finally:
            with suppress(TryAgain, EngineFailed):  # the Engine is gone: the next push takes the tag away
                self._let_go(digest, repository, tag)

    def _let_go(self, digest: str, repository: str, tag: str) -> None:
        """Takes a registry's tag away again, unless the image would go with it as with its last one."""
        tags = (self._inspect(digest) or {}).get("RepoTags") or ()
        if len(tags) > 1:
            self.untag(repository, tag)

    def exists(self, digest: str) -> bool:
        """See ``ports.Builder``."""
        return self._inspect(digest) is not None

    def images(self, repository: str) -> dict[str, tuple[str, ...]]:
        """See ``ports.Builder``; the tags are without the repository's name."""
        found = {}
        for image in self._list(f"pushlive.instance={self._instance}"):
            pairs = (name.rpartition(":") for name in image.get("RepoTags") or ())
            tags = tuple(tag for name, _, tag in pairs if name == repository)
            if tags:
                found[str(image["Id"])] = tags
        return found

    def untag(self, repository: str, tag: str) -> None:
        """See ``ports.Builder``. The last tag stays where a container uses the image."""
        name = f"{repository}:{tag}"
        image = self._inspect(name)
        labels = ((image or {}).get("Config") or {}).get("Labels") or {}
        if labels.get("pushlive.instance") != self._instance:
            return
        try:
            with translate(f"Removing the tag {name}"):
                self._client.api.remove_image(name)
        except EngineFailed as error:
            if status_of(error) not in (404, 409):  # gone already; in use
                raise

    def cap_builds(self) -> str:
        """Limits what all builds together may use, so that they never starve what is live. Returns "", or a
        sentence that says why it cannot be done."""
        if not self._here:
            return _REMOTE
        return limits.cap(self._info(), self._memory, self._cpu)

    def why_uncapped(self) -> str:
        """What ``cap_builds`` would say, without changing anything."""
        return limits.why_uncapped(self._info()) if self._here else _REMOTE

    def _twice(self, request: BuildRequest, key: str, context: Context, emit: Emit, watch: Watch) -> Image:
        """A build cut off by a restart of the Engine is tried once more (FAULTS 23)."""
        try:
            return self._once(request, key, context, emit, watch)
        except TryAgain as error:
            note = f"The connection to Docker broke during the build; it is tried once more. {error.message}"
            emit(Event("warning", self._clock.now(), text=note))
        self._await_engine(watch)
        try:
            return self._once(request, key, context, emit, watch)
        except TryAgain as error:
            raise EngineFailed(
                f"The build was cut off twice: {error.message}",
                advice="Look at the Docker daemon's log, then retry.",
            ) from error

    def _once(self, request: BuildRequest, key: str, context: Context, emit: Emit, watch: Watch) -> Image:
        output, digest = Output(), ""
        with context() as stream:
            body = filtered(stream, request.dockerignore, request.build.dockerfile)
            params = self._params(request, key)
            with closing(records(self._client, uuid.uuid4().hex, params, body, watch)) as answer:
                for record in answer:
                    for event in self._events(record, output):
                        emit(event)
                    if "error" in record:
                        raise failed(str(record["error"]), output, self._free_disk())
                    if record.get("id") == "moby.image.id":
                        digest = str(record["aux"]["ID"])
        if not digest:
            raise TryAgain("Building the image: the Engine ended its answer without a result.")
        return Image(digest, reused=False, steps=output.steps, cached=output.cached)

    def _events(self, record: dict[str, Any], output: Output) -> Iterator[Event]:
        if record.get("id") == "moby.buildkit.trace":
            for entry in decode(str(record["aux"])):
                yield from output.feed(entry, self._clock.now())

    def _params(self, request: BuildRequest, key: str) -> dict[str, str]:
        """No commit and no run among the labels: one tree gives one image."""
        build = request.build
        labels = {
            "pushlive.instance": self._instance,
            "pushlive.pipeline": request.pipeline,
            "pushlive.key": key,
        }
        params = {
            "dockerfile": posixpath.normpath(build.dockerfile),
            "labels": json.dumps(labels, sort_keys=True),
            "networkmode": "default",
            "rm": "1",
        }
        optional = {"buildargs": json.dumps(build.args, sort_keys=True) if build.args else ""}
        optional |= {
            "target": build.target,
            "platform": build.platform,
            "nocache": "1" if request.rebuild else "",
        }
        return params | {name: value for name, value in optional.items() if value}

    def _find(self, key: str) -> str:
        """The newest image made from this key, or ""."""
        found = self._list(f"pushlive.instance={self._instance}", f"pushlive.key={key}")
        newest = max(found, key=lambda image: int(image["Created"]), default=None)
        return str(newest["Id"]) if newest else ""

    def _list(self, *labels: str) -> list[dict[str, Any]]:
        with translate("Listing images"):
            return list(self._client.api.images(filters={"label": list(labels)}))

    def _inspect(self, name: str) -> dict[str, Any] | None:
        return inspect(self._client, name)

    def _await_engine(self, watch: Watch) -> None:
        end = self._clock.monotonic() + _ENGINE_BACK
        while True:
            watch.wait(0.5)
            try:
                with translate("Waiting for Docker"):
                    self._client.ping()
                return
            except (TryAgain, EngineFailed):
                if self._clock.monotonic() > end:
                    return  # the next attempt says what is wrong

    @property
    def _client(self) -> DockerClient:
        if self._known_client is None:
            self._known_client = self._factory()
        return self._known_client

    def _info(self) -> dict[str, Any]:
        with translate("Asking Docker about itself"):
            return dict(self._client.info())

    @property
    def _here(self) -> bool:
        """True where the Engine's socket, and so its machine, is this one's."""
        return self._client.api.base_url.startswith("http+docker://localhost")

    def _docker_root(self) -> str:
        """The Engine's folder, "" where it is not on this machine."""
        if not self._root and self._here:
            self._root = str(self._info().get("DockerRootDir", ""))
        return self._root

    def _free_disk(self) -> int | None:
        return limits.free_disk(self._docker_root())


def _key(request: BuildRequest, bases: dict[str, str]) -> str:
    text = json.dumps([request.key, sorted(bases.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:40]
