"""The `release` key: a command before a release starts."""

from __future__ import annotations

import shlex
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.config.fields import Argv, Limit, Model
from pipeline.lib.units import write_duration


class ReleaseCommand(Model):
    """A command that runs once for each release in each environment, before the release starts there, such as a
    migration. A list is the command alone."""

    SHORT = "a list of texts, or {command: [./migrate, up], timeout: 30m, back: [./migrate, down]}"
    LISTED = "command"

    command: Argv = ()
    """The command and its arguments. The image's `ENTRYPOINT` is given them, as at a start. The release goes on only if
    it exits with 0."""
    timeout: Limit = 1800.0
    """How long it may take, and how long `back` may. Then it is stopped (SIGTERM, SIGKILL after `stop`), its outcome is
    unknown, and the environment is held."""
    back: Argv = ()
    """The command that undoes it. A revert runs it when it is asked to (`pushlive revert hello --back`), in a container
    of the release that is left, before the release before it starts."""
    reversible: bool = True
    """`false`: the release before may not work with what the command has changed. A revert across it says so, and goes
    on only when it is confirmed."""
    cancel: bool = False
    """`true`: ending the command half-way is harmless, so `pushlive cancel` ends it. Otherwise a cancellation waits for
    its end."""
    entrypoint: bool = True
    """`false`: the commands are run without the image's `ENTRYPOINT`."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: Any) -> Any:
        return {"command": given} if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _not_without_command(self) -> ReleaseCommand:
        if not self.command and self._more():
            keys = ", ".join(f"`{key}`" for key in self._more())
            raise ValueError(f"has {keys} but no `command`; write {{command: [./migrate.sh], timeout: 30m}}")
        return self

    def _more(self) -> tuple[str, ...]:
        """The keys beside the command that differ from their defaults."""
        fields = type(self).model_fields
        return tuple(key for key in fields if key != "command" and getattr(self, key) != fields[key].default)

    @model_serializer(mode="wrap")
    def _as_list(self, whole: SerializerFunctionWrapHandler) -> Any:
        """As earlier versions stored it, unless there is more to say."""
        plain, more = whole(self), self._more()
        if not more:
            return plain.get("command", [])
        return {key: value for key, value in plain.items() if key in ("command", "timeout", *more)}

    def __str__(self) -> str:
        said = {"timeout": write_duration(self.timeout), "back": shlex.join(self.back)}
        flags = ("reversible", "cancel", "entrypoint")
        said |= {key: "true" if getattr(self, key) else "false" for key in flags}
        more = ", ".join(f"{key} {said[key]}" for key in self._more())
        text = shlex.join(self.command) or "none"
        return f"{text} ({more})" if more else text
