"""``run``: a command in a container of the same image."""

from __future__ import annotations

import shlex
from typing import ClassVar

from pydantic import Field

from pipeline.config.checks.base import Asker, CheckModel, Verdict
from pipeline.config.fields import Argv, Limit
from pipeline.lib.text import brief, one_line
from pipeline.lib.units import show_duration


class RunCheck(CheckModel):
    """Run a command in a container of the same image, on the environment's network."""

    run: Argv = Field(min_length=1)
    """The command and its arguments; exit status 0 passes. `PUSHLIVE_URL` contains the URL of the new release."""
    within: Limit = 60.0
    """The time limit for the command."""

    ALWAYS_HASHED = frozenset({"run", "within"})
    KEY: ClassVar[str] = "run"
    EXAMPLE: ClassVar[str] = "{run: [command]}"
    MEANT: ClassVar[tuple[str, ...]] = ("exec", "cmd", "command")

    def show(self) -> str:
        return f"run {brief(shlex.join(self.run))}"

    @property
    def repeat_for(self) -> float | None:
        return None  # a command may change data: once is what was asked for

    @property
    def allowance(self) -> float:
        return self.within

    def perform(self, asker: Asker) -> Verdict:
        ended = asker.command(self.run, self.within)
        if ended is None:
            return Verdict(False, f"did not end within {show_duration(self.within)} and was stopped")
        output = ended.output.strip()
        last = f": {one_line(output.splitlines()[-1])}" if output else ""
        return Verdict(ended.exit_code == 0, f"exit {ended.exit_code}{last}")
