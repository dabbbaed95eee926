"""Removes the images of old releases."""

from __future__ import annotations

from pipeline.deploy.build_stage import repository
from pipeline.domain.release import Release
from pipeline.errors import TryAgain
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.ports.builder import Builder
from pipeline.store import Store


class ImageGc(Job):
    """``keep``: how many of the newest releases keep their image, beside all that a slot, a revert or an open run
    needs."""

    def __init__(self, store: Store, builder: Builder, instance: str, keep: int, damage: Damage) -> None:
        self._store, self._builder, self._instance, self._damage = store, builder, instance, damage
        self.keep = keep

    def run(self) -> list[str]:
        try:
            return self._damage.each(self._remove_old)
        except TryAgain as error:
            return [f"old images were not removed: {error}"]

    def _remove_old(self, pipeline: str) -> list[str]:
        name = repository(self._instance, pipeline)
        releases = self._store.releases(pipeline)
        keep = self._kept(pipeline, releases)
        here = self._builder.images(name)
        said = []
        for release in releases:
            if release.number in keep or release.image not in here:
                continue
            self._builder.untag(name, release.name)
            if not any(r.commit == release.commit and r.number in keep for r in releases):
                self._builder.untag(name, release.commit[:7])
            said.append(f"{release.tag}: the image is no longer kept")
        return said

    def _kept(self, pipeline: str, releases: tuple[Release, ...]) -> set[int]:
        """The newest releases, all that are in a slot or that a revert would need, and those of open runs."""
        keep = {release.number for release in releases[-self.keep :]}
        for environment in self._store.environments(pipeline).values():
            keep |= {record.release for record in environment.slots.values()}
            keep |= set(environment.good[-self.keep :])
        for run in self._store.open_runs(pipeline):
            keep |= {number for number in (run.release, run.from_release) if number}
        return keep
