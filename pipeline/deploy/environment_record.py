"""An environment's record, as a rollout changes it: always in one transaction with the run's own record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from pipeline.config.workload.bake import Bake
from pipeline.config.workload.judge import Judge
from pipeline.deploy.admission import supersede
from pipeline.deploy.run_context import RunContext, Step, interruption
from pipeline.domain import gates, slots, taken_back
from pipeline.domain.engine_types import SlotSpec
from pipeline.domain.environment import Environment, Slot
from pipeline.domain.gates import Gate
from pipeline.domain.going_back import holds, release_commands
from pipeline.domain.release import Release
from pipeline.domain.run import Ending, Kind, Outcome, Run
from pipeline.domain.shifting import rule as shifting
from pipeline.domain.shifting import times
from pipeline.domain.shifting.records import Shift, ShiftOutcome
from pipeline.domain.shifting.times import Times
from pipeline.domain.watching import bake, trials
from pipeline.errors import EngineFailed, Held
from pipeline.lib import codec
from pipeline.notify import messages
from pipeline.store import Transaction

Change = Callable[[Transaction, Run, Environment], Environment]
Both = Callable[[Transaction, Run], Run]
MayEnter = Callable[[Environment, Run, Iterable[Run], Iterable[Environment]], Gate | None]


class EnvironmentRecord:
    """``name``: the environment's; ``release``: what the run brings there."""

    def __init__(self, context: RunContext, name: str, release: Release) -> None:
        self._context, self._name, self._release = context, name, release
        self._known: Environment | None = None

    @property
    def name(self) -> str:
        return self._name

    def read(self) -> Environment:
        """Raises EngineFailed if the record is gone."""
        found = self._context.store.environment(self._context.run.pipeline, self._name)
        if found is None:
            raise EngineFailed(
                f"{self._context.run.pipeline}/{self._name} has no record any more.", advice="Push again."
            )
        self._known = found
        return found

    @property
    def known(self) -> Environment:
        """The record as this worker last read or wrote it. Its slots are right: they change only under the
        environment's lease, which this run holds. What people change meanwhile, such as a hold, may be missing."""
        return self._known or self.read()

    def take_slot(self, spec: SlotSpec) -> None:
        """Records that the run takes the slot."""
        now = self._context.clock.now()
        self._change(lambda _, run, env: slots.starting(env, spec.ref.slot, run, spec, now))

    def intend(self, slot: Slot, may_enter: MayEnter) -> None:
        """Records the intent to switch. Raises Cancelled if a revert is due there, Held if the run has to wait after
        all, and what ``may_enter`` raises."""
        self._entering(may_enter, lambda environment: replace(environment, switching=slot))

    def begin_shift(self, shift: Shift, may_enter: MayEnter) -> None:
        """Records that a part of the traffic goes to the slot. Raises what ``intend`` does."""
        self._entering(may_enter, lambda environment: replace(environment, shift=shift))

    def _entering(self, may_enter: MayEnter, change: Callable[[Environment], Environment]) -> None:
        def act(transaction: Transaction, run: Run, environment: Environment) -> Environment:
            open_runs = transaction.open()
            if gates.interrupted(environment, run, open_runs):
                raise interruption(environment, run)
            records = transaction.existing(taken_back.before(run, self._name))
            gate = may_enter(environment, run, open_runs, records)
            if gate:
                raise Held(f"{gate.why}.")
            return change(environment)

        self._change(act)

    def shifted(self, shift: Shift, seconds: float, timed: Times | None = None) -> None:
        """Records where the shift is. ``seconds``: that have passed since the last record; the budget does not count
        them; ``timed``: how long answers took, if more of that is known."""

        def counted(both: Both) -> None:
            def act(transaction: Transaction, run: Run) -> Run:
                if timed:
                    name = times.fact_name(f"{run.pipeline}/{self._name}")
                    transaction.put_fact(name, codec.dump(timed))
                return replace(both(transaction, run), shifted=run.shifted + seconds)

            self._context.change(act)

        self._write(lambda _, __, environment: replace(environment, shift=shift), counted)

    def command_ran(self, step: Step, release: int) -> None:
        """Records that the release's command has succeeded, with the step's result."""
        now = self._context.clock.now()
        self._finish(step, lambda _, run, env: release_commands.with_ran(env, release, run, now))

    def command_undone(self, release: int) -> None:
        """Records that the release's `back` has succeeded."""
        now = self._context.clock.now()
        self._change(lambda _, run, env: release_commands.with_undone(env, release, run, now))

    def switched(self, step: Step, slot: Slot, keep_warm: float, watch: Bake, judge: Judge) -> None:
        """Records the switch with the step's result. ``keep_warm``: seconds that the old slot is kept; ``watch``: how
        long the release is watched now; ``judge``: what follows if it answers worse than the one before it."""
        now = self._context.clock.now()

        def act(transaction: Transaction, run: Run, environment: Environment) -> Environment:
            if shifting.of_run(environment, run.number):
                transaction.count_shift(environment, ShiftOutcome.DONE)
            changed = slots.serving(environment, slot, run, now, keep_warm)
            watched = bake.switched(environment, changed, run, watch.lasts or 0.0, watch.on_failure, now)
            return trials.switched(watched, run, judge, watch.on_failure, now)

        self._finish(step, act)

    def verified(self, step: Step) -> None:
        """Records that the release is good there, and supersedes older runs that wait before the environment."""
        now = self._context.clock.now()

        def act(transaction: Transaction, run: Run, environment: Environment) -> Environment:
            for older in gates.waiting_at(transaction.open(), self._name):
                if older.number < run.number and run.kind != Kind.REVERT:
                    supersede(transaction, older, f"{run.id} went to {self._name} before it", now)
            return bake.verified(slots.verified(environment, self._release, run), run, now)

        self._finish(step, act)

    def abandoned(
        self, slot: Slot, ending: Ending | None, *, keep: float, quarantine: str | None, hold: str | None
    ) -> bool:
        """Records that the rollout failed; True if the traffic had moved and has to go back. ``ending``: how the run
        ends, written together with it, None if the run goes on; ``keep``: seconds that the failed slot is kept;
        ``quarantine``, ``hold``: why the release goes into quarantine or the environment is held, None if not."""
        now = self._context.clock.now()
        moved = slots.switched(self.read(), self._context.run, slot)

        def act(transaction: Transaction, run: Run, environment: Environment) -> Environment:
            if shifting.of_run(environment, run.number):
                failed = ending is not None and ending.outcome == Outcome.FAILED
                transaction.count_shift(environment, ShiftOutcome.FAILED if failed else ShiftOutcome.BACK)
            back = slots.switched_back if moved else slots.failed
            changed = trials.dropped(bake.dropped(back(environment, slot, run, now, keep), run), run)
            if quarantine is not None:
                changed = gates.with_quarantine(changed, self._release, quarantine, now)
            if hold is not None and gates.interrupted(environment, run, transaction.open()):
                return gates.also_held(changed, hold)  # by the revert, which has reported it
            if hold is not None:
                changed = holds.added(changed, hold, run.id, now)
                messages.held(transaction, changed, run.config, run)
            return changed

        def ended(both: Both) -> None:
            self._context.change(lambda transaction, run: replace(both(transaction, run), ending=ending))

        self._write(act, ended)
        return moved

    def _change(self, act: Change) -> None:
        self._write(act, self._context.change)

    def _finish(self, step: Step, act: Change) -> None:
        self._write(act, partial(self._context.finish, step))

    def _write(self, act: Change, write: Callable[[Both], object]) -> None:
        """``write``: makes the change in a transaction."""
        written: list[Environment] = []

        def both(transaction: Transaction, run: Run) -> Run:
            written[:] = [act(transaction, run, transaction.environment(self._name))]
            transaction.put_environment(written[0])
            return run

        self._known = None  # if it fails, it may have been written all the same
        write(both)
        self._known = written[0]
