"""The `processes` key: what runs beside the web process, from the same image."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from pipeline.config.fields import Argv, Duration, Limit, Model, Name, Words
from pipeline.lib import schedule
from pipeline.lib.units import write_duration

PLACES = 12  # containers of one slot, web replicas included
WEB = "web"


def _process_name(name: str) -> str:
    if name == WEB:
        raise ValueError(f"{name!r} is the name of the process that takes requests; choose another one")
    return name


ProcessName = Annotated[Name, AfterValidator(_process_name)]


def _cron(text: str) -> str:
    if text and (why := schedule.problem(text)):
        raise ValueError(f"{text[:60]!r}: {why}")
    return text


def _zone(text: str) -> str:
    if not schedule.is_zone(text):
        raise ValueError(f"{text[:60]!r} is not a time zone; write a name such as Europe/Dublin or UTC")
    return text


CronText = Annotated[str, AfterValidator(_cron), Words("a cron expression such as 0 3 * * *")]
Zone = Annotated[str, AfterValidator(_zone), Words("a time zone such as Europe/Dublin")]


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

    cron: CronText = ""
    """When it runs, instead of all the time: a cron expression of five fields, such as `0 * * * *`. Each run has a
    container of its own, which a switch does not end."""
    zone: Zone = "UTC"
    """The time zone of `cron`, such as `Europe/Dublin`. A time that the zone skips comes at the first moment after the
    gap, and one that it has twice comes once."""
    timeout: Limit = 3600.0
    """How long a run of `cron` may take; then it is stopped."""
    overlap: Literal["skip", "queue", "replace"] = "skip"
    """What happens when the run before is still at work: the new one does not take place, waits for it, or takes its
    place."""
    missed: Literal["run", "skip"] = "skip"
    """What happens if the service did not run at that time: one run makes up for it, or it is left out. It is said."""

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
