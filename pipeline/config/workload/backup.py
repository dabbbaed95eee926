"""The `backup` keys: how data are copied aside, how often, how many copies are kept, and where else they go."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.config.fields import Argv, Duration, Model, Words
from pipeline.lib.units import write_duration

SHORTEST = 60.0  # seconds between two backups
_SSH = re.compile(
    r"ssh://((?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)"
    r"(:(?P<port>[0-9]{1,5}))?(?P<folder>/[A-Za-z0-9._/~-]*)"
)
_S3 = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(/(?P<folder>[A-Za-z0-9_-][A-Za-z0-9._/-]*)?)?"
)
_TO = "a list of texts (a command that reads a backup), ssh://user@host/folder, or s3://bucket/folder"


def _url(text: str) -> str:
    parts = text.partition("://")[2].rstrip("/").split("/")
    ssh, bucket = _SSH.fullmatch(text), _S3.fullmatch(text)
    fits = (ssh and int(ssh["port"] or 22) in range(1, 65536)) or (bucket and {"", "."}.isdisjoint(parts))
    if text and (not fits or ".." in parts):
        raise ValueError(f"{text[:80]!r} is not a place for backups; write {_TO}")
    return text.rstrip("/")


class Destination(Model):
    """Where a copy of each backup goes. A list is a command, a text is a URL."""

    SHORT = _TO
    LISTED = "command"
    TEXT = "url"

    command: Argv = ()
    """A command on the machine of the service, run as its user. It reads the backup from its standard input, and the
    variable `PUSHLIVE_BACKUP` has the name for it, such as `shop-db-live-data-20260131T020000Z.dump`. The copy counts
    only if the command exits with 0."""
    url: Annotated[str, AfterValidator(_url), Words("ssh://user@host/folder or s3://bucket/folder")] = ""
    """`ssh://user@host/folder`: a file in that folder, through the system's ssh and without a password.
    `s3://bucket/folder`: an object in that bucket of the store that the settings `PUSHLIVE_S3_…` name."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"url": given}
        return {"command": given} if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _one(self) -> Destination:
        if self.command and self.url:
            raise ValueError(f"give one place: {_TO}")
        return self

    @model_serializer(mode="plain")
    def _as_short(self) -> Any:
        return list(self.command) if self.command else self.url

    @property
    def ssh(self) -> tuple[str, str, str]:
        """Of a URL: ``user@host``, the port or "", and the folder."""
        found = _SSH.fullmatch(self.url)
        if found is None:
            raise ValueError(self.url)
        user = f"{found['user']}@" if found["user"] else ""
        return f"{user}{found['host']}", found["port"] or "", found["folder"] or "/"

    @property
    def s3(self) -> tuple[str, str] | None:
        """The bucket, and the folder or ""; None for another place."""
        found = _S3.fullmatch(self.url)
        return (found["bucket"], found["folder"] or "") if found else None

    def __bool__(self) -> bool:
        return bool(self.command or self.url)

    def __str__(self) -> str:
        return shlex.join(self.command) or self.url or "none"


class Backup(Model):
    """When a volume is copied aside by itself, and where to."""

    every: Duration = 0.0
    """How often the service makes one by itself. 0: only when it is asked to."""
    keep: int = Field(default=7, ge=1, le=1000)
    """How many are kept in the data folder, and in the bucket if `to` is one; older ones are removed. What any other
    place has is left alone."""
    to: Destination = Destination()

    @model_validator(mode="after")
    def _long_enough(self) -> Backup:
        if 0 < self.every < SHORTEST:
            raise ValueError(f"`every` is at least {write_duration(SHORTEST)}")
        return self

    @model_serializer(mode="wrap")
    def _said(self, whole: SerializerFunctionWrapHandler) -> Any:
        """What is at its default is left out, so that a new key changes no fingerprint."""
        plain = whole(self)
        fields = type(self).model_fields
        return {key: plain[key] for key, spec in fields.items() if getattr(self, key) != spec.default}

    def __str__(self) -> str:
        said = [f"every {write_duration(self.every)}"] if self.every else []
        said += [f"keep {self.keep}"]
        said += [f"to {self.to}"] if self.to else []
        return ", ".join(said)


class AccessoryBackup(Backup):
    """How the data of an accessory are backed up and restored."""

    run: Argv = ()
    """A command in its container that writes a backup to its standard output, such as `[pg_dump, -U, postgres]`."""
    restore: Argv = ()
    """A command in its container that reads such a backup from its standard input. Without it a backup has to be a tar
    archive of its volume, which takes the place of the files while it is stopped."""

    @model_validator(mode="after")
    def _with_a_command(self) -> AccessoryBackup:
        if not self.run and self.model_dump():
            raise ValueError("has no `run`; write {run: [pg_dump, -U, postgres], every: 1d}")
        return self

    def __str__(self) -> str:
        return f"run {shlex.join(self.run)}, {super().__str__()}" if self.run else "none"
