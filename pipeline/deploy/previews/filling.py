"""The step ``data``: the command that fills the data of a new preview runs once, in a container of its release."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace

from pipeline.deploy import last_lines
from pipeline.deploy.run_context import RunContext
from pipeline.domain.audit_chain import Entry
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.previews.records import Previews
from pipeline.errors import AppFailed, Cancelled, StoreUnavailable, TimedOut
from pipeline.ports.engine import Engine

LIMIT = 1800.0  # seconds
STEP = "data"


class Filling:
    """``acting``: the engine, for a change on it; ``argv``: the command, () if there is none."""

    def __init__(self, context: RunContext, acting: Callable[[], Engine], argv: tuple[str, ...]) -> None:
        self._context, self._acting, self._argv = context, acting, argv

    def go(self, spec: SlotSpec) -> None:
        """Unless it has succeeded before. One that failed runs again with the next run: it has to bear that. Raises
        AppFailed if the command fails."""
        name, run = spec.ref.pipeline, self._context.run
        one = self._context.store.previews.of(name)
        if not self._argv or one is None or one.filled:
            return
        container = f"data-{run.number}"
        if not run.passed(name, STEP):
            self._run(spec, container)
        self._context.store.previews.change(lambda found: _filled(found, name))
        self._acting().commands.forget_command(spec, container)

    def _run(self, spec: SlotSpec, container: str) -> None:
        stage, what = spec.ref.environment, f"the command {shlex.join(self._argv)} of `previews.data`"
        minutes = f"{LIMIT / 60:.0f} minutes"
        advice = f"`previews.data` may take {minutes}. `pushlive preview rm {stage}` removes what it left."
        with self._context.step(stage, STEP, LIMIT, advice) as step:
            self._context.still_ours()
            commands = self._acting().commands
            emit = self._context.emitter(stage)
            try:
                result = commands.command(spec, container, self._argv, {}, emit, step.watch, entrypoint=True)
            except StoreUnavailable:
                raise
            except (Cancelled, TimedOut):
                commands.end_command(spec, container)
                raise
            if result.exit_code:
                raise AppFailed(
                    f"{stage}: {what} exited with {result.exit_code}.",
                    advice="Nothing was started. The next push runs it again, with the data that it left; `pushlive "
                    f"preview rm {stage}` removes them first.",
                    evidence=tuple(result.output.splitlines()[-last_lines.LINES :]),
                )
            step.detail = "exit 0"


def _filled(found: Previews, name: str) -> tuple[Previews, tuple[Entry, ...], None]:
    one = found.get(name)
    return ({**found, name: replace(one, filled=True)} if one else found), (), None
