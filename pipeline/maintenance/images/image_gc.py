"""Removes the images of old releases, and those that no name leads to any more."""

from __future__ import annotations

from pipeline.config.previews.names import is_preview
from pipeline.deploy.build_stage import repository
from pipeline.domain.release import Release
from pipeline.domain.retention import needed
from pipeline.errors import StoreUnavailable, TryAgain
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.builder import Builder
from pipeline.store import Store


class ImageGc(Job):
    """``keep``: how many of the newest releases keep their image, and of those that were good in an environment, beside
    all that is ``needed``."""

    def __init__(self, store: Store, builder: Builder, instance: str, keep: int, damage: Damage) -> None:
        self._store, self._builder, self._instance, self._damage = store, builder, instance, damage
        self.keep = keep

    def run(self) -> list[str]:
        try:
            return self.remove()
        except StoreUnavailable:
            raise
        except TryAgain:  # a run that needs the builder says so, and `gc`
            return []

    def remove(self) -> list[str]:
        """What was removed. Raises TryAgain if the builder does not answer."""
        said = [*self._damage.each(self._remove_old), *self._damage.each(self._remove_untagged)]
        bases = self._builder.remove_replaced_bases()
        if bases:
            said.append(f"{_count(bases, 'base image')} that a rebuild has replaced {_were(bases)} removed")
        return said

    def _remove_old(self, pipeline: str) -> list[str]:
        name = repository(self._instance, pipeline)
        releases = self._store.releases(pipeline)
        numbers = self._kept(pipeline, releases)
        kept = [release for release in releases if release.number in numbers]
        commits = {release.commit for release in kept}
        here, said = self._builder.images(name), []
        for release in releases:
            if release.number in numbers:
                continue
            tags = [release.name, *([] if release.commit in commits else [release.commit[:7]])]
            there = here.get(release.image, ())
            gone = [tag for tag in tags if tag in there and self._builder.untag(name, tag)]
            if gone:  # else it was reported when they went
                said.append(_removed(release, kept))
        return said

    def _remove_untagged(self, pipeline: str) -> list[str]:
        """What was built and got no tag, or lost it. A build that is under way has still to give its image one: what it
        has built so far is listed first."""
        found = self._builder.untagged(pipeline)
        if not found or any(run.release is None for run in self._store.open_runs(pipeline)):
            return []
        releases = self._store.releases(pipeline)
        numbers = self._kept(pipeline, releases)
        kept = {release.image for release in releases if release.number in numbers}
        gone = sum(self._builder.remove_untagged(digest) for digest in sorted(found - kept))
        return [f"{pipeline}: {_count(gone, 'image')} without a tag {_were(gone)} removed"] if gone else []

    def _kept(self, pipeline: str, releases: tuple[Release, ...]) -> set[int]:
        environments = self._store.environments(pipeline).values()
        good = (number for environment in environments for number in environment.good[-self.keep :])
        over = is_preview(pipeline) and not environments  # nothing goes back to a preview that was removed
        newest = () if over else [release.number for release in releases[-self.keep :]]
        return {*newest, *good, *needed(environments, self._store.open_runs(pipeline))}


def _removed(release: Release, kept: list[Release]) -> str:
    same = next((one for one in reversed(kept) if one.image == release.image), None)
    if same:
        return f"{release.tag}: the tag was removed; {same.name} has the same image"
    return f"{release.tag}: the image is no longer kept"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _were(number: int) -> str:
    return "was" if number == 1 else "were"
