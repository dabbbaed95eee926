"""What commands ask before they write anything: whether it can be done, and whether the person may do it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pipeline.config import loading
from pipeline.config.engines import kind_of
from pipeline.config.models import Config, Pipeline
from pipeline.deploy.configuring import judging
from pipeline.deploy.going_back.readiness import missing_images
from pipeline.domain import audit_chain, gates, naming, slots
from pipeline.domain.audit_chain import Who
from pipeline.domain.environment import Environment
from pipeline.domain.release import FORM, Release
from pipeline.domain.run import Kind, Outcome, Run
from pipeline.domain.secret_versions import newest
from pipeline.errors import ConfigError, DamagedRecord, NotFound, RequestError
from pipeline.service import former_names, permissions
from pipeline.service.credentials import Credentials


class Refusals(Credentials):
    """Each raises if the command is to be refused; a refused command has changed nothing."""

    def _refuse_name(self, commit: str, pipeline: Pipeline) -> None:
        """Raises NotFound for what is not a commit's id."""
        if not naming.is_commit_id(commit):
            raise NotFound(
                f"{commit[:80]!r} is not a commit id.",
                advice="Use its hexadecimal digits, at least seven; `git rev-parse NAME` shows those of a branch or a "
                f"tag. Without a commit, the head of {pipeline.source.branch} is deployed.",
            )

    def _changed(self, current: Config, text: str, name: str, by: Who) -> Pipeline:
        """The pipeline in a configuration that was sent. Raises ConfigError, NotFound or Forbidden."""
        changed = loading.load(text)
        if found := judging.own_sources(text, changed, self._settings.config):
            raise ConfigError("\n".join(found))
        pipeline = self._known(changed, name, "the file that was sent")
        permissions.refuse_changes(current, changed, name, audit_chain.actor(by))
        return pipeline

    def _live(self, pipeline: str) -> int:
        _, name = self._environment_name(pipeline, "")
        found = self._store.environment(pipeline, name)
        if found is None or found.serving is None:
            raise RequestError(f"no release of {pipeline} is live yet.", advice="Push first.")
        return found.serving

    def _unchanged(self, pipeline: str, text: str, number: int) -> Run | None:
        """The run that made the release of that number, if it serves in every environment, nothing newer is on its way,
        and a release of its image with the configuration in ``text`` would be the same; otherwise None."""
        try:
            release = self._store.release(pipeline, number)
            run = self._store.run(pipeline, release.run)
            made, sent = self._configurations.by_hash(run.config), loading.load(text)
            wanted = sent.pipelines[pipeline]
            names = {env: wanted.render(env).service.all_secrets for env in wanted.environments}
            secrets = newest(self._store.secrets(pipeline), pipeline, names)
            on_its_way = self._store.open_runs(pipeline)
        except (NotFound, DamagedRecord, ConfigError):
            return None
        found = self._store.environments(pipeline)
        serves = all(one in found and found[one].serving == number for one in release.environments)
        before = (made.pipelines.get(pipeline), made.accessories, release.secrets, release.form)
        same = before == (wanted, sent.accessories, secrets, FORM)
        return run if same and serves and not on_its_way else None

    def _refuse_unready(self, pipeline: str, name: str, to: int | None) -> None:
        """Raises RequestError if a revert cannot be done."""
        found = self._store.environment(pipeline, name)
        if found is None:
            raise RequestError(
                f"nothing was deployed to {pipeline}/{name} yet: there is nothing to revert.",
                advice="Push first.",
            )
        target = to if to is not None else slots.revert_target(found)
        if target is None:
            self._refuse_former(found)
        else:
            if kind_of(found.engine).local:  # others take it from a registry
                self._refuse_without_image(pipeline, target)
            self._refuse_without_secrets(pipeline, name, target)

    def show(self, pipeline: str, number: int | None) -> dict[str, Any]:
        """``no_retry`` of a run that has ended and is not live: why a retry is refused, and what to do; "" if it is
        not."""
        found, why = super().show(pipeline, number), ""
        shown = found["run"]
        if shown["outcome"] in (Outcome.FAILED, Outcome.CANCELLED) and shown["kind"] != Kind.REVERT:
            run = self._store.run(pipeline, shown["number"])
            with suppress(NotFound, ConfigError):  # then a retry says that
                why = ". ".join(self._quarantine_on_way(run, self._of_retry(run)) or ())
        return {**found, "run": {**shown, "no_retry": why}}

    def _of_retry(self, run: Run) -> Pipeline:
        """The pipeline as a retry of that run has it: as it was sent, or as it is now."""
        sent = run.from_release is not None
        return self._known(
            loading.load(self._store.config(run.config)) if sent else self._config(), run.pipeline
        )

    def _refuse_quarantined(self, run: Run, wanted: Pipeline) -> None:
        """Raises RequestError if a retry of that run would bring what is in quarantine."""
        if found := self._quarantine_on_way(run, wanted):
            why, advice = found
            raise RequestError(f"{why}. Nothing was done.", advice=advice)

    def _quarantine_on_way(self, run: Run, wanted: Pipeline) -> tuple[str, str] | None:
        """Why a retry of that run would stop, without a full stop, and what to do, if it would bring what is in
        quarantine in an environment on its way. ``wanted``: the pipeline as the retry has it. What is built again may
        become another image: nothing is said of that."""
        release = self._brought_again(run, wanted)
        for name in wanted.environments if release else ():
            environment = self._store.environment(run.pipeline, name)
            entry = environment and release and gates.quarantined(environment, release)
            if entry:
                return (
                    f"a retry of {run.id} would stop before {name}: r{entry.release}, with the same image and "
                    f"configuration, is in quarantine there: {entry.reason}",
                    f"Push a fix; or `pushlive unquarantine {run.pipeline} r{entry.release} --env {name}`, then "
                    f"`pushlive retry '{run.id}'`.",
                )
        return None

    def _brought_again(self, run: Run, wanted: Pipeline) -> Release | None:
        """What the run's release is once it is made again; None if that is not known."""
        if run.release is None or run.rebuild:
            return None
        try:
            release = self._store.release(run.pipeline, run.release)
            if run.stages[0] != "build":
                return release
            made = self._configurations.by_hash(run.config).pipelines.get(run.pipeline)
            if made is None or made.build != wanted.build:
                return None
            if run.release in missing_images(self._store, run.pipeline):
                return None
            rendered = {env: wanted.render(env) for env in wanted.environments}
            names = {env: one.service.all_secrets for env, one in rendered.items()}
            secrets = newest(self._store.secrets(run.pipeline), run.pipeline, names)
        except (NotFound, DamagedRecord, ConfigError):
            return None
        return replace(release, environments=rendered, secrets=secrets)

    def _refuse_without(self, pipeline: str, number: int, environments: Iterable[str]) -> Release:
        """That release. Raises NotFound if it does not exist, RequestError if it has not all these environments."""
        release = self._store.release(pipeline, number)
        missing = [name for name in environments if name not in release.environments]
        if missing:
            raise RequestError(
                f"r{number} was made without the environment {missing[0]}.",
                advice=f"`pushlive deploy {pipeline} --commit {release.commit[:7]}` makes a release with it.",
            )
        return release

    def _refuse_former(self, environment: Environment) -> None:
        """Raises RequestError if what was live before was live under another name."""
        if slots.passed_over(environment):
            return  # there were others under this name
        run = former_names.last_live(
            self._store, self._configurations, environment.pipeline, environment.name
        )
        if run:
            what = f"{run.short} “{run.message}”" if run.message else run.short
            raise RequestError(
                f"{environment.id}: there is no earlier good release to revert to. {what} was live as "
                f"{run.pipeline}/{run.stages[-1]}, before the name was changed in pipelines.yaml.",
                advice=f"`pushlive deploy {environment.pipeline} --commit {run.short}` makes a release of that commit "
                f"for {environment.name}.",
            )

    def _refuse_without_secrets(self, pipeline: str, name: str, target: int) -> None:
        """Asked before the hold and the quarantine are set: a revert that cannot be done changes nothing."""
        release = self._store.release(pipeline, target)
        if name not in release.environments:
            return
        try:
            self._vault.choose(release, name)
        except ConfigError as error:
            raise RequestError(error.message, advice=error.advice) from error

    def _refuse_without_image(self, pipeline: str, release: int) -> None:
        if release in missing_images(self._store, pipeline):
            raise RequestError(
                f"the image of r{release} is no longer on the Engine.",
                advice="Choose another release, or build it again: "
                f"`pushlive deploy {pipeline} --commit {self._store.release(pipeline, release).commit[:7]}`.",
            )
