"""Images: one method for each call. Pushing, and pulling by digest, are in ``registry``."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from pipeline.adapters.docker_api.connection import Connection
from pipeline.adapters.docker_api.container_calls import Found
from pipeline.adapters.docker_api.errors import DockerRefused, translate

_PRUNE_LIMIT = 300.0  # seconds


class ImageCalls(Connection):
    """Errors are translated (``errors.translate``)."""

    def platform(self) -> str:
        """What the Engine runs, and builds for by default: ``linux/amd64``."""
        found = self._version()
        return f"{found.get('Os', 'linux')}/{found.get('Arch', '')}"

    def engine_version(self) -> str:
        """Such as 20.10.24. The version of its BuildKit follows from it; the Engine does not name that one."""
        return str(self._version().get("Version", ""))

    def _version(self) -> dict[str, Any]:
        with translate("Asking Docker about the machine"):
            return dict(self.sdk.version())

    def image(self, name: str) -> Found | None:
        """One image as inspected, None if there is none. Raises DockerRefused: 400 if that is not a valid name."""
        sdk: Any = self.sdk
        found: Found | None = self.unless_gone(
            f"Inspecting the image {name[:80]}", lambda: sdk.inspect_image(name)
        )
        return found

    def images(self, *labels: str, repository: str | None = None) -> list[Found]:
        """Images that carry all of these labels (``name`` or ``name=value``), in that repository if one is given."""
        with translate(f"Listing the images of {repository}" if repository else "Listing images"):
            filters = {"label": list(labels)} if labels else None
            found: list[Found] = self.sdk.images(name=repository, filters=filters)
        return found

    def tag(self, digest: str, repository: str, tag: str) -> None:
        """Idempotent. Raises DockerRefused: 404 if the image is gone."""
        with translate(f"Tagging {digest[:19]} as {repository}:{tag}"):
            self.sdk.tag(digest, repository, tag)

    def remove_image(self, name: str) -> bool:
        """Removes one tag, and the image with its last tag. False if a container uses the image: its last tag stays.
        Idempotent."""
        try:
            self.unless_gone(f"Removing the image {name}", lambda: self.sdk.remove_image(name))
        except DockerRefused as error:
            if error.status != 409:
                raise
            return False
        return True

    def prune_cache(self, keep: int) -> int:
        """Removes build cache that no build uses now, the least recently used first, until ``keep`` bytes are left.
        Returns the bytes that were given back. It may take minutes."""
        params = {"all": "1", "keep-storage": str(keep)}  # keep 0: all
        with (
            translate("Removing build cache"),
            closing(self.post("/build/prune", params=params, timeout=_PRUNE_LIMIT)) as answer,
        ):
            return int(answer.json().get("SpaceReclaimed") or 0)

    def cache_size(self) -> int:
        """The bytes of build cache that no image shares."""
        found = self.disk_usage("build-cache", "Asking for the size of the build cache")
        return sum(
            int(one.get("Size") or 0) for one in found.get("BuildCache") or () if not one.get("Shared")
        )

    def pull(self, name: str, platform: str = "") -> None:
        """Pulls an image by name (tag ``latest`` by default) with the login that `docker login` has left. Returns when
        it has arrived. Raises DockerRefused: 404 if the registry has no such image."""
        with translate(f"Pulling {name}"):
            self.client.images.pull(name, platform=platform or None)
