"""The `release` key: a command before a release starts."""

from __future__ import annotations

import shlex
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.config.fields import Limit, Model, Text
from pipeline.lib.units import write_duration


class ReleaseCommand(Model):
    """A command that runs once in each environment before the release starts there, such as a migration. A list is the
    command alone."""

    SHORT = "a list of texts, or {command: [./migrate.sh], timeout: 30m}"
    LISTED = "command"

    command: tuple[Text, ...] = ()
    """The command and its arguments, run without the image's `ENTRYPOINT`. The release goes on only if it exits with
    0."""
    timeout: Limit = 1800.0
    """How long it may take. Then its outcome is unknown, and the environment is held."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: Any) -> Any:
        return {"command": given} if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _not_without_command(self) -> ReleaseCommand:
        if not self.command and self.timeout != type(self).model_fields["timeout"].default:
            raise ValueError("has `timeout` but no `command`; write {command: [./migrate.sh], timeout: 30m}")
        return self

    @model_serializer(mode="wrap")
    def _as_list(self, whole: SerializerFunctionWrapHandler) -> Any:
        """As earlier versions stored it, unless there is more to say."""
        plain = whole(self)
        return (
            plain.get("command", []) if self.timeout == type(self).model_fields["timeout"].default else plain
        )

    def __str__(self) -> str:
        timeout = self.timeout != type(self).model_fields["timeout"].default
        text = shlex.join(self.command) or "none"
        return f"{text} (timeout {write_duration(self.timeout)})" if timeout else text
