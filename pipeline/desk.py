"""Everything that may be asked of Pushlive: it verifies, writes, rings and answers; it never works itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from pipeline import acts, admission, loader, log, plan, promotion, views
from pipeline.admission import Accepted
from pipeline.config import Config, Pipeline
from pipeline.configs import Configs
from pipeline.errors import ConfigError, NotFound, RequestError
from pipeline.lint import warnings
from pipeline.messenger import undelivered
from pipeline.model import Event, Kind, Place, Push, Run, State
from pipeline.ports import Bell, Clock
from pipeline.secret import Secret
from pipeline.settings import Settings
from pipeline.store import Store, Token
from pipeline.vault import Vault, check_name


class Desk:
    """``doctor``, ``gc``, ``fix`` and ``output`` look at the real parts and are injected."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        bell: Bell,
        clock: Clock,
        doctor: Callable[[], list[dict[str, Any]]] = list,
        gc: Callable[[], tuple[str, ...]] = tuple,
        fix: Callable[[], tuple[str, ...]] = tuple,
        output: Callable[[Place, int], tuple[str, ...]] = lambda *_: (),
    ) -> None:
        self._store, self._settings, self._bell, self._clock = store, settings, bell, clock
        self._configs = Configs(store, settings.config)
        self.doctor, self.gc, self.fix, self._output = doctor, gc, fix, output
        self._vault = Vault(store, settings.secrets_key)

    # ── pushes ───────────────────────────────────────────────────────────────

    def accept(self, push: Push) -> Accepted:
        """Returns once the run is on disk. Raises NotFound (unknown pipeline) or StoreUnavailable."""
        digest, config = self._configs.current()
        self._known(config, push.pipeline)
        now = self._clock.now()
        accepted = self._store.transact(
            push.pipeline, lambda tx: admission.accept(tx, push, config, digest, now)
        )
        self._bell.ring(push.pipeline)
        problem = self._configs.problem()
        if problem:
            warning = "pipelines.yaml is wrong, the last good one stays in force: " + " · ".join(
                problem.split("\n")
            )
            accepted = replace(accepted, notes=(*accepted.notes, warning))
        return accepted

    def pipelines_of_repository(self, name: str) -> tuple[str, ...]:
        config = self._config()
        return tuple(p for p in config.pipelines if name and config.repository_of(p) == name)

    def pipelines_of_url(self, urls: tuple[str, ...]) -> tuple[str, ...]:
        config = self._config()
        wanted = {views.same_repository(url) for url in urls if url}
        return tuple(
            name
            for name, pipeline in config.pipelines.items()
            if pipeline.source.url and views.same_repository(pipeline.source.url) in wanted
        )

    def branch_of(self, pipeline: str) -> str:
        return self._known(self._config(), pipeline).source.branch

    # ── what a person asks for ───────────────────────────────────────────────

    def deploy(
        self,
        pipeline: str,
        by: str,
        *,
        commit: str = "",
        release: int | None = None,
        config: str = "",
        rebuild: bool = False,
    ) -> Run:
        """A run by hand: the branch's head, a commit, a release as it is, or a changed configuration (its text)
        with the image of that release (default: the one that is live)."""
        digest, current = self._configs.current()
        if config:
            current = loader.load(config)
        stages = self._known(current, pipeline).stages
        base = self._template(pipeline, Kind.DEPLOY, digest, stages, by)
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
        return self._ask(base, text)

    def revert(
        self, pipeline: str, by: str, *, environment: str = "", to: int | None = None, reason: str = ""
    ) -> Run:
        """The previous good release, or ``to``, live again. Sets a hold and a quarantine; interrupts whoever
        works in that environment. Raises RequestError where there is nothing to go back to."""
        digest, name = self._place(pipeline, environment)
        self._image_is_there(pipeline, name, to)
        now = self._clock.now()
        run = self._store.transact(
            pipeline, lambda tx: acts.revert(tx, name, to, by=by, reason=reason, digest=digest, now=now)
        )
        self._bell.ring(pipeline, urgent=True)
        return run

    def promote(
        self,
        pipeline: str,
        by: str,
        *,
        run: int | None = None,
        environment: str = "",
        release: int | None = None,
    ) -> Run:
        """Lets the run that waits at a gate go on, with exactly the release that was shown. Raises RequestError
        where none waits, where another release waits now, or where the environment is held."""
        now = self._clock.now()
        found = self._store.transact(
            pipeline,
            lambda tx: acts.promote(tx, by=by, run=run, environment=environment, release=release, now=now),
        )
        self._bell.ring(pipeline)
        return found

    def hold(self, pipeline: str, by: str, *, environment: str = "", reason: str = "") -> tuple[str, ...]:
        """No automatic promotion into that environment until somebody resumes it."""
        digest, name = self._place(pipeline, environment)
        limit = len(self._settings.port_range)
        self._store.ensure_environment(pipeline, name, limit)
        now = self._clock.now()
        self._store.transact(pipeline, lambda tx: acts.hold(tx, name, reason, by=by, digest=digest, now=now))
        return (f"{pipeline}/{name} is held; `pushlive resume {pipeline}` lifts it.",)

    def resume(self, pipeline: str, by: str, *, environment: str = "") -> tuple[str, ...]:
        """Lifts the hold; the newest run that waited there goes on, unless the gate is manual."""
        _, name = self._place(pipeline, environment)
        now = self._clock.now()
        manual = self._config().pipelines[pipeline].environment(name).promote == "manual"
        found = self._store.transact(
            pipeline, lambda tx: acts.resume(tx, name, by=by, manual=manual, now=now)
        )
        self._bell.ring(pipeline)
        return found

    def unquarantine(self, pipeline: str, by: str, release: int, *, environment: str = "") -> tuple[str, ...]:
        """The release may go to that environment again."""
        _, name = self._place(pipeline, environment)
        return self._store.transact(pipeline, lambda tx: acts.unquarantine(tx, name, release, by=by))

    def cancel(self, pipeline: str, number: int, by: str) -> Run:
        """A waiting or queued run ends at once, a running one at its next safe point."""
        now = self._clock.now()
        return self._store.transact(pipeline, lambda tx: acts.cancel(tx, number, by=by, now=now))

    def retry(self, pipeline: str, number: int, by: str) -> Run:
        """The same once more, as a new run: the same commit, release, configuration or revert."""
        run = self._store.run(pipeline, number)
        if run.state != State.ENDED:
            raise RequestError(f"{run.id} has not ended yet.", advice=f"`pushlive follow {run.id}`.")
        if run.kind == Kind.REVERT:
            return self.revert(pipeline, by, environment=run.stages[0], to=run.release)
        if run.from_release is not None:
            config = self._store.config(run.config)
            return self.deploy(pipeline, by, release=run.from_release, config=config)
        if run.stages[0] != "build":
            return self.deploy(pipeline, by, release=run.release)
        return self.deploy(pipeline, by, commit=run.commit, rebuild=run.rebuild)

    # ── looking ──────────────────────────────────────────────────────────────

    def plan(self, text: str) -> dict[str, Any]:
        """What a changed pipelines.yaml would change; its problems instead where it is wrong."""
        problems = [f"line {p.line}: {p.path}: {p.message}" for p in loader.problems(text)]
        if problems:
            return {"problems": problems, "warnings": [], "pipelines": {}}
        new = loader.load(text)
        try:
            _, old = self._configs.current()
        except ConfigError:
            old = Config()
        changes = {name: dict(found) for name, found in plan.plan(old, new).items()}
        for name in new.pipelines:
            changes[name] = self._against_what_runs(name, new.pipelines[name], changes.get(name, {}))
        changes = {name: found for name, found in changes.items() if found}
        found = [*warnings(new), *self._not_set(new)]
        return {"problems": [], "warnings": found, "pipelines": changes}

    def _not_set(self, config: Config) -> Iterator[str]:
        for name, pipeline in config.pipelines.items():
            for environment, secret in self._vault.missing(name, pipeline):
                yield (
                    f"pipelines.{name}.environments.{environment}.secrets: {secret} is not set, no run will start; "
                    f"`pushlive secret set {name} {secret} --env {environment}`"
                )

    def _against_what_runs(
        self, name: str, pipeline: Pipeline, found: dict[str, tuple[str, ...]]
    ) -> dict[str, tuple[str, ...]]:
        """An environment is compared with the release that serves there, not with the file as it was."""
        changes = dict(found)
        for environment, record in self._store.environments(name).items():
            if environment not in pipeline.environments:
                text = "is not in pipelines.yaml any more; it serves on until `pushlive gc` removes it"
                changes[environment] = (text,)
            elif record.serving is not None:
                release = self._store.release(name, record.serving)
                lines = plan.differences(release.environments[environment], pipeline.render(environment))
                changes.pop(environment, None)
                if lines:
                    changes[environment] = lines
        return changes

    def status(self, pipeline: str = "") -> dict[str, Any]:
        try:
            digest, config = self._configs.current()
        except ConfigError as error:
            return {"pipelines": [], "config_error": str(error), "config": ""}
        names = [pipeline] if pipeline else list(config.pipelines)
        for name in names:
            self._known(config, name)
        view = views.Views(self._store, self._settings, config, self._clock.now())
        found = [view.pipeline(name) for name in names]
        problem, messages = self._configs.problem(), list(undelivered(self._store))
        return {"pipelines": found, "config_error": problem, "config": digest, "undelivered": messages}

    def runs(self, pipeline: str = "", limit: int = 50) -> list[dict[str, Any]]:
        names = [pipeline] if pipeline else self._store.pipelines()
        found = [run for name in names for run in self._store.recent(name, limit)]
        found.sort(key=lambda run: run.accepted, reverse=True)
        return [views.summary(run, self._clock.now()) for run in found[:limit]]

    def run(self, pipeline: str, number: int) -> Run:
        return self._store.run(pipeline, number)

    def show(self, pipeline: str, number: int | None) -> dict[str, Any]:
        """One run with its timing and release; ``None``: the latest."""
        number = number or self._store.last_run(pipeline)
        if not number:
            self._known(self._config(), pipeline)
            raise NotFound(f"{pipeline} has had no run yet.", advice="The first push makes one.")
        run = self._store.run(pipeline, number)
        config = self._configs.by_hash(run.config)
        return views.show(self._store, config, run, self._clock.now())

    def follow(
        self, pipeline: str, number: int, after: str = "0", idle: float = 10.0
    ) -> Iterator[tuple[str, Event] | None]:
        """Event ids and events as they happen; None after ``idle`` seconds of nothing. Ends with the run, or when it
        waits for a person."""
        run = self._store.run(pipeline, number)
        while True:
            # Look at the state first: what was told before it is then read for certain.
            run = self._store.run(pipeline, number)
            over = run.state in (State.ENDED, State.WAITING)
            found = self._store.events.read(run.id, after, 0 if over else min(idle, 1.0))
            for after, event in found:
                yield after, event
            if over and not found:
                return
            if not found:
                yield None

    def log(self, pipeline: str, number: int, stage: str = "") -> Iterator[str]:
        self._store.run(pipeline, number)
        return log.read(log.path(self._settings.data, pipeline, number), stage)

    def output(self, pipeline: str, *, environment: str = "", lines: int = 200) -> tuple[str, ...]:
        """What the application itself has printed last in that environment (default: the last one): the slot
        that serves, and before it a failed one that is still kept, each under a heading."""
        _, name = self._place(pipeline, environment)
        found = self._store.environment(pipeline, name)
        if found is None or not found.slots:
            raise NotFound(f"nothing runs in {pipeline}/{name}.", advice="Push first.")
        mask, unread = self._vault.mask(pipeline)
        said: list[str] = [f"! {name} cannot be read, so it is not masked here" for name in unread]
        for slot, record in sorted(found.slots.items(), key=lambda item: item[0] == found.active):
            said.append(f"── {name} r{record.release} ({slot}, {record.state})")
            said += mask.lines(self._output(promotion.place_of(found, slot), lines))
        return tuple(said)

    # ── secrets: no value ever comes back ────────────────────────────────────

    def set_secret(
        self, pipeline: str, by: str, name: str, value: Secret, *, environment: str = ""
    ) -> dict[str, Any]:
        """A new version, for that environment or for every one: ``{"name", "environment", "version",
        "messages"}``. Raises ConfigError for what cannot be a secret, EngineFailed where the key is not right."""
        check_name(name)
        known = self._known(self._config(), pipeline)
        self._place(pipeline, environment)
        now = self._clock.now()
        version = self._vault.put(pipeline, name, value, environment=environment, by=by, now=now)
        where = environment or "every environment"
        messages = [
            f"version {version.number} of {name} is set for {where}; the next release of {pipeline} gets it "
            f"(`pushlive deploy {pipeline}` makes one of what is live now)."
        ]
        places = [environment] if environment else list(known.environments)
        if not any(name in known.render(place).service.secrets for place in places):
            messages.append(
                f"pipelines.yaml does not name it there yet: write `secrets: [{name}]` under `service:`."
            )
        return {"name": name, "environment": environment, "version": version.number, "messages": messages}

    def remove_secret(
        self, pipeline: str, by: str, name: str, *, environment: str = "", version: int | None = None
    ) -> tuple[str, ...]:
        """Forgets the values of that version, or of all for that environment. Raises NotFound."""
        now = self._clock.now()
        gone = self._vault.revoke(pipeline, name, environment=environment, number=version, by=by, now=now)
        which = ", ".join(str(number) for number in gone)
        return (
            f"version {which} of {name} is revoked: no container gets it any more.",
            f"What runs with it keeps it until the next release (`pushlive deploy {pipeline}`).",
        )

    def secrets(self, pipeline: str) -> list[dict[str, Any]]:
        """Names, environments, newest versions, when and by whom."""
        found = self._vault.names(pipeline)
        if not found:
            self._known(self._config(), pipeline)
        return found

    def secret(self, pipeline: str, name: str, environment: str = "") -> list[dict[str, Any]]:
        """Every kept version of one secret, newest first. Raises NotFound."""
        return self._vault.versions(pipeline, name, environment)

    # ── tokens, counts, health ───────────────────────────────────────────────

    def create_token(self, name: str, role: str) -> str:
        return self._store.tokens.create(name, role)

    def token(self, text: str) -> Token | None:
        return self._store.tokens.find(text)

    def tokens(self) -> list[dict[str, Any]]:
        return self._store.tokens.all()

    def revoke_token(self, name: str) -> None:
        self._store.tokens.revoke(name)

    def count(self, what: str) -> None:
        self._store.count(what)

    def counts(self) -> dict[str, int]:
        return self._store.counts()

    def healthy(self) -> bool:
        return self._store.healthy()

    # ── small helpers ────────────────────────────────────────────────────────

    def _config(self) -> Config:
        return self._configs.current()[1]

    def _known(self, config: Config, pipeline: str) -> Pipeline:
        if pipeline not in config.pipelines:
            known = ", ".join(config.pipelines) or "none yet"
            raise NotFound(f"there is no pipeline {pipeline!r}.", advice=f"In pipelines.yaml are: {known}.")
        return config.pipelines[pipeline]

    def _place(self, pipeline: str, environment: str) -> tuple[str, str]:
        """The configuration's hash and the environment's name; the last one where none was named."""
        digest, config = self._configs.current()
        names = list(self._known(config, pipeline).environments)
        if environment and environment not in names:
            raise NotFound(
                f"{pipeline} has no environment {environment!r}.", advice=f"It has: {', '.join(names)}."
            )
        return digest, environment or names[-1]

    def _live(self, pipeline: str) -> int:
        _, name = self._place(pipeline, "")
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
        target = to if to is not None else promotion.revert_target(found)
        if target is not None:
            self._image_is_here(pipeline, target)

    def _image_is_here(self, pipeline: str, release: int) -> None:
        if release in views.missing_images(self._store, pipeline):
            raise RequestError(
                f"the image of r{release} is not on the Engine any more.",
                advice="Choose another release, or deploy its commit: it is built anew.",
            )

    def _template(self, pipeline: str, kind: Kind, digest: str, stages: tuple[str, ...], by: str) -> Run:
        return Run(pipeline, 0, kind, "", "", digest, stages, self._clock.now(), by=by)

    def _ask(self, template: Run, text: str) -> Run:
        run = self._store.transact(template.pipeline, lambda tx: admission.ask(tx, template, text))
        self._bell.ring(template.pipeline)
        return run
