"""Everything that may be asked of Pushlive: it verifies, writes, rings and answers; it never works itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

from pipeline.config import loading
from pipeline.config.engines import kind_of
from pipeline.deploy import admission
from pipeline.deploy.admission import Accepted
from pipeline.deploy.services import Services
from pipeline.domain import audit_chain, slots
from pipeline.domain.audit_chain import Entry, Report, Who
from pipeline.domain.run import Kind, Push, Run, State
from pipeline.errors import ConfigError, RequestError, StoreUnavailable, TokenExpired
from pipeline.lib.secret import Secret
from pipeline.ports.clock import Clock
from pipeline.ports.queue import Queue
from pipeline.secrets.vault import check_name, check_word
from pipeline.service import transactions, views
from pipeline.service.operations import Operations
from pipeline.service.queries import Queries
from pipeline.store import Token, Transaction

T = TypeVar("T")


class Commands(Queries):
    """Every act goes into the audit log, in the act's own transaction: ``by`` says who acts, and where the request
    came from."""

    def __init__(self, services: Services, queue: Queue, clock: Clock, operations: Operations) -> None:
        super().__init__(services, clock, operations)
        self._queue, self._audit_head = queue, services.audit_head

    # ── pushes ───────────────────────────────────────────────────────────────

    def accept(self, push: Push, by: Who = "") -> Accepted:
        """Returns once the run is on disk. Raises NotFound (unknown pipeline) or StoreUnavailable."""
        digest, config = self._configurations.current()
        self._known(config, push.pipeline)
        now = self._clock.now()
        who = by or audit_chain.Actor(push.pusher, way=push.delivery.partition(":")[0])

        def act(tx: Transaction) -> Accepted:
            found = admission.accept(tx, push, config, digest, now)
            if not found.duplicate:
                detail = f"{push.ref} {found.run.short}" + (" (forced)" if push.forced else "")
                tx.record(self._entry(who, "push", found.run, detail=detail))
            return found

        accepted = self._acted(push.pipeline, act)
        problem = self._configurations.problem()
        if problem:
            warning = "pipelines.yaml is wrong, the last good one stays in force: " + " · ".join(
                problem.split("\n")
            )
            accepted = replace(accepted, notes=(*accepted.notes, warning))
        return accepted

    # ── what a person asks for ───────────────────────────────────────────────

    def deploy(
        self,
        pipeline: str,
        by: Who,
        *,
        commit: str = "",
        release: int | None = None,
        config: str = "",
        rebuild: bool = False,
        again: str = "",
    ) -> Run:
        """A run by hand: the branch's head, a commit, a release as it is, or a changed configuration (its text)
        with the image of that release (default: the one that is live). ``again``: the run that this repeats."""
        digest, current = self._configurations.current()
        if config:
            current = loading.load(config)
        stages = self._known(current, pipeline).stages
        base = self._template(pipeline, Kind.DEPLOY, digest, stages, audit_chain.actor(by).name)
        if config:
            base = replace(
                base, config=self._store.put_config(config), from_release=release or self._live(pipeline)
            )
            text = f"a changed configuration with the image of r{base.from_release}"
        elif release is not None:
            found = self._store.release(pipeline, release)
            self._image_is_here(pipeline, release)
            missing = [name for name in stages[1:] if name not in found.environments]
            if missing:
                raise RequestError(
                    f"r{release} was made without the environment {missing[0]}.",
                    advice=f"`pushlive deploy {pipeline} --commit {found.commit[:7]}` makes a release with it.",
                )
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
        reason: str = "",
        again: str = "",
    ) -> Run:
        """The previous good release, or ``to``, live again. Sets a hold and a quarantine; interrupts whoever
        works in that environment. Raises RequestError where there is nothing to go back to."""
        digest, name = self._environment_name(pipeline, environment)
        self._image_is_there(pipeline, name, to)
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> Run:
            run = transactions.revert(tx, name, to, by=who, reason=reason, digest=digest, now=now)
            tx.record(
                self._entry(by, "retry" if again else "revert", run, environment=name, detail=_repeats(again))
            )
            return run

        return self._acted(pipeline, act, urgent=True)

    def promote(
        self,
        pipeline: str,
        by: Who,
        *,
        run: int | None = None,
        environment: str = "",
        release: int | None = None,
    ) -> Run:
        """Lets the run that waits at a gate go on, with exactly the release that was shown. Raises RequestError
        where none waits, where another release waits now, or where the environment is held."""
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> Run:
            found = transactions.promote(
                tx, by=who, run=run, environment=environment, release=release, now=now
            )
            tx.record(self._entry(by, "promote", found, environment=found.promoted[-1]))
            return found

        return self._acted(pipeline, act)

    def hold(self, pipeline: str, by: Who, *, environment: str = "", reason: str = "") -> tuple[str, ...]:
        """No automatic promotion into that environment until a person resumes it."""
        digest, name = self._environment_name(pipeline, environment)
        limit = len(self._settings.port_range)
        engine = self._configurations.current()[1].pipelines[pipeline].environment(name).engine
        self._store.ensure_environment(pipeline, name, limit, engine.key)
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> None:
            transactions.hold(tx, name, reason, by=who, digest=digest, now=now)
            tx.record(self._entry(by, "hold", pipeline=pipeline, environment=name, why=reason))

        self._acted(pipeline, act, ring=False)
        return (f"{pipeline}/{name} is held; `pushlive resume {pipeline} --env {name}` lifts the hold.",)

    def resume(self, pipeline: str, by: Who, *, environment: str = "") -> tuple[str, ...]:
        """Lifts the hold; the newest run that waits there continues, unless the gate is manual."""
        _, name = self._environment_name(pipeline, environment)
        now, who = self._clock.now(), audit_chain.actor(by).name

        def manual(run: Run) -> bool:  # by the configuration that the run obeys, as it was stopped
            return (
                self._configurations.by_hash(run.config).pipelines[pipeline].environment(name).promote
                == "manual"
            )

        def act(tx: Transaction) -> tuple[str, ...]:
            hold = tx.environment(name).hold
            if hold:
                why = f"the hold was: {hold.reason}"
                tx.record(self._entry(by, "resume", pipeline=pipeline, environment=name, detail=why))
            return transactions.resume(tx, name, by=who, manual=manual, now=now)

        return self._acted(pipeline, act)

    def unquarantine(self, pipeline: str, by: Who, release: int, *, environment: str = "") -> tuple[str, ...]:
        """The release may go to that environment again."""
        _, name = self._environment_name(pipeline, environment)

        def act(tx: Transaction) -> tuple[str, ...]:
            said = transactions.unquarantine(tx, name, release, by=audit_chain.actor(by).name)
            entry = self._entry(by, "unquarantine", pipeline=pipeline, environment=name, release=release)
            tx.record(entry)
            return said

        return self._acted(pipeline, act, ring=False)

    def cancel(self, pipeline: str, number: int, by: Who) -> Run:
        """A waiting or queued run ends at once, a running one at its next safe point."""
        now, who = self._clock.now(), audit_chain.actor(by).name

        def act(tx: Transaction) -> Run:
            run = transactions.cancel(tx, number, by=who, now=now)
            tx.record(self._entry(by, "cancel", run, why=""))
            return run

        return self._acted(pipeline, act, ring=False)

    def retry(self, pipeline: str, number: int, by: Who) -> Run:
        """The same once more, as a new run: the same commit, release, configuration or revert."""
        run = self._store.run(pipeline, number)
        if run.state != State.ENDED:
            raise RequestError(f"{run.id} has not ended yet.", advice=f"`pushlive follow {run.id}`.")
        if run.kind == Kind.REVERT:
            return self.revert(pipeline, by, environment=run.stages[0], to=run.release, again=run.id)
        if run.from_release is not None:
            config = self._store.config(run.config)
            return self.deploy(pipeline, by, release=run.from_release, config=config, again=run.id)
        if run.stages[0] != "build":
            return self.deploy(pipeline, by, release=run.release, again=run.id)
        return self.deploy(pipeline, by, commit=run.commit, rebuild=run.rebuild, again=run.id)

    def doctor(self) -> list[dict[str, Any]]:
        """Every check with its result: ``{"name", "ok", "text", "advice"}``."""
        return self._operations.doctor()

    def gc(self, by: Who) -> tuple[str, ...]:
        """Removes what nothing needs any more; what it did."""
        self.record(by, "gc")
        return self._operations.gc()

    def fix(self, by: Who) -> tuple[str, ...]:
        """Brings Engine and proxy to what the store says; what it mended."""
        self.record(by, "doctor --fix")
        return self._operations.fix()

    # ── the audit log ────────────────────────────────────────────────────────

    def record(self, by: Who, act: str, **what: Any) -> None:
        """An act that has no transaction of its own, recorded before it is done. ``what``: see ``audit.entry``."""
        self._store.audit.record(self._entry(by, act, **what))
        self._chain()

    def audit_log(self, pipeline: str = "", limit: int = 50) -> list[Entry]:
        """The newest entries, newest first."""
        return self._audit_head.newest(limit, pipeline)

    def verify_audit(self, noted: str = "") -> Report:
        """Walks the whole log; ``noted``: a hash that must be in it."""
        return self._audit_head.verify(noted)

    def _entry(self, by: Who, act: str, run: Run | None = None, **what: Any) -> Entry:
        if run is not None:
            of_run = {"pipeline": run.pipeline, "run": run.id, "release": run.release, "why": run.reason}
            what = of_run | what
        return audit_chain.entry(by, act, self._clock.now(), **what)

    def _acted(
        self, pipeline: str, act: Callable[[Transaction], T], *, ring: bool = True, urgent: bool = False
    ) -> T:
        """One transaction with its entry in the audit log; then whoever has to work is woken, and the entry moved."""
        result = self._store.transact(pipeline, act)
        if ring:
            self._queue.notify(pipeline, urgent=urgent)
        self._chain()
        return result

    def _chain(self) -> None:
        with suppress(StoreUnavailable):  # the act is done and recorded; the keeper moves its entry later
            self._audit_head.move(rounds=1)

    # ── secrets: no value ever comes back ────────────────────────────────────

    def set_secret(
        self, pipeline: str, by: Who, name: str, value: Secret, *, environment: str = ""
    ) -> dict[str, Any]:
        """A new version, for that environment or for every one: ``{"name", "environment", "version",
        "messages"}``. Raises ConfigError for what cannot be a secret, EngineFailed where the key is not right."""
        check_name(name)
        known = self._known(self._config(), pipeline)
        self._environment_name(pipeline, environment)
        check_word(name, value, (pipeline, *known.environments))
        now = self._clock.now()
        version = self._vault.put(pipeline, name, value, environment=environment, by=by, now=now)
        self._chain()
        where = environment or "every environment"
        messages = [
            f"version {version.number} of {name} is set for {where}; the next release of {pipeline} gets it "
            f"(`pushlive deploy {pipeline} --config pipelines.yaml` makes one of the image that is live)."
        ]
        places = [environment] if environment else list(known.environments)
        if not any(name in known.render(name).service.secrets for name in places):
            messages.append(
                f"pipelines.yaml does not name it there yet: write `secrets: [{name}]` under `service:`."
            )
        return {"name": name, "environment": environment, "version": version.number, "messages": messages}

    def remove_secret(
        self, pipeline: str, by: Who, name: str, *, environment: str = "", version: int | None = None
    ) -> tuple[str, ...]:
        """Forgets the values of that version, or of all for that environment. Raises NotFound."""
        now = self._clock.now()
        gone = self._vault.revoke(pipeline, name, environment=environment, number=version, by=by, now=now)
        self._chain()
        which = ", ".join(str(number) for number in gone)
        return (
            f"version {which} of {name} is revoked: no container gets it any more.",
            "What runs with it keeps it until the next release: "
            f"`pushlive deploy {pipeline} --config pipelines.yaml` makes one.",
        )

    # ── tokens, counts ───────────────────────────────────────────────────────

    def create_token(self, name: str, role: str, by: Who, *, lasts: float = 0.0) -> str:
        """The new token's text. ``lasts``: seconds; 0: it does not expire."""
        expires = self._clock.now() + lasts if lasts else 0.0
        text = self._store.tokens.create(name, role, by=by, expires=expires)
        self._chain()
        return text

    def token(self, text: str) -> Token | None:
        """Whose token that is, None for nobody's. Raises TokenExpired."""
        found = self._store.tokens.find(text)
        if found and found.expired(self._clock.now()):
            when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(found.expires))
            raise TokenExpired(
                f"the token {found.name!r} expired on {when}",
                advice="A maintainer makes another: `pushlive token create NAME`.",
            )
        return found

    def revoke_token(self, name: str, by: Who) -> None:
        self._store.tokens.revoke(name, by=by)
        self._chain()

    def count(self, what: str) -> None:
        self._store.count(what)

    # ── small helpers ────────────────────────────────────────────────────────

    def _live(self, pipeline: str) -> int:
        _, name = self._environment_name(pipeline, "")
        found = self._store.environment(pipeline, name)
        if found is None or found.serving is None:
            raise RequestError(f"nothing of {pipeline} is live yet.", advice="Push first.")
        return found.serving

    def _image_is_there(self, pipeline: str, name: str, to: int | None) -> None:
        found = self._store.environment(pipeline, name)
        if found is None:
            raise RequestError(
                f"nothing was deployed to {pipeline}/{name} yet: there is nothing to revert.",
                advice="Push first.",
            )
        target = to if to is not None else slots.revert_target(found)
        if target is not None:
            if kind_of(found.engine).local:  # others take it from a registry
                self._image_is_here(pipeline, target)
            self._secrets_are_there(pipeline, name, target)

    def _secrets_are_there(self, pipeline: str, name: str, target: int) -> None:
        """Before the hold and the quarantine are set, not after: a revert that cannot be done changes nothing."""
        release = self._store.release(pipeline, target)
        if name not in release.environments:
            return
        try:
            self._vault.choose(release, name)
        except ConfigError as error:
            raise RequestError(error.message, advice=error.advice) from error

    def _image_is_here(self, pipeline: str, release: int) -> None:
        if release in views.missing_images(self._store, pipeline):
            raise RequestError(
                f"the image of r{release} is not on the Engine any more.",
                advice="Choose another release, or deploy its commit: it is built anew.",
            )

    def _template(self, pipeline: str, kind: Kind, digest: str, stages: tuple[str, ...], by: str) -> Run:
        return Run(pipeline, 0, kind, "", "", digest, stages, self._clock.now(), by=by)

    def _ask(self, template: Run, text: str, by: Who, again: str = "") -> Run:
        def act(tx: Transaction) -> Run:
            run = admission.ask(tx, template, text)
            tx.record(self._entry(by, "retry" if again else "deploy", run, detail=_repeats(again) or text))
            return run

        return self._acted(template.pipeline, act)


def _repeats(run: str) -> str:
    return f"as {run} was" if run else ""
