"""Images in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO

from pipeline.adapters.fake.script import Script, require
from pipeline.config.image_hints import declared
from pipeline.domain.engine_types import Image, Login
from pipeline.domain.events import Event
from pipeline.errors import EngineFailed
from pipeline.ports.builder import BuildRequest, Emit
from pipeline.ports.clock import Watch


class FakeBuilder(Script):
    """Refuses an empty build context, tags and pushes of an image that was not built, and a push to anything that is
    not a registry's repository. Equal keys give equal images, reused unless a rebuild is requested."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[tuple[str, str], str] = {}  # digest by repository and tag
        self.built: dict[str, str] = {}  # the pipeline by digest
        self.replaced = 0  # base images that builds pulled, and whose tag has another one now
        self.remote: dict[tuple[str, str], str] = {}  # like `tags`, in registries
        self.cache = 0  # bytes
        self.login: Login | None = None  # of the last push
        self.ran: tuple[
            tuple[str, float], ...
        ] = ()  # the steps that the next builds do not find in their cache

    def build(
        self,
        request: BuildRequest,
        context: Callable[[], AbstractContextManager[IO[bytes]]],
        emit: Emit,
        watch: Watch,
    ) -> Image:
        with self.call("build", request, watch=watch):
            digest = "sha256:" + hashlib.sha256(request.key.encode()).hexdigest()
            made = declared(request.dockerfile)
            if digest in self.built and not request.rebuild:
                return Image(digest, reused=True, declared=made)
            with context() as stream:
                require(bool(stream.read(1)), "build with an empty context")
            data = {"seconds": 0.1, "cached": False, "error": ""}
            emit(Event("vertex", 0.0, "[1/1] FROM fake", data=data))
            emit(Event("line", 0.0, "building"))
            self.built[digest] = request.pipeline
            return Image(digest, reused=False, steps=1, declared=made, ran=self.ran)

    def tag(self, digest: str, repository: str, tag: str) -> None:
        with self.call("tag", digest, repository, tag):
            self._require_built(digest)
            self.tags[repository, tag] = digest

    def push(
        self, digest: str, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
    ) -> str:
        with self.call("push", digest, repository, tag, watch=watch):
            require("/" in repository and "@" not in repository, f"push to {repository}")
            self._require_built(digest)
            emit(Event("note", 0.0, f"Pushing to {repository}"))
            self.remote[repository, tag] = digest
            self.login = login
            return f"{repository}@sha256:{hashlib.sha256(digest.encode()).hexdigest()}"

    def exists(self, digest: str) -> bool:
        with self.call("exists", digest):
            return digest in self.built

    def images(self, repository: str) -> dict[str, tuple[str, ...]]:
        with self.call("images", repository):
            found: dict[str, tuple[str, ...]] = {}
            for (name, tag), digest in self.tags.items():
                if name == repository:
                    found[digest] = (*found.get(digest, ()), tag)
            return found

    def untag(self, repository: str, tag: str) -> bool:
        with self.call("untag", repository, tag):
            digest = self.tags.pop((repository, tag), None)
            if digest and digest not in self.tags.values():
                self.built.pop(digest, None)
            return digest is not None

    def untagged(self, pipeline: str) -> frozenset[str]:
        with self.call("untagged", pipeline):
            mine = {digest for digest, owner in self.built.items() if owner == pipeline}
            return frozenset(mine - set(self.tags.values()))

    def remove_untagged(self, digest: str) -> bool:
        with self.call("remove_untagged", digest):
            there = digest in self.built and digest not in self.tags.values()
            if there:
                del self.built[digest]
            return there

    def remove_replaced_bases(self) -> int:
        with self.call("remove_replaced_bases"):
            replaced, self.replaced = self.replaced, 0
            return replaced

    def trim_cache(self, limit: int) -> int:
        with self.call("trim_cache", limit):
            given_back = max(0, self.cache - limit)
            self.cache -= given_back
            return given_back

    def cache_size(self) -> int:
        with self.call("cache_size"):
            return self.cache

    def _require_built(self, digest: str) -> None:
        if digest not in self.built:
            raise EngineFailed(f"The image {digest[:19]} is not on this machine.")
