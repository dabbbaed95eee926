"""Images that no name leads to any more: what was built and lost its tag, and base images whose tag has another image.

A base image carries no label, so each one that a build pulls gets a tag of ours as well. An image that a person pulled,
or gave another tag, has another name than that, and is never removed.
"""

from __future__ import annotations

from pipeline.adapters.buildkit.images import is_accepted
from pipeline.adapters.docker_api.api import DockerApi
from pipeline.adapters.docker_api.labels import INSTANCE, PIPELINE


def bases(instance: str) -> str:
    """The repository of the tags that mark base images: no pipeline's, whose names have no underscore."""
    return f"{instance}__base"


def mark(api: DockerApi, instance: str, id_: str) -> None:
    """A build has pulled this base image."""
    api.tag(id_, bases(instance), id_.removeprefix("sha256:")[:12])


def remove_replaced(api: DockerApi, instance: str) -> int:
    """Removes base images that have no tag but ours, and that no container uses; how many."""
    repository = bases(instance)
    listed = [str(image["Id"]) for image in api.images(repository=repository)]
    removed = 0
    for id_ in dict.fromkeys(listed):
        found = api.image(id_) or {}  # a listed one has only those tags that were asked for
        tags = tuple(found.get("RepoTags") or ())
        if tags and all(tag.startswith(f"{repository}:") for tag in tags):
            removed += _remove_base(api, instance, id_, tags)
    return removed


def _remove_base(api: DockerApi, instance: str, id_: str, tags: tuple[str, ...]) -> bool:
    for tag in tags:
        api.remove_image(tag)
    if api.image(id_) is None:
        return True
    if not api.remove_image(id_):  # it still has the digest of its registry, and a container uses it
        mark(api, instance, id_)
        return False
    return True


def untagged(api: DockerApi, instance: str, pipeline: str) -> frozenset[str]:
    """The ids of the images that were built for the pipeline and have no tag."""
    built = api.images(f"{INSTANCE}={instance}", f"{PIPELINE}={pipeline}")
    return frozenset(str(image["Id"]) for image in built if not is_accepted(image))


def remove_untagged(api: DockerApi, id_: str) -> bool:
    """False if it has got a tag meanwhile, or if a container uses it."""
    found = api.image(id_)
    return found is not None and not found.get("RepoTags") and api.remove_image(id_)
