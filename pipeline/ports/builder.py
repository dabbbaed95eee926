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
    """``key`` is equal for equal tree and build settings; base digests are added by the builder."""

    pipeline: str
    commit: str
    key: str
    build: Build
    dockerfile: str  # the Dockerfile's text
    dockerignore: str  # the .dockerignore's text, "" where there is none
    rebuild: bool = False


class Builder(Protocol):
    def build(
        self,
        request: BuildRequest,
        context: Callable[[], AbstractContextManager[IO[bytes]]],
        emit: Emit,
        watch: Watch,
    ) -> Image:
        """Makes the image, or finds the one made from the same key and bases. Twice.

        ``context`` opens the unfiltered tar stream; it is not called where the image is reused. Emits
        ``vertex`` events (text: the Dockerfile step; data: {"seconds", "cached", "error"}) and ``line``
        events (build output) as they happen. Raises AppFailed (the Dockerfile's fault, with the failing
        lines as evidence), EngineFailed (Docker unreachable, disk full, base image not to be had), and what
        the watch raises; nothing is left running then.
        """

    def tag(self, digest: str, repository: str, tag: str) -> None:
        """Twice. Raises EngineFailed when the image is gone."""

    def push(
        self, digest: str, repository: str, tag: str, login: Login | None, emit: Emit, watch: Watch
    ) -> str:
        """Sends the image to ``repository`` (``HOST/NAME``) in a registry, under that tag; where it lies there,
        by its digest: ``HOST/NAME@sha256:…``. Twice: what the registry has already is not sent again, and the same
        image has the same digest. Passing trouble is met by trying again for a while; emits ``note`` and
        ``warning`` events. Leaves no tag of the registry's on an image that
        has others. Raises ConfigError (the login is refused),
        TryAgain (not reached for long), EngineFailed (the registry keeps failing, the image is gone), and what
        the watch raises. Without a login it is as `docker login` left this machine."""

    def exists(self, digest: str) -> bool: ...

    def images(self, repository: str) -> dict[str, tuple[str, ...]]:
        """Our images of that repository: digest → tags."""

    def untag(self, repository: str, tag: str) -> None:
        """Removes one tag of ours, and the image with the last tag unless a container uses it. Twice."""
