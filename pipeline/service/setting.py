"""`pushlive set`: single values of an environment, put into pipelines.yaml and deployed as one release."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config import diff, loading
from pipeline.config.editing.text import value_at, with_value
from pipeline.config.models import Config, Rendered
from pipeline.domain.audit_chain import Who
from pipeline.domain.run import Run
from pipeline.errors import ConfigError, RequestError
from pipeline.lib.text import flow
from pipeline.service.configuring.repository import ConfigurationPushes
from pipeline.service.refusals import Refusals

SHOWN = 5  # problems in one message
_KEY = re.compile(r"[a-z_]+(\.[A-Za-z_][A-Za-z0-9_-]*){0,3}")


class SettingCommands(ConfigurationPushes, Refusals):
    def deploy(self, pipeline: str, by: Who, *, config: str = "") -> Run:
        """See ``Commands.deploy``."""
        raise NotImplementedError

    def set_values(
        self, pipeline: str, by: Who, *, values: Mapping[str, str], environment: str = "", seen: str = ""
    ) -> dict[str, Any]:
        """``values``: by key, as ``replicas`` or ``env.GREETING``. Without ``seen``, what would change:
        ``{"config", "environment", "changes", "file", "writes"}``; ``writes``: whether the file can be written, or
        only a release be made. With ``seen``, the ``config`` of that answer, it is done, and the answer has ``run`` as
        well, "" if no release is needed. Raises ConfigError, Forbidden, NotFound, and RequestError if the configuration
        has changed since."""
        self.insist_on_store()
        digest, name = self._environment_name(pipeline, environment)
        if seen and seen != digest:
            raise RequestError(
                "pipelines.yaml has changed since.", advice="Look at the change once more, and repeat it."
            )
        self._refuse_wrong_file()
        self._live(pipeline)
        current, text = self._configurations.by_hash(digest), self._store.config(digest)
        changed = self._with(text, pipeline, name, values)
        self._changed(current, changed, pipeline, by)
        wanted = loading.load(changed)
        changes = _changes(current, wanted, pipeline, name)
        writes = self._configurations.writable()
        answer = {
            "config": digest,
            "environment": name,
            "changes": changes,
            "file": str(self._settings.config),
            "writes": writes,
        }
        if not seen:
            return answer
        carried = _rendered(current, pipeline, name) != _rendered(wanted, pipeline, name)
        if changes and not writes and not carried:
            raise RequestError(
                f"the service cannot write {self._settings.config}, and this is in no release.",
                advice="Edit the file where it comes from.",
            )
        if changes:
            self._record_values(pipeline, by, name, values, text)
        if writes:
            self._write(text, changed, by, f"Set {pipeline}/{name}: {', '.join(values)}")
        run = self.deploy(pipeline, by, config=changed) if carried else None
        return {**answer, "run": run.id if run and not run.ended else ""}

    def _write(self, before: str, text: str, by: Who, message: str) -> None:
        if isinstance(self._configurations.place, Path):
            self._configurations.replace(before, text)
        else:
            self.write_configuration(before, text, by, message)

    def _record_values(
        self, pipeline: str, by: Who, environment: str, values: Mapping[str, str], text: str
    ) -> None:
        before = {key: value_at(text, _path(pipeline, environment, key)) for key in values}
        self.record(
            by,
            "set",
            pipeline=pipeline,
            environment=environment,
            detail=" ".join(values),
            before=_said({key: "not set" if value is None else value for key, value in before.items()}),
            after=_said(values),
        )

    def _refuse_wrong_file(self) -> None:
        if problem := self._configurations.problem():
            raise ConfigError(
                f"pipelines.yaml is wrong at the moment: {problem}",
                advice="Correct it first; `pushlive check` helps.",
            )

    def _with(self, text: str, pipeline: str, environment: str, values: Mapping[str, str]) -> str:
        for key, value in values.items():
            if not _KEY.fullmatch(key):
                raise ConfigError(
                    f"{key[:60]!r} is not a key.", advice="Write keys as `replicas` or `env.GREETING`."
                )
            written = json.dumps(value, ensure_ascii=False) if key.startswith("env.") else value
            text = with_value(text, _path(pipeline, environment, key), written)
        if found := loading.problems(text):  # their lines are those of a file that no one has
            raise ConfigError(
                "; ".join(f"{one.path}: {one.message}" for one in found[:SHOWN]),
                advice="Nothing was changed.",
            )
        return text


def _path(pipeline: str, environment: str, key: str) -> tuple[str, ...]:
    return ("pipelines", pipeline, "environments", environment, *key.split("."))


def _said(values: Mapping[str, Any]) -> str:
    return "; ".join(f"{key}: {flow(value)}" for key, value in values.items())


def _rendered(config: Config, pipeline: str, environment: str) -> Rendered:
    """What a release carries of it: not who promotes, for example."""
    return config.pipelines[pipeline].render(environment)


def _changes(current: Config, changed: Config, pipeline: str, environment: str) -> list[str]:
    """In words. A key of an environment changes nothing else."""
    found = diff.plan(current, changed)
    return [
        line if where in (environment, "environments") else f"{where}: {line}"
        for where, lines in found.get(pipeline, {}).items()
        for line in lines
    ]
