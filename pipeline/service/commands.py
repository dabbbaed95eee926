"""Everything that may be asked of Pushlive. A command verifies, writes, wakes a worker and answers; it never does the
work itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipeline.config.models import Config
from pipeline.deploy import admission
from pipeline.deploy.admission import Accepted
from pipeline.domain import audit_chain, gates
from pipeline.domain.audit_chain import Who
from pipeline.domain.events import Said
from pipeline.domain.promotion import approvals
from pipeline.domain.run import Kind, Push, Run, State
from pipeline.domain.watching import bake, trials
from pipeline.errors import RequestError
from pipeline.lib import skipping
from pipeline.lib.text import summary
from pipeline.service import permissions, reverting, transactions
from pipeline.service.accessories import Accessories
from pipeline.service.app.backups import Backups
from pipeline.service.app.evidence import Evidence
from pipeline.service.app.volumes import VolumeCommands
from pipeline.service.baking import Baking
from pipeline.service.cost.suggesting import CostCommands
from pipeline.service.previews.commands import PreviewCommands
from pipeline.service.promotion.freezes import FreezeCommands
from pipeline.service.promotion.withdrawing import WithdrawCommands
from pipeline.service.sleep.sleeping import Sleeping
from pipeline.service.tools import Tools
from pipeline.service.visitors.maintenance import MaintenanceCommands
from pipeline.store import Transaction


@dataclass(frozen=True)
class Again:
    """The run that is repeated, and the number of the newer one that this may take back."""

    run: Run
    over: int | None


class Commands(CostCommands, VolumeCommands, FreezeCommands, WithdrawCommands, PreviewCommands):
    """The acts on pipelines; ``by`` says who acts, and where the request came from."""

    tools: Tools  # made together with it in ``pipeline.runtime.bootstrap``
    accessories: Accessories
    backups: Backups
    baking: Baking
    evidence: Evidence
    sleeping: Sleeping
    maintenance: MaintenanceCommands

    # ── pushes ───────────────────────────────────────────────────────────────

    def accept(self, push: Push, by: Who = "") -> Accepted:
        """Returns once the run is on disk. Idempotent for one delivery. A push to a branch of the pipeline that has
        previews is a run of the branch's preview. Raises NotFound (unknown pipeline), NoPreview (there are as many as
        `max` allows) or StoreUnavailable."""
        self.insist_on_store()
        who = by or audit_chain.Actor(push.pusher, way=push.delivery.partition(":")[0])
        push, said = self._previewed(push, who)
        digest, config = self._configurations.current()
        self._known(config, push.pipeline)
        now, push = self._clock.now(), self._with_message(push, config)
        since = self._removed_up_to(push.pipeline)

        def act(tx: Transaction) -> Accepted:
            found = admission.accept(tx, push, config, digest, now, audit_chain.actor(who).trace, since=since)
            if not found.duplicate:
                detail = f"{push.ref} {found.run.short}" + (" (forced)" if push.forced else "")
                tx.record(self._entry(who, "push", found.run, detail=detail))
            return found

        accepted = self._acted(push.pipeline, act)
        accepted = replace(accepted, notes=(*said, *accepted.notes))
        problem = self._configurations.problem()
        if problem:
            warning = "pipelines.yaml is invalid; the last good one stays in force: " + " · ".join(
                problem.split("\n")
            )
            accepted = replace(accepted, notes=(*accepted.notes, warning))
        return accepted

    # ── acts of people ───────────────────────────────────────────────────────

    def deploy(
        self,
        pipeline: str,
        by: Who,
        *,
        commit: str = "",
        release: int | None = None,
        config: str = "",
        rebuild: bool = False,
        again: Again | None = None,
    ) -> Run:
        """A run at a person's request: of the branch's head, a commit, a release as it is, or a changed configuration
        (its text) with the image of that release (default: the live one). If that would change nothing, it is the run
        that made what serves, and has ended. ``again``: the run that this repeats. Raises Forbidden if the
        configuration differs in what only a maintainer may change."""
        self.insist_on_store()
        digest, current = self._configurations.current()
        stages = self._known(current, pipeline).stages
        if release is None:
            self._refuse_not_allowed(pipeline, commit)
        if commit:
            self._refuse_name(commit, current.pipelines[pipeline])
            self._operations.insist_on_commit(pipeline, commit)
        if config:
            stages = self._changed(current, config, pipeline, by).stages
        base = self._template(pipeline, Kind.DEPLOY, digest, stages, audit_chain.actor(by).name)
        if config:
            image_of = self._live(pipeline) if release is None else release
            self._store.release(pipeline, image_of)
            self._refuse_without_image(pipeline, image_of)
            if release is None and not again and (made := self._unchanged(pipeline, config, image_of)):
                return made
            base = replace(base, config=self._store.put_config(config), from_release=image_of)
            text = f"a changed configuration with the image of r{base.from_release}"
        elif release is not None:
            self._refuse_without_image(pipeline, release)
            found = self._refuse_without(pipeline, release, stages[1:])
            base = replace(
                base,
                release=release,
                commit=found.commit,
                stages=stages[1:],
                message=found.message,
                image_ready=self._clock.now(),
            )
            text = f"release r{release} again"
        else:
            base = replace(base, commit=commit, rebuild=rebuild)
            text = f"deploy {commit[:7] or 'the branch head'}"
        return self._ask(base, text, by, again)

    def revert(
        self,
        pipeline: str,
        by: Who,
        *,
        environment: str = "",
        to: int | None = None,
        shown: int | None = None,
        run: int | None = None,
        reason: str = "",
        back: bool = False,
        across: int | None = None,
        again: Again | None = None,
    ) -> Run:
        """Puts the previous good release, or ``to``, back. Sets a hold and a quarantine, and stops the run that is at
        work in that environment. ``shown``: only if that release serves there; ``run``: only if the release of that
        run does; ``back``: the release commands of the releases after it are undone first; ``across``: although that
        one's says that it is not reversible. Raises RequestError if there is nothing to go back to, or if without
        ``to`` it is not clear what is meant, NotFound for an unknown release, and Forbidden if a
        developer names one that was never good there."""
        self.insist_on_store()  # first: without records there seems to be nothing to go back to
        digest, name = self._environment_name(pipeline, environment)
        if to is not None:
            self._refuse_without(pipeline, to, (name,))  # before it is called unverified
        permissions.refuse_skipping(self._store.environment(pipeline, name), to, audit_chain.actor(by))
        self._refuse_unready(pipeline, name, to)
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> Run:
            _refuse_overtaken(tx, again)
            made = reverting.revert(
                tx,
                name,
                to,
                by=who,
                reason=reason,
                digest=digest,
                now=now,
                shown=shown,
                of=run,
                back=back,
                across=across,
                again=again is not None,
                trace=audit_chain.actor(by).trace,
            )
            what = "retry" if again else "revert"
            tx.record(self._entry(by, what, made, environment=name, detail=_repeats(again)))
            return made

        return self._acted(pipeline, act, urgent=True)

    def promote(
        self,
        pipeline: str,
        by: Who,
        *,
        run: int | None = None,
        environment: str = "",
        release: int | None = None,
        force: bool = False,
        reason: str = "",
    ) -> Run:
        """Lets the run that waits at a gate go on, with exactly the release that was shown. ``force``: although an
        environment before the gate took that release back; it needs a reason. Raises RequestError if no run waits, if
        another release waits now, if the environment is held, if the release was taken back, or if that person's
        approval does not count. A run that needs more approvals waits on."""
        if pipeline not in self._store.pipelines():
            self._known(self._config(), pipeline)
        now, who = self._clock.now(), audit_chain.actor(by).name

        def frozen(name: str) -> str:
            found = self._freezes.frozen(pipeline, name, now)
            return found.text(name, now) if found else ""

        def act(tx: Transaction) -> Run:
            found = transactions.promote(
                tx,
                by=who,
                run=run,
                environment=environment,
                release=release,
                force=force,
                reason=reason,
                now=now,
                frozen=frozen,
                rule_of=lambda run: approvals.rule(self._deciding(run), run.gate),
            )
            where = found.gate or found.promoted[-1]
            detail = "although it was taken back before" if not found.gate and where in found.forced else ""
            before, after = approvals.change(tx.run(found.number), found, where)
            if found.gate:
                detail = f"{after.rpartition(', ')[2]}; more are needed"
            entry = self._entry(
                by,
                "promote",
                found,
                environment=where,
                why=reason,
                detail=detail,
                before=before,
                after=after,
            )
            tx.record(entry)
            return found

        return self._acted(pipeline, act)

    def hold(
        self, pipeline: str, by: Who, *, environment: str = "", reason: str = "", held_by: str = ""
    ) -> tuple[str, ...]:
        """No automatic promotion into that environment until a person resumes it. Raises RequestError if another
        person holds it, unless that is ``held_by``."""
        self.insist_on_store()
        digest, name = self._environment_name(pipeline, environment)
        limit = len(self._settings.port_range)
        engine = self._configurations.current()[1].pipelines[pipeline].environment(name).engine
        self._store.ensure_environment(pipeline, name, limit, engine.key)
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> None:
            before = gates.hold_text(tx.environment(name).hold)
            transactions.hold(tx, name, reason, by=who, digest=digest, now=now, held_by=held_by)
            change: dict[str, Any] = {"before": before, "after": f"held by {who}: {reason or 'held by hand'}"}
            tx.record(self._entry(by, "hold", pipeline=pipeline, environment=name, why=reason, **change))

        self._acted(pipeline, act, notify=False)
        return (f"{pipeline}/{name} is held; `pushlive resume {pipeline} --env {name}` lifts the hold.",)

    def resume(self, pipeline: str, by: Who, *, environment: str = "", held_by: str = "") -> tuple[str, ...]:
        """Lifts the hold; the newest run that waits there continues, unless the gate is manual. Raises RequestError if
        another person has just set the hold, unless that is ``held_by``."""
        name = self._recorded_name(pipeline, environment)
        now, who = self._clock.now(), audit_chain.actor(by).name
        frozen = self._freezes.frozen(pipeline, name, now)

        def manual(run: Run) -> bool:
            return gates.needs_promotion(self._deciding(run), name, run, now)

        def act(tx: Transaction) -> tuple[str, ...]:
            hold = tx.environment(name).hold
            if hold:
                why = f"the hold was: {hold.reason}"
                change: dict[str, Any] = {"before": gates.hold_text(hold), "after": gates.hold_text(None)}
                tx.record(
                    self._entry(by, "resume", pipeline=pipeline, environment=name, detail=why, **change)
                )
            return transactions.resume(
                tx,
                name,
                by=who,
                manual=manual,
                now=now,
                held_by=held_by,
                frozen=frozen.text(name, now) if frozen else "",
            )

        return self._acted(pipeline, act)

    def unquarantine(
        self, pipeline: str, by: Who, release: int, *, environment: str = "", reason: str = ""
    ) -> tuple[str, ...]:
        """The release may go to that environment again. ``reason``: for the audit log and the evidence."""
        name = self._recorded_name(pipeline, environment)

        def act(tx: Transaction) -> tuple[str, ...]:
            before = tx.environment(name).quarantine
            said = transactions.unquarantine(tx, name, release, by=audit_chain.actor(by).name)
            entry = self._entry(
                by,
                "unquarantine",
                pipeline=pipeline,
                environment=name,
                release=release,
                why=reason,
                before=f"in quarantine: {', '.join(f'r{one.release} ({one.reason})' for one in before)}",
                after=f"r{release} may enter",
            )
            tx.record(entry)
            return said

        return self._acted(pipeline, act, notify=False)

    def cancel(self, pipeline: str, number: int | None, by: Who) -> Run:
        """A waiting or queued run ends at once, a running one at its next safe point. ``number`` None: the only one
        that has not ended; raises RequestError if there are several."""
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> Run:
            run = transactions.cancel(tx, number, by=who, now=now)
            before, after = tx.run(run.number).state, "cancelled" if run.ended else "to be cancelled"
            tx.record(self._entry(by, "cancel", run, why="", before=before, after=after))
            return run

        return self._acted(pipeline, act, notify=False)

    def abandon(self, pipeline: str, number: int, by: Who) -> Run:
        """The release command of that run is no longer waited for: it is ended, its outcome is unknown, and the
        environment is held. Raises RequestError if the run is not at one."""
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> Run:
            run = transactions.abandon(tx, number, by=who, now=now)
            change: dict[str, Any] = {"before": "its release command runs", "after": "it is not waited for"}
            tx.record(self._entry(by, "abandon", run, environment=run.stage, why="", **change))
            return run

        return self._acted(pipeline, act, notify=False)

    def retry(self, pipeline: str, number: int, by: Who, *, over: int | None = None) -> Run:
        """A new run of the same commit or release with the current configuration, of the same configuration that was
        sent, or the same revert. ``over``: the number of the newer run that it may take back. Raises RequestError if
        it would take back another one, or bring what is in quarantine, and NotFound if there is no such run."""
        run = self._store.run(pipeline, number)
        if run.state != State.ENDED:
            raise RequestError(
                f"{run.id} has not ended yet.", advice=f"`pushlive follow '{run.id}'` shows it."
            )
        if over is not None:
            self._insist_on_newer(run, over)
        again = Again(run, over)
        if run.kind == Kind.REVERT:
            return self.revert(
                pipeline,
                by,
                environment=run.stages[0],
                to=run.release,
                back=bool(run.back),
                across=run.across,
                again=again,
            )
        if run.from_release is not None:
            config = self._store.config(run.config)
            self._refuse_quarantined(run, self._of_retry(run))
            return self.deploy(pipeline, by, release=run.from_release, config=config, again=again)
        self._refuse_quarantined(run, self._of_retry(run))
        if run.stages[0] != "build":
            return self.deploy(pipeline, by, release=run.release, again=again)
        return self.deploy(pipeline, by, commit=run.commit, rebuild=run.rebuild, again=again)

    def doctor(self) -> list[dict[str, Any]]:
        """Every check with its result: ``{"name", "ok", "text", "advice"}``."""
        return self._operations.doctor()

    def gc(self, by: Who, serving: frozenset[str] | None = None) -> tuple[Said, ...]:
        """Removes what nothing needs any more; what it did, and what it could not do. ``serving``: which environments
        it may remove although they still serve, such as ``hello/live``; None: all."""
        self.insist_on_store()
        with self.acting(by, "gc") as outcome:
            said = self._operations.gc(serving)
            outcome.after = "; ".join(one.text for one in said) or "nothing was removed"
        return said

    def adopt(self, by: Who) -> tuple[str, ...]:
        """Takes up what runs into a store that was lost; what it did, and what is lost."""
        return self._operations.adopt(by)

    def fix(self, by: Who) -> tuple[str, ...]:
        """Brings engines and proxy to what the store says; what it repaired."""
        self.insist_on_store()
        with self.acting(by, "doctor --fix") as outcome:
            repaired = self._operations.fix()
            outcome.after = "; ".join(repaired) or "nothing was repaired"
        return repaired

    # ── small helpers ────────────────────────────────────────────────────────

    def _insist_on_newer(self, run: Run, over: int) -> None:
        newer = self._store.run(run.pipeline, over)
        if newer.number <= run.number:
            raise RequestError(
                f"{newer.id} is not newer than {run.id}, so nothing was done.",
                advice=f"`pushlive retry '{run.id}'` names the run that it would take back, if there is one.",
            )

    def _with_message(self, push: Push, config: Config) -> Push:
        """Pushes to the built-in git server come without the commit's message, which may ask not to deploy it."""
        repository = config.repository_of(push.pipeline)
        message = "" if push.skip or not repository else self._operations.message(repository, push.commit)
        why = skipping.by_message(message)
        return replace(push, skip=why, message=summary(message.partition("\n")[0], 200)) if why else push

    def _template(self, pipeline: str, kind: Kind, digest: str, stages: tuple[str, ...], by: str) -> Run:
        return Run(pipeline, 0, kind, "", "", digest, stages, self._clock.now(), by=by)

    def _ask(self, template: Run, text: str, by: Who, again: Again | None = None) -> Run:
        def act(tx: Transaction) -> Run:
            _refuse_overtaken(tx, again)
            run = admission.ask(tx, template, text, trace=audit_chain.actor(by).trace)
            for environment in tx.existing(run.stages):
                why = f"{run.id} was requested"
                changed = trials.left_to_people(bake.superseded(environment, why, run.accepted), why)
                if changed != environment:
                    tx.put_environment(changed)
            tx.record(self._entry(by, "retry" if again else "deploy", run, detail=_repeats(again) or text))
            return run

        return self._acted(template.pipeline, act)


def _repeats(again: Again | None) -> str:
    return f"as {again.run.id} was" if again else ""


def _refuse_overtaken(tx: Transaction, again: Again | None) -> None:
    if again:
        reverting.refuse_overtaken(tx, again.run, again.over)
