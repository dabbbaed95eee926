"""`pushlive withdraw`: a person takes an approval back before it has let the release in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Who
from pipeline.domain.environment import SLOTS
from pipeline.domain.events import Event
from pipeline.domain.promotion import approvals
from pipeline.domain.promotion.approvals import PLAIN, Rule
from pipeline.domain.run import Outcome, Run, State
from pipeline.domain.shifting.rule import of_run
from pipeline.domain.slots import switched
from pipeline.errors import RequestError
from pipeline.notify import messages
from pipeline.service.audited import Audited
from pipeline.store import Transaction

RuleOf = Callable[[Run, str], Rule]


class WithdrawCommands(Audited):
    """The approvals that people take back."""

    def withdraw(
        self,
        pipeline: str,
        by: Who,
        *,
        run: int | None = None,
        environment: str = "",
        release: int | None = None,
        reason: str = "",
    ) -> tuple[str, ...]:
        """That person's approval no longer counts, and the run waits until there are enough again. ``run``,
        ``environment``: default the only ones that the person has approved; ``release``: only if the run has that one.
        Raises RequestError if there is no such approval, or the release is in already, and NotFound."""
        if pipeline not in self._store.pipelines():
            self._known(self._config(), pipeline)
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> tuple[str, ...]:
            before, name = _meant(tx, who, run, environment)
            _refuse(tx, before, name, release)
            rule = approvals.rule(self._deciding(before), name)
            after = _without(tx, before, name, who, rule, now, reason)
            was, became = (_counted(one, name, rule or PLAIN, now) for one in (before, after))
            entry = self._entry(by, "withdraw", after, environment=name, why=reason, before=was, after=became)
            tx.record(entry)
            return _said(after, name, rule, who, now)

        return self._acted(pipeline, act, notify=False)


def _meant(tx: Transaction, who: str, number: int | None, environment: str) -> tuple[Run, str]:
    """The run, and the environment for which that person has approved it."""
    runs = [tx.run(number)] if number is not None else list(tx.open())
    found = [
        (run, one.environment)
        for run in runs
        for one in run.approvals
        if one.by.casefold() == who.casefold()
        and one.release == run.release
        and environment in ("", one.environment)
    ]
    if number is None:  # what is in is not meant by a person who names no run
        found = [(run, name) for run, name in found if not _is_in(tx, run, name)] or found[-1:]
    latest = {
        run.number: (run, name) for run, name in found
    }  # of one run, the environment that it comes to last
    if len(latest) > 1:
        commands = ", ".join(f"`pushlive withdraw '{run.id}'` ({name})" for run, name in found[::-1])
        raise RequestError(
            f"{who} has approved {len(latest)} runs of {tx.pipeline}. Nothing was done.",
            advice=f"Name one: {commands}.",
        )
    if not latest:
        what = (
            f"{tx.pipeline}#{number}"
            if number is not None
            else f"any run of {tx.pipeline} that has not ended"
        )
        there = f" for {environment}" if environment else ""
        raise RequestError(
            f"{who} has not approved {what}{there}.",
            advice=f"`pushlive runs {tx.pipeline}` lists its runs.",
        )
    return next(iter(latest.values()))


def _is_in(tx: Transaction, run: Run, name: str) -> bool:
    """Whether the run's release gets, or got, traffic in that environment."""
    if run.ended or run.passed(name, "switch"):
        return True
    for env in tx.existing((name,)):
        intended = env.switching is not None and env.slots[env.switching].run == run.number
        if intended or of_run(env, run.number) or any(switched(env, run, slot) for slot in SLOTS):
            return True
    return False


def _refuse(tx: Transaction, run: Run, name: str, release: int | None) -> None:
    if release is not None and release != run.release:
        raise RequestError(
            f"{run.id} has r{run.release} now, not r{release}.",
            advice=f"`pushlive show '{run.id}'` shows it.",
        )
    if run.ended and run.outcome != Outcome.LIVE:
        raise RequestError(
            f"{run.id} has ended already: {run.outcome}.", advice=f"`pushlive show '{run.id}'` shows it."
        )
    if _is_in(tx, run, name):
        raise RequestError(
            f"r{run.release} is in {name} already, so it is too late to withdraw the approval.",
            advice=f"`pushlive revert '{run.id}' --env {name}` puts the release before it back.",
        )


def _without(
    tx: Transaction, run: Run, name: str, who: str, rule: Rule | None, now: float, reason: str
) -> Run:
    """The run without that approval. One that waits at the gate for something else waits for people again; one that is
    at work comes to its gate before the release gets any traffic."""
    changed = approvals.without(run, name, who)
    why = f": {reason}" if reason else ""
    said = f"{who} has withdrawn the approval of r{run.release} for {name}{why}"
    needs = _needs(changed, name, rule, now)
    if needs:
        promoted = tuple(one for one in changed.promoted if one != name)
        forced = {key: number for key, number in changed.forced.items() if key != name}
        changed = replace(changed, promoted=promoted, forced=forced)
    if needs and run.state == State.WAITING and run.frozen:
        human = run.human + max(0.0, now - run.gate_since)
        changed = replace(
            changed, frozen=False, human=human, gate_since=now
        )  # a wait of its own, told as one
        text = f"waits before {name}: {needs}. To continue with r{run.release}: `pushlive promote '{run.id}'`"
        changed = messages.waits(tx, changed, needs, text)
    tx.put_run(changed)
    tx.event(run.number, Event("gate", now, f"{said}. {_then(changed, name, needs)}", name))
    return changed


def _needs(run: Run, name: str, rule: Rule | None, now: float) -> str:
    """What it needs to go on; "" if it has enough approvals, or needs none any more."""
    if rule is None or len(approvals.given(run, name, rule, now)) >= rule.needed:
        return ""
    return approvals.text(run, name, rule, now)


def _then(run: Run, name: str, needs: str) -> str:
    if not needs:
        return "It needs no more approvals"
    waits = "It waits" if run.state == State.WAITING else "It will wait"
    return f"{waits} before {name}: {needs}. The next: `pushlive promote '{run.id}'`"


def _counted(run: Run, name: str, rule: Rule, now: float) -> str:
    return f"{run.state.value}, {len(approvals.given(run, name, rule, now))} of {rule.needed} approvals"


def _said(run: Run, name: str, rule: Rule | None, who: str, now: float) -> tuple[str, ...]:
    first = f"The approval of {run.id} (r{run.release}) for {name} by {who} is withdrawn."
    return first, f"{_then(run, name, _needs(run, name, rule, now))}."
