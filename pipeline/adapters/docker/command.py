"""One command in a container of its own: started once, found again after a crash, never guessed about."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.adapters import output_lines
from pipeline.adapters.docker_api.api import NEVER, DockerApi, Found
from pipeline.adapters.docker_api.labels import Body
from pipeline.domain.engine_types import CommandResult
from pipeline.errors import OutcomeUnknown
from pipeline.ports.builder import Emit
from pipeline.ports.clock import Clock, Watch

LOST = 255  # what dockerd itself writes for a container that ended while it was not looking


def run_command(
    api: DockerApi, clock: Clock, name: str, body: Callable[[], Body], emit: Emit, watch: Watch
) -> CommandResult:
    """Runs the command, or awaits or looks up the one begun earlier under the same name. ``body`` makes what a new
    container is created from.

    Each output line is emitted as it comes. Raises OutcomeUnknown where it was begun and its result is not
    to be had; what the watch raises leaves the container as it is, for the next call or ``forget_command``.
    """
    began = clock.monotonic()
    earlier = api.inspect(name)
    if earlier is None:
        api.create(name, body())
    if earlier is None or earlier["State"]["StartedAt"] == NEVER:
        api.start(name)
        earlier = None
    stream = api.follow(name)
    text = output_lines.follow(stream, stream.close, name, clock, emit, watch)
    found = _ended(api, name, watch)
    if found is None or (earlier and _lost(earlier)):
        raise OutcomeUnknown(
            f"{name} was begun, and nobody knows how it ended.",
            advice="Look what the command has done, then `pushlive retry` or `pushlive revert`.",
        )
    return CommandResult(int(found["State"]["ExitCode"]), text, clock.monotonic() - began)


def _lost(earlier: Found) -> bool:
    state = earlier["State"]
    return bool(state["Dead"] or (not state["Running"] and state["ExitCode"] == LOST))


def _ended(api: DockerApi, name: str, watch: Watch) -> Found | None:
    """The output has ended, the container does within milliseconds; None where it was removed."""
    while (found := api.inspect(name)) and found["State"]["Running"]:
        watch.wait(0.01)
    return found
