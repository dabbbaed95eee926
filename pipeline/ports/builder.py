"""Images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from pipeline.config.models import Build
from pipeline.domain.engine_types import Image, Login
from pipeline.domain.events import Event
from pipeline.ports.clock import Watch

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class BuildRequest:
    """``key``: equal for the same tree and build settings. The builder adds the digests of base images."""

    pipeline: str
    commit: str
    key: str
    build: Build
    dockerfile: str  # the Dockerfile's text
    dockerignore: str  # the .dockerignore's text, "" if there is none
    rebuild: bool = False
    dockerfile_linked: bool = False  # the path leads out of the context: there goes the text, as a file


class Builder(Protocol):
    def build(
        self,
        request: BuildRequest,
        context: Callable[[], AbstractContextManager[IO[bytes]]],
        emit: Emit,
        watch: Watch,
    ) -> Image:
        """Builds the image, or finds the one that was built from the same key and base images. Idempotent.

        ``context`` opens the unfiltered tar stream; it is not called if an image is reused. Emits ``vertex`` events
        (text: the Dockerfile step; data: {"seconds", "cached", "error"}) and ``line`` events (build output) as they
        happen. Raises AppFailed (the Dockerfile's fault; the failing lines are the evidence), EngineFailed (Docker
        unreachable, disk full, base image not available), and what the watch raises; then nothing is left running.
        """

    def tag(self, digest: str, repository: str, tag: str) -> None:
        """Tags the image. Idempotent. Raises EngineFailed if there is no such image."""

    def push(
        self, digest: str, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
    ) -> str:
        """Pushes the image to ``repository`` (``HOST/NAME``) under that tag, and returns its reference by digest:
        ``HOST/NAME@sha256:…``. Idempotent: layers that the registry has are not sent again. Retries temporary errors
        for a while; emits ``note`` and ``warning`` events. Leaves no tag of the registry on a local image that has
        others. Without a login it uses what `docker login` stored on this machine. Raises ConfigError (login
        refused), TryAgain (registry unreachable for long), EngineFailed (registry keeps failing, no such image), and
        what the watch raises."""

    def exists(self, digest: str) -> bool:
        """True if the Engine has the image."""

    def images(self, repository: str) -> dict[str, tuple[str, ...]]:
        """The images in that repository that Pushlive built: digest → tags."""

    def untag(self, repository: str, tag: str) -> bool:
        """Removes one of our tags, and the image with its last tag unless a container uses it. True if the tag was
        there and is gone. Idempotent."""

    def untagged(self, pipeline: str) -> frozenset[str]:
        """The images that were built for the pipeline and have no tag: none yet, or none any more."""

    def remove_untagged(self, digest: str) -> bool:
        """Removes that image unless it has a tag by now or a container uses it. True if it is gone. Idempotent."""

    def remove_replaced_bases(self) -> int:
        """Removes base images that builds pulled and whose tag leads to another image now; how many. What people pulled
        or tagged themselves, and what a container uses, stays. Idempotent."""

    def trim_cache(self, limit: int) -> int:
        """Removes build cache, the least recently used first, until ``limit`` bytes are left, or all of it while too
        little disk is free for a build. What a build uses now stays. Returns the bytes given back. Idempotent."""

    def cache_size(self) -> int:
        """The bytes that build cache takes which no image shares."""
