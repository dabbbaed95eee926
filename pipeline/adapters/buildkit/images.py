"""The images that a build starts from: looked up on the Engine, pulled if they are missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from pipeline.adapters.buildkit.dockerfile import Dockerfile, images
from pipeline.adapters.docker_api.api import DockerApi, Found
from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.docker_api.labels import PIPELINE
from pipeline.config.image_hints import Declared
from pipeline.config.models import Build
from pipeline.errors import AppFailed, EngineFailed, PushliveError, TimedOut, TryAgain
from pipeline.lib.streams import Silence, pump
from pipeline.ports.clock import Watch

_ID = re.compile(r"(sha256:)?[0-9a-f]{7,64}")
_PULL_LIMIT = 300.0  # seconds for one image


Pulled = Callable[[str], None]  # is given the id of an image that was not on the Engine before


def base_ids(api: DockerApi, file: Dockerfile, build: Build, watch: Watch, pulled: Pulled) -> dict[str, str]:
    """The id of each image that the build starts from or copies from, by its name in the Dockerfile.

    Missing ones are pulled. Raises AppFailed (there is no such image) and EngineFailed (it cannot be pulled now); both
    name the image and say why.
    """
    wanted = _wanted(file, build)
    return {name: _provide(api, name, what, build.platform, watch, pulled) for name, what in wanted.items()}


def refresh(api: DockerApi, file: Dockerfile, build: Build, watch: Watch, pulled: Pulled) -> Iterator[str]:
    """Pulls the images that are on this machine, as their registries have them now. One that cannot be pulled stays
    usable: yields a sentence for it. Raises what the watch raises."""
    for name, what in _wanted(file, build).items():
        if "@" in name or (before := _inspect(api, name)) is None:
            continue  # the same for ever, or pulled anyway
        try:
            _pull(api, name, what, build.platform, watch)
            now = _inspect(api, name)
            if now and now["Id"] != before["Id"]:
                pulled(str(now["Id"]))
        except (AppFailed, EngineFailed, TimedOut, TryAgain) as error:
            watch.check()  # it may be the step that has taken too long
            why = getattr(error.__cause__, "said", "") or error.message
            yield f"{what} could not be pulled, so the one on this machine is used: {why.rstrip('.')}."


def _wanted(file: Dockerfile, build: Build) -> dict[str, str]:
    """Every image by its name, with what it is."""
    wanted = {name: f"The base image {name!r}" for name in images(file, build.target)}
    if file.syntax:
        wanted[file.syntax] = f"The Dockerfile frontend {file.syntax!r} (its `# syntax=` line)"
    return wanted


def refuse_foreign(api: DockerApi, bases: dict[str, str], pipeline: str) -> None:
    """Raises AppFailed for an image of another pipeline: a developer of one pipeline must not read another's."""
    for name, id_ in bases.items():
        owner = labels_of(_inspect(api, id_)).get(PIPELINE, pipeline)
        if owner != pipeline or _ID.fullmatch(name):
            why = f"belongs to the pipeline {owner}" if owner != pipeline else "is an image id, not a name"
            raise _foreign(name, why)


def _foreign(name: str, why: str) -> AppFailed:
    return AppFailed(
        f"The base image {name[:80]!r} {why}.",
        advice="Use a base image by name, from a registry or loaded on this machine.",
    )


class Record:
    """Checks the images that BuildKit says it reads. This holds whatever the Dockerfile means: an ``ONBUILD`` of a base
    image counts as well, and so does a line that BuildKit reads in another way than we do."""

    def __init__(self, api: DockerApi, pipeline: str) -> None:
        self._api = api
        self._pipeline = pipeline
        self._seen: set[str] = set()

    def check(self, name: str) -> None:
        """Raises AppFailed if the image belongs to another pipeline."""
        if not name or name in self._seen or name == "scratch":
            return
        self._seen.add(name)
        found = _inspect(self._api, name) or _inspect(self._api, name.partition("@")[0])
        owner = labels_of(found).get(PIPELINE, self._pipeline)
        if owner != self._pipeline:
            raise _foreign(name, f"belongs to the pipeline {owner}")


def is_accepted(image: Found) -> bool:
    """True if a listed image has a tag. One without was built, but nobody may have read the whole record of it."""
    return any(tag != "<none>:<none>" for tag in image.get("RepoTags") or ())


def labels_of(image: Found | None) -> dict[str, str]:
    """The labels of an inspected image; none if there is no image."""
    return ((image or {}).get("Config") or {}).get("Labels") or {}


def declared_by(image: Found | None) -> Declared:
    """What an inspected image declares, by itself or by its base."""
    config = (image or {}).get("Config") or {}
    return Declared(tuple(sorted(config.get("Volumes") or ())), tuple(config.get("Entrypoint") or ()))


def _inspect(api: DockerApi, name: str) -> Found | None:
    try:
        return api.image(name)
    except DockerRefused as error:
        if error.status == 400:
            raise AppFailed(f"{name!r} is not a valid image name.", advice="Check the FROM lines.") from error
        raise


def _provide(api: DockerApi, name: str, what: str, platform: str, watch: Watch, pulled: Pulled) -> str:
    found = _inspect(api, name)
    if found is None:
        _pull(api, name, what, platform, watch)
        found = _inspect(api, name)
        if found:
            pulled(str(found["Id"]))
    if found is None:
        raise EngineFailed(
            f"{what} was pulled but is not on the Engine.",
            advice="Check the Docker daemon's log.",
            again=True,
        )
    return str(found["Id"])


def _pull(api: DockerApi, name: str, what: str, platform: str, watch: Watch) -> None:
    """The Engine may be silent for long. A pull that is given up continues in its thread and helps the next attempt."""

    def pulled() -> Iterator[None]:
        try:
            api.pull(name, platform)
        except PushliveError as error:
            raise _cannot_pull(what, error) from error
        yield

    try:
        for _ in pump(pulled(), watch.check, name=f"pull-{name}", silence=_PULL_LIMIT, join=0):
            pass
    except Silence:
        raise TimedOut(f"{what} was not pulled within {_PULL_LIMIT:.0f} seconds.") from None


def _cannot_pull(what: str, error: PushliveError) -> PushliveError:
    if isinstance(error, TryAgain):
        return error
    why = error.said if isinstance(error, DockerRefused) else error.message
    why = why.rstrip(".")
    if isinstance(error, DockerRefused) and error.status == 404:
        return AppFailed(
            f"{what} is not on this machine, and its registry does not have it: {why}.",
            advice="Check the name. For a private image, `docker login` and pull it on this machine first.",
        )
    return EngineFailed(
        f"{what} is not on this machine, and pulling it failed: {why}.",
        advice="Check that the registry can be reached, or `docker load` the image here.",
        again=True,
    )
