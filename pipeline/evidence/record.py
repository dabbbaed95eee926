"""The record of a run that has ended: plain data that says all of it, whatever the store has later.

``PARTS`` is what a record consists of, one function for each key: a part that comes to it is a function here or in a
module of its own, and a line there. docs/guides/evidence.md and ``schema.json`` describe the keys.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.config.diff import differences
from pipeline.config.models import Config
from pipeline.deploy.services import Services
from pipeline.domain import audit_chain
from pipeline.domain.environment import Environment
from pipeline.domain.promotion.freezing import FREEZE, THAW
from pipeline.domain.release import Release
from pipeline.domain.run import Run
from pipeline.errors import NotFound, PushliveError
from pipeline.lib import codec
from pipeline.lib.text import without_password
from pipeline.ports.source import Source
from pipeline.secrets.redaction import Mask

FORM = 1
COMMITS = 500  # of one record
ACTS = 1000
OLDER = 200  # entries in a row before a time, after which none of that time is expected: a clock may have been set
SLACK = 60.0  # seconds before the run was accepted in which its push was recorded, on a clock that is being adjusted

ACT_KEYS = (
    "number",
    "hash",
    "time",
    "who",
    "role",
    "way",
    "act",
    "environment",
    "run",
    "release",
    "why",
    "detail",
    "before",
    "after",
)
"""Of an audit entry. Not its address: who may read a run's log may not know where people are."""


@dataclass(frozen=True)
class Subject:
    """A run that has ended, and what else is known then."""

    services: Services
    source: Source
    run: Run
    now: float
    version: str

    @cached_property
    def release(self) -> Release | None:
        with suppress(NotFound):
            return self.services.store.release(self.run.pipeline, self.run.release or 0)
        return None

    @cached_property
    def config(self) -> Config | None:
        """The configuration that applied to the run."""
        with suppress(PushliveError):
            return self.services.configurations.by_hash(self.run.config)
        return None

    @cached_property
    def environments(self) -> dict[str, Environment]:
        """Those that the run was to reach."""
        found = self.services.store.environments(self.run.pipeline)
        return {name: found[name] for name in self.run.stages if name in found}

    @cached_property
    def before(self) -> dict[str, Release]:
        """The release that served before, by environment."""
        numbers = {name: _before(one, self.run.release) for name, one in self.environments.items()}
        found = dict[str, Release]()
        for name, number in numbers.items():
            with suppress(NotFound):
                if number is not None:
                    found[name] = self.services.store.release(self.run.pipeline, number)
        return found


def made(subject: Subject) -> dict[str, Any]:
    """The record of its end, without its log. Raises DamagedRecord and StoreUnavailable."""
    return of_run(subject, "run", {name: part(subject) for name, part in PARTS.items()})


def of_run(subject: Subject, kind: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """A record of that kind, which is named after a run."""
    run = subject.run
    return framed(subject.services, run.pipeline, kind, run.id, subject.now, subject.version, parts)


def framed(
    services: Services,
    pipeline: str,
    kind: str,
    name: str,
    now: float,
    version: str,
    parts: Mapping[str, Any],
) -> dict[str, Any]:
    """A record of that kind: what all have, and its own parts without secrets. ``name``: what it is of."""
    mask, unread = services.vault.mask(pipeline)
    record = {
        "form": FORM,
        "kind": kind,
        "id": name,
        "pipeline": pipeline,
        "installation": services.settings.instance,
        "version": version,
        "written": time_of(now),
        "not_masked": list(unread),
    }
    return record | {name: _masked(mask, name, part) for name, part in parts.items()}


def _masked(mask: Mask, name: str, value: Any) -> Any:
    """Without secrets, as the log. What we write ourselves, and hashes, are not text in which one can be."""
    if name in _OURS or not mask:
        return value
    if isinstance(value, str):
        return mask.text(value)
    if isinstance(value, Mapping):
        return {key: one if key in _HASHES else _masked(mask, "", one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(mask, "", one) for one in value]
    return value


_OURS = frozenset({"release", "bases"})
_HASHES = frozenset(
    {"id", "commit", "hash", "previous", "time", "number", "run", "release", "started", "accepted", "ended"}
)


# ── the parts ────────────────────────────────────────────────────────────────


def run_part(subject: Subject) -> dict[str, Any]:
    """Who pushed or asked for what, when, and how it ended."""
    run = subject.run
    times = {name: time_of(getattr(run, name)) for name in ("accepted", "started", "image_ready", "ended")}
    plain = {name: getattr(run, name) for name in _PLAIN}
    return {
        **plain,
        **times,
        "id": run.id,
        "kind": run.kind.value,
        "outcome": run.outcome.value if run.outcome else "",
        "stages": list(run.stages),
        "promoted": list(run.promoted),
        "failure": codec.plain(run.failure) if run.failure else None,
        "seconds": round(max(0.0, run.ended - run.accepted), 3),
        "source": _address(subject),
    }


_PLAIN = (
    "number", "reason", "commit", "ref", "repository", "message", "author", "pusher", "by", "delivery", "config",
    "release", "from_release", "rebuild", "human", "queued", "attempts", "forced",
)  # fmt: skip


def _address(subject: Subject) -> str:
    """The URL of the repository, without a password."""
    run, settings, url = subject.run, subject.services.settings, ""
    if subject.config and run.pipeline in subject.config.pipelines:
        pipeline = subject.config.pipelines[run.pipeline]
        url = pipeline.source.url or f"{settings.url}/git/{subject.config.repository_of(run.pipeline)}.git"
    return without_password(url or f"{settings.url}/git/{run.repository or run.pipeline}.git")


def steps_part(subject: Subject) -> list[dict[str, Any]]:
    """Every step with its time."""
    return [codec.plain(step) | {"started": time_of(step.started)} for step in subject.run.steps]


def checks_part(subject: Subject) -> dict[str, list[dict[str, Any]]]:
    """Every check, by environment: what was asked, what was answered, in how many seconds."""
    return {name: [codec.plain(one) for one in found] for name, found in subject.run.checks.items()}


def release_part(subject: Subject) -> dict[str, Any] | None:
    release = subject.release
    if release is None:
        return None
    return {
        "name": release.name,
        "number": release.number,
        "run": release.run,
        "commit": release.commit,
        "created": time_of(release.created),
        "image": release.image,
        "tag": release.tag,
        "remote": release.remote,
        "secrets": release.secrets,
    }


def bases_part(subject: Subject) -> list[dict[str, str]]:
    """The images that the build started from."""
    for step in subject.run.steps:
        if (step.stage, step.step) == ("build", "build"):
            return [{"name": name, "image": image} for name, image in step.data.get("bases", {}).items()]
    return []


def build_part(subject: Subject) -> dict[str, Any]:
    """The configuration of the build."""
    config, name = subject.config, subject.run.pipeline
    found = config.pipelines[name].build if config and name in config.pipelines else None
    return found.model_dump(mode="json", exclude_defaults=True) if found else {}


def configuration_part(subject: Subject) -> dict[str, Any]:
    """Which configuration the release was made with, and the commit that brought it into force."""
    found = subject.services.configurations
    digest, origin = found.made_with(subject.run)
    shown = codec.plain(origin) | {"at": time_of(origin.at)} if origin else None
    return {"hash": digest, "origin": shown}


def commits_part(subject: Subject) -> dict[str, Any]:
    """The commits since the release that served before in the last environment."""
    run, config = subject.run, subject.config
    before = next((subject.before[name] for name in reversed(run.stages) if name in subject.before), None)
    found: dict[str, Any] = {"since": "", "release": None, "list": [], "more": False, "problem": ""}
    if before is None or not run.commit or config is None or run.pipeline not in config.pipelines:
        return found
    found |= {"since": before.commit, "release": before.number}
    try:
        source = config.pipelines[run.pipeline].source
        commits = subject.source.history(run.pipeline, source, run.commit, before.commit, COMMITS + 1)
    except PushliveError as error:
        return found | {"problem": error.message}
    listed = [{"id": one.id, "author": one.author, "message": one.message} for one in commits[:COMMITS]]
    return found | {"list": listed, "more": len(commits) > COMMITS}


def environments_part(subject: Subject) -> dict[str, Any]:
    """The rendered configuration of each environment, and what differs from the release that served there before."""
    release, found = subject.release, dict[str, Any]()
    for name in subject.run.stages:
        if release is None or name not in release.environments:
            continue
        rendered, before = release.environments[name], subject.before.get(name)
        known = before.environments.get(name) if before else None
        found[name] = {
            "configuration": rendered.model_dump(mode="json"),
            "fingerprint": release.fingerprint(name),
            "before": before.number if before else None,
            "differences": list(differences(known, rendered)) if known else [],
        }
    return found


def acts_part(subject: Subject) -> list[dict[str, Any]]:
    """What people did to this run: pushed, promoted, forced, cancelled, and why. Oldest first."""
    run = subject.run
    return acts(subject.services, run.pipeline, run.accepted - SLACK, lambda one: one.get("run") == run.id)


def approvals_part(subject: Subject) -> list[dict[str, Any]]:
    """Who let it into which environment, and why: the how many-th of how many approvals it was, 0 of 0 in a run of an
    earlier version. Oldest first."""
    found = sorted(subject.run.approvals, key=lambda one: one.at)
    return [codec.plain(one) | {"at": time_of(one.at)} for one in found]


PARTS: dict[str, Callable[[Subject], Any]] = {
    "run": run_part,
    "steps": steps_part,
    "checks": checks_part,
    "release": release_part,
    "bases": bases_part,
    "build": build_part,
    "configuration": configuration_part,
    "commits": commits_part,
    "environments": environments_part,
    "acts": acts_part,
    "approvals": approvals_part,
}


# ─────────────────────────────────────────────────────────────────────────────


def acts(
    services: Services, pipeline: str, since: float, wanted: Callable[[Mapping[str, Any]], bool]
) -> list[dict[str, Any]]:
    """The newest ``ACTS`` entries of the audit log since then (seconds since the epoch), about that pipeline or none,
    that are wanted, oldest first."""
    services.audit_head.move()
    found: list[dict[str, Any]] = []
    first, older = time_of(since), 0
    for line in services.store.audit.newest():
        one = audit_chain.read(line)
        if one is None:
            continue
        older = older + 1 if str(one.get("time", "")) < first else 0
        if older == OLDER or len(found) == ACTS:
            break
        if not older and one.get("pipeline") in ("", pipeline) and wanted(one):
            found.append({key: one.get(key, "") for key in ACT_KEYS})
    return found[::-1]


def concerns(
    act: Mapping[str, Any], runs: Container[object], release: str, environments: Container[object]
) -> bool:
    """Whether an entry is about these runs or this release ("" for none), or about an environment as such: a hold, a
    freeze of all of them, or a revert, which takes away what serves there."""
    if act.get("run") in runs or (release and act.get("release") == release):
        return True
    if act.get("act") != "revert" and (act.get("run") or act.get("release")):
        return False
    if act.get("environment"):
        return act.get("environment") in environments
    return bool(act.get("pipeline")) or act.get("act") in (FREEZE, THAW)


def time_of(at: float) -> str:
    """``2026-03-01T12:00:05.250Z``; "" for 0."""
    if not at:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1000) % 1000:03}Z"


def milliseconds(text: str) -> int:
    """The time that ``time_of`` wrote, since the epoch; 0 for any other text."""
    try:
        return timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(text[20:23] or 0)
    except ValueError:
        return 0


def _before(environment: Environment, release: int | None) -> int | None:
    """The release that served there before that one; if it never came to serve, the one that does."""
    good = environment.good
    if release in good:
        earlier = good[: good.index(release)]
        return earlier[-1] if earlier else None
    return environment.serving if environment.serving != release else None
