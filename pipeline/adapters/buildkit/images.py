"""The images that a build starts from: looked up here, pulled where they are missing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipeline.adapters.buildkit.dockerfile import Dockerfile, images
from pipeline.adapters.docker_api.client import DockerClient, status_of, translate
from pipeline.config.models import Build
from pipeline.errors import AppFailed, EngineFailed, PushliveError, TimedOut, TryAgain
from pipeline.lib.streams import Silence, pump
from pipeline.ports.clock import Watch

_ID = re.compile(r"(sha256:)?[0-9a-f]{7,64}")
_PULL_LIMIT = 300.0  # seconds for one image


def base_ids(client: DockerClient, file: Dockerfile, build: Build, watch: Watch) -> dict[str, str]:
    """The id of each image that the build takes from elsewhere, by its name in the Dockerfile.

    What is missing is pulled. Raises AppFailed (there is no such image) and EngineFailed (it cannot be had
    now): both name it and say why (FAULTS 25).
    """
    wanted = {name: f"The base image {name!r}" for name in images(file, build.target)}
    if file.syntax:
        wanted[file.syntax] = f"The Dockerfile frontend {file.syntax!r} (its `# syntax=` line)"
    return {name: _have(client, name, what, build.platform, watch) for name, what in wanted.items()}


def refuse_foreign(client: DockerClient, bases: dict[str, str], pipeline: str) -> None:
    """Raises AppFailed for an image of another pipeline: whoever may push to one does not read the other's."""
    for name, id_ in bases.items():
        labels = ((inspect(client, id_) or {}).get("Config") or {}).get("Labels") or {}
        owner = labels.get("pushlive.pipeline", pipeline)
        if owner != pipeline or _ID.fullmatch(name):
            why = f"belongs to the pipeline {owner}" if owner != pipeline else "is an image's id, no name"
            raise AppFailed(
                f"The base image {name[:80]!r} {why}.",
                advice="Take a base image by its name, from a registry or loaded on this machine.",
            )


def inspect(client: DockerClient, name: str) -> dict[str, Any] | None:
    """The image's description, or None where it is not here."""
    try:
        with translate(f"Looking up the image {name}"):
            api: Any = client.api
            return dict(api.inspect_image(name))
    except EngineFailed as error:
        if status_of(error) == 404:
            return None
        if status_of(error) == 400:
            raise AppFailed(f"{name!r} is no image name.", advice="Look at the FROM lines.") from error
        raise


def _have(client: DockerClient, name: str, what: str, platform: str, watch: Watch) -> str:
    found = inspect(client, name)
    if found is None:
        _pull(client, name, what, platform, watch)
        found = inspect(client, name)
    if found is None:
        raise EngineFailed(f"{what} was pulled and is not there.", advice="Retry.")
    return str(found["Id"])


def _pull(client: DockerClient, name: str, what: str, platform: str, watch: Watch) -> None:
    """The Engine may be silent for long. A pull that is given up goes on in its thread and helps the next attempt."""

    def pulled() -> Iterator[None]:
        try:
            with translate("pull"):
                client.images.pull(name, tag=None if _has_tag(name) else "latest", platform=platform or None)
        except PushliveError as error:
            raise _not_to_be_had(what, error) from error
        yield

    try:
        for _ in pump(pulled(), watch.check, name=f"pull-{name}", silence=_PULL_LIMIT, join=0):
            pass
    except Silence:
        raise TimedOut(f"{what} was not pulled within {_PULL_LIMIT:.0f} seconds.") from None


def _not_to_be_had(what: str, error: PushliveError) -> PushliveError:
    why = error.message.removeprefix("pull: ").rstrip(".")
    if isinstance(error, TryAgain):
        return error
    if status_of(error) == 404:
        return AppFailed(
            f"{what} is neither on this machine nor to be had from its registry: {why}.",
            advice="Look at the name; for a private one, `docker login` and pull it on this machine first.",
        )
    return EngineFailed(
        f"{what} is not on this machine, and pulling it failed: {why}.",
        advice="Look whether the registry can be reached, or `docker load` the image here, then retry.",
    )


def _has_tag(name: str) -> bool:
    return "@" in name or ":" in name.rpartition("/")[2]
