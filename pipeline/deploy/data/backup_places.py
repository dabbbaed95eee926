"""Where backups are: what the configuration says, what is in the data folder, and what is in a bucket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.config.models import Config
from pipeline.config.previews.names import is_preview
from pipeline.config.workload.backup import Backup, Destination
from pipeline.deploy.data.kept import KeptBackups
from pipeline.deploy.data.volumes import TRANSFER
from pipeline.deploy.services import Services
from pipeline.domain.volumes import DATA, BackupState, KeptBackup, VolumeRef, backup_state, time_of
from pipeline.errors import EngineFailed, NotFound, RequestError
from pipeline.lib.units import show_time
from pipeline.ports.adapters import Adapters
from pipeline.ports.clock import Deadline
from pipeline.store import Store

LATEST = "latest"
_WORD = re.compile(r"[a-z][a-z0-9-]*")


class BackupPlaces:
    """What is said about backups is read from the configuration in force, also for what an earlier one has made."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._store, self._configurations = services.store, services.configurations
        self._adapters, self._clock = adapters, adapters.clock
        self.kept = KeptBackups(services.settings.data, services.settings.disk_free)

    def configured(self) -> dict[VolumeRef, Backup]:
        """Everything with a `backup` key."""
        _, config = self._configurations.current()
        return configured(config)

    def said(self, ref: VolumeRef) -> Backup:
        """What is configured for it; the defaults if nothing is."""
        return self.configured().get(ref, Backup())

    def state(self, ref: VolumeRef) -> BackupState:
        return state_of(self._store, ref)

    def copies(self, ref: VolumeRef) -> tuple[KeptBackup, ...]:
        """What is in the bucket that `to` names, newest first. Raises EngineFailed."""
        found = [one for _, one in self._copies(ref)]
        return tuple(sorted(found, key=lambda one: one.order, reverse=True))

    def _copies(self, ref: VolumeRef) -> list[tuple[VolumeRef, KeptBackup]]:
        """Each with the name under which it was sent."""
        to = self.said(ref).to
        return [(of, one) for of in self._names(ref) for one in self._adapters.copies.kept(to, of)]

    def _names(self, ref: VolumeRef) -> Iterator[VolumeRef]:
        """The one that it has, and those that it had."""
        yield ref
        for former in reversed(self.state(ref).formerly):
            yield VolumeRef(*former.split("/"))  # type: ignore[arg-type]

    @contextmanager
    def at_hand(self, ref: VolumeRef, file: str) -> Iterator[tuple[Path, str]]:
        """A backup as a file, and its name. ``file``: the name of one that is kept here or in the bucket that `to`
        names, `latest` for the newest of both, or the ``s3://…`` of one in a bucket that pipelines.yaml names. Raises
        NotFound, RequestError, EngineFailed."""
        to, of, name = self._found(ref, file)
        if to is None:
            yield self.kept.path(of, name), name
            return
        watch = Deadline(self._clock, TRANSFER, f"Reading {name}")
        with (
            closing(self._adapters.copies.read(to, of, name, watch)) as pieces,
            self.kept.spooled(ref, pieces) as (path, _),
        ):
            yield path, name

    def _found(self, ref: VolumeRef, file: str) -> tuple[Destination | None, VolumeRef, str]:
        """Where it is, None for here; whose it is there; and its name."""
        if file.startswith("s3://"):
            return self._in_a_bucket(file)
        to, here = self.said(ref).to, self.kept.of(ref)
        if file in {one.file for one in here} or (not to.s3 and file != LATEST):
            return None, ref, file
        try:
            copies = self._copies(ref)
        except EngineFailed as error:
            raise _unlisted(error, here) from error
        found = [*((None, ref, one) for one in here), *((to, of, one) for of, one in copies)]
        if file != LATEST:
            found = [one for one in found if one[2].file == file]
        if not found:
            what = f"backup {file[:120]!r}" if file != LATEST else "backup"
            raise NotFound(
                f"There is no {what} of {named(ref)}.", advice=f"`pushlive backups {ref.owner}` lists them."
            )
        where, of, newest = max(found, key=lambda one: (*one[2].order[:2], one[0] is None))
        return where, of, newest.file

    def _in_a_bucket(self, url: str) -> tuple[Destination, VolumeRef, str]:
        """Only what pipelines.yaml names: the key of the service may read more than a maintainer should."""
        for said in self.configured().values():
            rest = url.removeprefix(f"{said.to.url}/") if said.to.s3 else url
            parts = rest.split("/")
            if rest != url and len(parts) == 4 and all(map(_WORD.fullmatch, parts[:3])) and time_of(parts[3]):
                return said.to, VolumeRef(parts[0], parts[1], parts[2]), parts[3]
        raise RequestError(
            f"{url[:200]} is no backup in a bucket that pipelines.yaml names under `backup.to`.",
            advice="Write s3://BUCKET/FOLDER/NAME/ENVIRONMENT/VOLUME/FILE; `pushlive backups NAME` lists the files.",
        )


def _unlisted(error: EngineFailed, here: tuple[KeptBackup, ...]) -> EngineFailed:
    """Which is the latest is not known: a person may take the newest of those that are ``here``."""
    if not here:
        return error
    newest = here[0]
    return EngineFailed(
        error.message,
        advice=f"{error.advice} `--kept {newest.file}` takes the newest one that is here, of {show_time(newest.at)}; "
        "a newer one may be in the bucket.".strip(),
    )


def fact_of(ref: VolumeRef) -> str:
    return f"backup:{ref}"


def state_of(store: Store, ref: VolumeRef) -> BackupState:
    return backup_state(store.facts.get(fact_of(ref)))


def named(ref: VolumeRef) -> str:
    """As its commands name it: an accessory, or a volume."""
    return f"{ref.owner}/{ref.environment}" if ref.kind == "accessory" else str(ref)


def configured(config: Config) -> dict[VolumeRef, Backup]:
    """Everything with a `backup` key."""
    found: dict[VolumeRef, Backup] = {}
    for name, pipeline in config.pipelines.items():
        if is_preview(name):
            continue  # its data go with it
        for environment in pipeline.environments:
            found |= of_environment(config, name, environment)
    return found


def of_environment(config: Config, pipeline: str, environment: str) -> dict[VolumeRef, Backup]:
    """The same of its volumes, and of the accessories that it uses."""
    found = config.pipelines.get(pipeline)
    if found is None or environment not in found.environments:
        return {}
    rendered = found.render(environment)
    backups: dict[VolumeRef, Backup] = {
        VolumeRef(pipeline, environment, name): one.backup
        for name, one in rendered.service.volumes.items()
        if one.backup != Backup()
    }
    for use in rendered.uses.values():
        one = config.accessories.get(use.accessory)
        if one and one.backup.run:
            backups[VolumeRef(use.accessory, environment, DATA, "accessory")] = one.backup
    return backups
