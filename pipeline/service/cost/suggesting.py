"""`pushlive cost --suggest`: pipelines.yaml as it could be by what was measured; what each change saves and risks."""

from __future__ import annotations

import difflib
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import loading
from pipeline.config.editing.text import Path as Keys
from pipeline.config.editing.text import with_value
from pipeline.config.engines import kind_of, machines_of
from pipeline.config.models import Config, Service
from pipeline.config.workload.kubernetes import USUAL_REQUEST
from pipeline.domain.audit_chain import Who
from pipeline.domain.cost import purposes, rightsizing
from pipeline.domain.cost.purposes import Replica
from pipeline.domain.cost.rightsizing import Change, Part, Sizes
from pipeline.domain.cost.shares import RATIO
from pipeline.domain.measuring.monthly import calendar
from pipeline.errors import ConfigError, PushliveError, RequestError
from pipeline.lib.units import show_size
from pipeline.service.cost import costs
from pipeline.service.cost.costs import Measured
from pipeline.service.setting import SettingCommands


@dataclass(frozen=True)
class Suggested:
    """``text``: the whole file with all of them; ``refused``: why some of them are left to a person."""

    text: str
    changes: tuple[tuple[str, str, Change], ...]  # pipeline, environment
    refused: tuple[str, ...]


class CostCommands(SettingCommands):
    def suggest(
        self, by: Who, *, pipeline: str = "", without_redundancy: bool = False, seen: str = ""
    ) -> dict[str, Any]:
        """What could be smaller: ``{"suggestion", "currency", "changes": [{"pipeline", "environment", "key", "before",
        "after", "monthly", "frees", "risk", "text"}], "diff", "refused", "said", "file", "writes"}``; ``said``: why
        there is nothing. With ``seen``, the ``suggestion`` of that answer, the file is written and what changes is
        deployed, and the answer has ``runs`` and ``messages`` as well. Raises ConfigError, Forbidden, NotFound, and
        RequestError if what is suggested has changed since, or the file cannot be written."""
        self.insist_on_store()
        digest, config = self._configurations.current()
        if pipeline:
            self._known(config, pipeline)
        config = self._configurations.as_written(digest)  # without previews, which are not in the file
        text, now = self._store.config(digest), self._clock.now()
        month = calendar.month(calendar.month_of(now, "UTC"), "UTC")
        measured = costs.measured(self._store, config.costs, month, now)
        found = _suggested(text, _changes(config, measured, pipeline, not without_redundancy))
        place = self._settings.config
        name = "pipelines.yaml" if isinstance(place, Path) else place.path
        answer: dict[str, Any] = {
            "suggestion": hashlib.sha256(found.text.encode()).hexdigest()[:16],
            "currency": config.costs.currency,
            "changes": [_shown(*one, config.costs.currency) for one in found.changes],
            "diff": _diff(text, found.text, name),
            "refused": list(found.refused),
            "said": "" if found.changes or found.refused else _nothing(measured, pipeline),
            "file": str(place),
            "writes": self._configurations.writable(),
        }
        if not seen:
            return answer
        if seen != answer["suggestion"]:
            raise RequestError(
                "what is suggested has changed since.", advice="Look at it once more, and repeat it."
            )
        return answer | self._apply(text, found, by)

    def _apply(self, text: str, found: Suggested, by: Who) -> dict[str, Any]:
        values = defaultdict[tuple[str, str], dict[str, str]](dict)
        for name, environment, change in found.changes:
            values[name, environment][change.key] = change.after
        names = list(dict.fromkeys(name for name, _ in values))
        if not names:
            return {"runs": [], "messages": []}
        self._refuse_wrong_file()
        _, current = self._configurations.current()
        for name in names:
            self._changed(current, found.text, name, by)
        if not self._configurations.writable():
            raise RequestError(
                f"the service cannot write {self._settings.config}, so nothing was changed.",
                advice="Commit the change where the file comes from: `pushlive cost --suggest` prints it as a diff.",
            )
        for (name, environment), wanted in values.items():
            self._record_values(name, by, environment, wanted, text)
        self._write(text, found.text, by, f"Right-size {', '.join(names)}")
        runs, messages = list[str](), list[str]()
        for name in names:
            try:
                run = self.deploy(name, by, config=found.text)
            except PushliveError as error:  # the file is in force: what it changes comes with the next push
                messages.append(f"{name} has the change with its next push: {error}")
            else:
                runs += [] if run.ended else [run.id]
        return {"runs": runs, "messages": messages}


def _changes(
    config: Config, measured: Measured, pipeline: str, spare: bool
) -> Iterator[tuple[str, str, Change]]:
    for name, one in config.pipelines.items():
        for environment in one.environments if pipeline in ("", name) else ():
            service = one.render(environment).service
            key = one.environment(environment).engine.key
            parts = dict(_parts(measured, name, environment, service))
            sizes = _sizes(measured, name, environment, service, parts, kind_of(key).machines)
            for change in rightsizing.changes(parts, sizes, config.costs.headroom / 100, spare=spare):
                yield name, environment, change


def _parts(
    measured: Measured, pipeline: str, environment: str, service: Service
) -> Iterator[tuple[str, Part]]:
    for key, known in measured.replicas.items():
        if key[:2] != (pipeline, environment) or known.need is None:
            continue
        process, own = key[2], service.processes_in_use.get(key[2])
        if process and own is None:
            continue
        declared = own.replicas if own else 0 if service.autoscaled else service.web_replicas
        spare, idle = (measured.monthly.get((key, one), 0.0) for one in (purposes.REDUNDANCY, purposes.IDLE))
        yield process, Part(process, declared, known.load, known.need, spare, idle)


def _sizes(
    measured: Measured,
    pipeline: str,
    environment: str,
    service: Service,
    parts: Mapping[str, Part],
    reserves: bool,
) -> Sizes:
    known = [one for key, one in measured.replicas.items() if key[:2] == (pipeline, environment)]
    names = {*service.processes_in_use} | ({""} if service.web else set())
    cores = min([service.cpu, *(one.each.cores for one in known if one.service.cpu == service.cpu)])
    gib = max((measured.gib.get(machines_of(one.engine), 0.0) for one in known), default=0.0)
    return Sizes(
        Replica(cores, service.memory),
        service.cpu,
        max((one.everything for one in known), default=0),
        complete=names <= parts.keys(),
        reserves_memory=reserves and service.requests.memory is None,
        reserves_cpu=USUAL_REQUEST if reserves and service.requests.cpu is None else 0.0,
        gib=gib,
        core=gib * RATIO,
    )


def _suggested(text: str, wanted: Iterator[tuple[str, str, Change]]) -> Suggested:
    """Each change by itself: one that cannot be made does not keep the others out."""
    found, refused = list[tuple[str, str, Change]](), list[str]()
    for pipeline, environment, change in wanted:
        keys = ("pipelines", pipeline, "environments", environment, *change.key.split("."))
        try:
            text = _changed(text, keys, change)
        except ConfigError as error:
            refused.append(
                f"{pipeline}/{environment}: {change.key} {change.before} → {change.after}: {error}"
            )
        else:
            found.append((pipeline, environment, change))
    return Suggested(text, tuple(found), tuple(refused))


def _changed(text: str, keys: Keys, change: Change) -> str:
    """Raises ConfigError if that would be wrong."""
    changed = with_value(text, keys, change.after)
    if problems := loading.problems(changed):
        raise ConfigError(f"{problems[0].path}: {problems[0].message}")
    return changed


def _shown(pipeline: str, environment: str, change: Change, currency: str) -> dict[str, Any]:
    saving = f"saves about {change.monthly:.2f} {currency} a month" if change.monthly >= 0.005 else ""
    free = f"{show_size(change.frees)} of memory are free for others" if change.frees else ""
    parts = ", ".join(one for one in (saving, free) if one)
    return {
        "pipeline": pipeline,
        "environment": environment,
        "key": change.key,
        "before": change.before,
        "after": change.after,
        "monthly": round(change.monthly, costs.DIGITS),
        "frees": change.frees,
        "risk": change.risk,
        "text": f"{pipeline}/{environment}: {change.key} {change.before} → {change.after}"
        f"{f': {parts}' if parts else ''}. Risk: {change.risk}.",
    }


def _diff(before: str, after: str, name: str) -> str:
    """As `git apply` reads it."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(one if one.endswith("\n") else f"{one}\n\\ No newline at end of file\n" for one in lines)


def _nothing(measured: Measured, pipeline: str) -> str:
    """Why there is nothing to suggest."""
    known = [one for key, one in measured.replicas.items() if pipeline in ("", key[0])]
    if not known:
        return "Nothing that serves was measured yet, so nothing can be suggested."
    if all(one.load.seconds < rightsizing.ENOUGH for one in known):
        hours = max(one.load.seconds for one in known) / 3600
        return (
            f"There is nothing to suggest yet: {rightsizing.ENOUGH / 86400:.0f} days of the last week have to be "
            f"measured for that, and {hours:.0f} hours are."
        )
    return "There is nothing to suggest: no replica is idle, and no limit is much larger than what was used."
