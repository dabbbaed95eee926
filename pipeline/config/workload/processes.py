"""The `processes` key: what runs beside the web process, from the same image."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.config.fields import Argv, Duration, Model, Name
from pipeline.lib.units import write_duration

PLACES = 12  # containers of one slot, web replicas included
WEB = "web"


def _process_name(name: str) -> str:
    if name == WEB:
        raise ValueError(f"{name!r} is the name of the process that takes requests; choose another one")
    return name


ProcessName = Annotated[Name, AfterValidator(_process_name)]


class ProcessReady(Model):
    """How a process is known to be ready."""

    run: Argv = Field(min_length=1)
    """A command that is run in the process's container, again and again until it exits with 0; at most as long as the
    service's `ready`."""


class Process(Model):
    """A process beside the web one, such as a queue worker or a scheduler: from the same image, with the same
    variables, secrets and limits. It runs only while its release serves: a switch stops the old release's processes
    before the new one's start."""

    command: Argv = ()
    """What it runs, instead of the image's own command (`CMD`). The image's `ENTRYPOINT` stays. An environment that
    changes other keys of a process does not need it."""
    replicas: int = Field(default=1, ge=0, le=PLACES)
    """The number of its containers; 0: it does not run in that environment. A release has at most 12 containers in an
    environment, those of the web process included."""
    one: bool = False
    """`true` for what must never run twice, such as a scheduler: more than one replica is refused."""
    stop: Duration = 10.0
    """How long it may take to exit after SIGTERM; then it gets SIGKILL. The switch waits for that."""
    settle: Duration = 5.0
    """It is ready once it has run for so long. If it exits before, the run fails and the traffic goes back."""
    ready: ProcessReady | None = None
    """A command that says when it is ready, instead of `settle`."""

    def merged(self, own: Process) -> Process:
        """With the keys that an environment sets itself."""
        return self.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    def __str__(self) -> str:
        keys = type(self).model_fields
        changed = [name for name in keys if getattr(self, name) != keys[name].default and name != "command"]
        more = ", ".join(f"{name} {_shown(getattr(self, name))}" for name in changed)
        return shlex.join(self.command) + (f" ({more})" if more else "")


Processes = dict[ProcessName, Process]


def merged(common: Mapping[str, Process], own: Mapping[str, Process]) -> dict[str, Process]:
    """The processes of an environment: those of the service, with what the environment changes or adds."""
    changed = {name: common[name].merged(one) if name in common else one for name, one in own.items()}
    return {**common, **changed}


def _shown(value: object) -> str:
    if isinstance(value, ProcessReady):
        return shlex.join(value.run)
    if isinstance(value, float):
        return write_duration(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
