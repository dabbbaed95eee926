"""Which version of a secret an environment gets. Plain data and pure rules; the values are encrypted.

The versions of a secret share one numbering, whatever environment they are for: a number means one value for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pipeline.config.previews.names import SECRETS as PREVIEWS
from pipeline.config.previews.names import is_preview, pipeline_of
from pipeline.domain.release import Release
from pipeline.errors import ConfigError, NotFound

KEPT = 10  # versions of one secret for one environment, or for EVERY
EVERY = ""  # instead of an environment's name: for all environments without a version of their own

Records = Mapping[str, "SecretRecord"]


@dataclass(frozen=True)
class Version:
    """One value. ``sealed`` is the encrypted value; it and ``key`` are empty once the version is revoked."""

    number: int
    environment: str  # or EVERY
    created: float
    by: str
    sealed: str = ""
    key: str = ""  # the id of the key that it is encrypted with
    revoked: float = 0.0
    revoked_by: str = ""

    @property
    def good(self) -> bool:
        return bool(self.sealed)


@dataclass(frozen=True)
class SecretRecord:
    """One secret of one pipeline: the versions that are kept, oldest first."""

    name: str
    last: int = 0  # the highest number that was ever used
    versions: tuple[Version, ...] = ()

    def version(self, number: int) -> Version | None:
        return next((one for one in self.versions if one.number == number), None)

    def ever(self, environment: str) -> bool:
        """True if the environment has, or had, a value: one that was revoked counts."""
        return any(one.environment in _sources(environment) for one in self.versions)

    def newest(self, environment: str) -> Version | None:
        """The version that the environment gets now: its own newest, else the newest for all environments; a preview
        only what is set for previews."""
        for name in _sources(environment):
            found = [one for one in self.versions if one.environment == name and one.good]
            if found:
                return found[-1]
        return None


def _sources(environment: str) -> tuple[str, str]:
    """For what a value may be set that the environment gets, the closest first. What is set for every environment may
    be that of live, so no preview gets it."""
    return environment, PREVIEWS if is_preview(environment) else EVERY


@dataclass(frozen=True)
class Chosen:
    """Version numbers by name, and notes for the user about the choice."""

    versions: dict[str, int]
    notes: tuple[str, ...] = ()


def added(record: SecretRecord, version: Version, used: frozenset[int]) -> SecretRecord:
    """The record with one version more. Only the newest KEPT versions for its environment stay, and those ``used`` in a
    slot."""
    same = [one for one in record.versions if one.environment == version.environment]
    old = {one.number for one in same[: max(0, len(same) + 1 - KEPT)]} - used
    kept = tuple(one for one in record.versions if one.number not in old)
    return replace(record, last=version.number, versions=(*kept, version))


def revoked(
    pipeline: str, record: SecretRecord, environment: str, number: int | None, by: str, now: float
) -> tuple[SecretRecord, tuple[int, ...]]:
    """The record without the value of that version, or of all versions for that environment, and their numbers. Raises
    NotFound."""
    gone = [
        one
        for one in record.versions
        if one.good
        and (one.environment == environment if number is None or environment else True)
        and number in (None, one.number)
    ]
    if not gone:
        there = sorted({one.environment for one in record.versions if one.good})
        if number is None and there:
            name = f"`pushlive secret rm {pipeline} {record.name}"
            ways = [f"{name} --env {one}`" if one else f"{name}`" for one in there]
            raise NotFound(
                f"{record.name} has no version to revoke for {environment or 'every environment'}; it is set for "
                f"{' and '.join(one or 'every environment' for one in there)}.",
                advice=f"{' and '.join(ways)} {'revokes' if len(ways) == 1 else 'revoke'} that.",
            )
        raise NotFound(
            f"{record.name} has no {f'version {number}' if number else 'version'} to revoke"
            f"{f' for {environment}' if environment else ''}.",
            advice=f"`pushlive secret versions {pipeline} {record.name}` lists them.",
        )
    numbers = tuple(one.number for one in gone)
    versions = tuple(
        replace(one, sealed="", key="", revoked=now, revoked_by=by) if one.number in numbers else one
        for one in record.versions
    )
    return replace(record, versions=versions), numbers


def newest(records: Records, pipeline: str, wanted: Mapping[str, Iterable[str]]) -> dict[str, dict[str, int]]:
    """The newest version numbers by name, for each environment. Raises ConfigError with every secret that is missing
    and the commands that set them."""
    found: dict[str, dict[str, int]] = {}
    missing: list[tuple[str, str]] = []
    for environment, names in wanted.items():
        for name in names:
            record = records.get(name)
            version = record.newest(environment) if record else None
            if version:
                found.setdefault(environment, {})[name] = version.number
            else:
                missing.append((environment, name))
    if missing:
        raise absent(pipeline, missing)
    return found


def absent(pipeline: str, missing: Iterable[tuple[str, str]]) -> ConfigError:
    """The error for secrets that are not set. ``missing``: (environment, name); the environment "" is the registry."""
    missing = tuple(missing)
    which = ", ".join(f"{name} for {environment or 'the registry'}" for environment, name in missing)
    owner = pipeline_of(pipeline)
    previews = any(is_preview(environment) for environment, _ in missing)
    options = [
        (name, f" --env {PREVIEWS if is_preview(env) else env}" if env else "") for env, name in missing
    ]
    commands = [f"`pushlive secret set {owner} {name}{option}`" for name, option in options]
    every = "" if previews else " (without --env: for all environments)"
    return ConfigError(
        f"{pipeline} has secrets that are not set: {which}.",
        advice=f"Nothing was built or started. Run {', '.join(commands)}{every}.",
        again=True,
    )


def chosen(records: Records, release: Release, environment: str) -> Chosen:
    """The versions that the release gets in that environment: its own, or the newest instead of one that was revoked.
    Raises ConfigError if one is missing, or its own is no longer kept."""
    own = release.secrets.get(environment, {})
    versions: dict[str, int] = {}
    notes: list[str] = []
    for name in release.environments[environment].service.all_secrets:
        record = records.get(name, SecretRecord(name))
        version = record.version(own.get(name, 0))
        if version and version.good:
            versions[name] = version.number
            continue
        if version is None and name in own:
            raise dropped(release.pipeline, environment, name, own[name])
        newer = record.newest(environment)
        if newer is None:
            raise absent(release.pipeline, [(environment, name)])
        versions[name] = newer.number
        if version:
            notes.append(substitute(version, newer, name, environment))
    return Chosen(versions, tuple(notes))


def substitute(old: Version, newer: Version, name: str, environment: str) -> str:
    """The note about a revoked version that is replaced."""
    return (
        f"version {old.number} of the secret {name} was revoked by {old.revoked_by}; "
        f"version {newer.number}, the newest for {environment}, is used instead"
    )


def dropped(pipeline: str, environment: str, name: str, number: int) -> ConfigError:
    """The error for a version that is no longer kept."""
    return ConfigError(
        f"version {number} of the secret {name} is no longer kept (only the last {KEPT} are), and "
        f"{pipeline}/{environment} needs it.",
        advice=f"Nothing was started. `pushlive deploy {pipeline} --config pipelines.yaml` makes a release with the "
        "newest version.",
    )
