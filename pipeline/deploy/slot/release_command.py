"""The steps ``release`` and ``back``: a release's command in a container of its own, once for each release and
environment, and what undoes it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from pipeline.config.workload.release import ReleaseCommand
from pipeline.deploy import accessories, last_lines
from pipeline.deploy.environment_record import EnvironmentRecord
from pipeline.deploy.run_context import RunContext, Step
from pipeline.domain import slots
from pipeline.domain.engine_types import Login, SlotSpec
from pipeline.domain.environment import SLOTS
from pipeline.domain.going_back import release_commands
from pipeline.domain.release import Release
from pipeline.errors import (
    Abandoned,
    AppFailed,
    BackFailed,
    Cancelled,
    CommandLeft,
    EngineFailed,
    Interrupted,
    Overtime,
    PushliveError,
    StoreUnavailable,
    TimedOut,
    TryAgain,
)
from pipeline.lib.units import show_age, write_duration
from pipeline.ports.engine import Engine
from pipeline.secrets.vault import Vault


class CommandSteps:
    """``acting``: the engine, for a change on it; ``login_of``: the login for the registry of a spec; ``failed_for``:
    seconds that the container of a command that was left is kept."""

    def __init__(
        self,
        context: RunContext,
        acting: Callable[[], Engine],
        record: EnvironmentRecord,
        vault: Vault,
        login_of: Callable[[SlotSpec], Login | None],
        failed_for: float,
    ) -> None:
        self._context, self._acting, self._record = context, acting, record
        self._vault, self._login_of, self._failed_for = vault, login_of, failed_for
        self._name = record.name

    def release(self, spec: SlotSpec, release: Release) -> None:
        """Runs its command, unless it has run here."""
        name = f"release-{self._context.run.number}"
        if self._context.run.passed(self._name, "release"):  # its container may be gone by now
            self._acting().commands.forget_command(spec, name)
            return
        environment = self._record.known
        own = release_commands.command_of(environment, release)
        if not release_commands.is_due(environment, release, self._context.run.kind):
            if own.command and release_commands.stands(environment, release):
                text = f"the release command of {release.name} has run here before and is not run again"
                self._context.note(text, self._name)
            return
        one = _Command("release", f"the release command {shlex.join(own.command)}", name, spec, release, own)
        try:
            with self._step(one, own.timeout) as step:
                step.detail = self._run(one, own.command, step)
                self._record.command_ran(step, release.number)
        except (Abandoned, Cancelled) as error:
            self._left(one, error)
        self._acting().commands.forget_command(spec, name)

    def back(self, numbers: tuple[int, ...]) -> None:
        """Runs the `back` of those releases, as far as it has not run yet."""
        if not numbers or self._context.run.passed(self._name, "back"):
            return
        found = [self._backed(number) for number in numbers]
        current = found[0]
        try:
            with self._step(current, sum(one.own.timeout for one in found)) as step:
                details = []
                for current in found:
                    details.append(f"{current.release.name}: {self._once(current, step)}")
                step.detail = ", ".join(details)
        except (Abandoned, Cancelled) as error:
            self._left(current, error)
        for one in found:
            self._acting().commands.forget_command(one.spec, one.name)

    def _once(self, one: _Command, step: Step) -> str:
        """Unless an earlier worker has recorded that it succeeded."""
        if not release_commands.stands(self._record.read(), one.release):
            return "exit 0"
        detail = self._run(one, one.own.back, step)
        self._record.command_undone(one.release.number)
        return detail

    def _backed(self, number: int) -> _Command:
        """The `back` of that release, in a container of it with the secrets that its slot has, or would get now."""
        environment, run = self._record.read(), self._context.run
        release = self._context.store.release(run.pipeline, number)
        slot = environment.active or SLOTS[0]
        spec = slots.spec_of(slots.slot_ref(environment, slot), release, run.number)
        chosen = self._vault.choose(release, self._name)
        plain = partial(self._vault.reveal, run.pipeline, self._name, chosen.versions)
        reveal = accessories.revealing(plain, self._context.store, self._vault, spec.ref, spec.config)
        spec = replace(spec, secrets=chosen.versions, reveal=reveal, login=lambda: self._login_of(spec))
        self._context.redact_also(reveal().values())
        own = release_commands.command_of(environment, release)
        what = f"`back` of {release.name}, {shlex.join(own.back)},"
        return _Command("back", what, f"back-{run.number}-r{number}", spec, release, own)

    # ── one command ──────────────────────────────────────────────────────────

    def _step(self, one: _Command, timeout: float) -> AbstractContextManager[Step]:
        # A person's cancellation waits for the command's end: half of a migration helps no one.
        return self._context.step(
            self._name, one.step, timeout, advice="", cancellable=one.own.cancel, command=True
        )

    def _run(self, one: _Command, argv: tuple[str, ...], step: Step) -> str:
        """The step's detail. Raises AppFailed if the command fails."""
        emit, through = self._context.emitter(self._name), one.release.through_entrypoint(self._name)
        one.begun = True
        env = {name.upper(): value for name, value in self._context.trace.items()}
        try:
            result = self._acting().commands.command(
                one.spec, one.name, argv, env, emit, step.watch, entrypoint=through
            )
        except TimedOut as error:
            # Left running, it would meet the next release command in the same database.
            what = (
                f"{one.what[0].upper()}{one.what[1:]} did not finish within {write_duration(one.own.timeout)}"
            )
            raise Overtime(
                f"{what} and {self._ended(one)}; its result is unknown.",
                advice="See what it did, then "
                f"`pushlive resume {one.spec.ref.pipeline} --env {self._name}`; `release.timeout` in pipelines.yaml "
                "limits it.",
            ) from error
        if result.exit_code:
            raise (BackFailed if one.step == "back" else AppFailed)(
                f"{self._name}: {one.what} exited with {result.exit_code}.",
                advice=self._after_failure(one),
                evidence=tuple(result.output.splitlines()[-last_lines.LINES :]),
            )
        return f"exit {result.exit_code}"

    def _after_failure(self, one: _Command) -> str:
        run = self._context.run
        if one.step == "back":
            serving = self._record.read().serving
            return (
                f"r{serving} keeps serving. Make sure that `back` may run again, then `pushlive retry '{run.id}'`; or "
                "revert without `--back`, or push a fix."
            )
        return f"Nothing was started. Make sure that it may run again, then push a fix or `pushlive retry '{run.id}'`."

    def _left(self, one: _Command, error: Abandoned | Cancelled) -> None:
        """Raises what ends the run."""
        if not self._has_begun(one):
            raise error
        what = one.what[0].upper() + one.what[1:]
        if isinstance(error, Interrupted):  # by a revert, which does not wait for it
            raise CommandLeft(
                f"{error.message} {what.rstrip(',')} was left. {self._left_running()}"
            ) from error
        said = self._ended(one)
        if isinstance(error, Cancelled):
            text = f"{what.rstrip(',')} {said}, which is harmless: it says `cancel: true`."
            raise Cancelled(f"{error.message} {text}") from error
        raise Overtime(f"{error.message} {what.rstrip(',')} {said}; its result is unknown.") from error

    def _has_begun(self, one: _Command) -> bool:
        """Also if an earlier worker of the run began it."""
        if one.begun:
            return True
        try:
            runs = self._acting().commands.command_runs(one.spec.ref)
        except StoreUnavailable:
            raise
        except PushliveError:
            return True  # nothing is known
        return self._context.run.number in runs

    def _ended(self, one: _Command) -> str:
        try:
            self._acting().commands.end_command(one.spec, one.name)
        except StoreUnavailable:
            raise
        except (EngineFailed, TryAgain) as error:
            return f"may still run, because it could not be stopped ({error.message})"
        return "was stopped"

    def _left_running(self) -> str:
        after = f"{show_age(self._failed_for)} after the end of the run"
        return f"It is still running; {after} it is removed with its container."


class _Command:
    """``step``: "release" or "back"; ``what``: in words; ``name``: its container's."""

    def __init__(
        self, step: str, what: str, name: str, spec: SlotSpec, release: Release, own: ReleaseCommand
    ) -> None:
        self.step, self.what, self.name = step, what, name
        self.spec, self.release, self.own = spec, release, own
        self.begun = False  # by this worker
