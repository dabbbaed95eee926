"""What a changed configuration would change, as lines for people. Writing out a default is not a change."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from pipeline.config.checks import SmokeCheck
from pipeline.config.engines import Registry
from pipeline.config.introspection import Hint, key_of, keys_of
from pipeline.config.models import Config, Environment, Pipeline, Rendered
from pipeline.config.previews.names import is_preview
from pipeline.config.workload.accessory import Accessory
from pipeline.config.workload.processes import Process
from pipeline.lib.secret import HIDDEN
from pipeline.lib.text import brief, without_path
from pipeline.lib.units import show_size, write_duration

_SECRET_NAME = re.compile(r"PASS|PWD|TOKEN|SECRET|KEY|CREDENTIAL|AUTH", re.IGNORECASE)

Lines = tuple[str, ...]
REMOVED: Lines = ("removed: its containers go with `pushlive gc`",)
PREVIEW_REMOVED: Lines = ("removed, with its containers, accessories and data",)


def plan(old: Config, new: Config) -> dict[str, dict[str, Lines]]:
    """The differences by pipeline and environment; what is equal has no entry.

    Beside the environments stand the keys source, build, registry, environments (their order), budget, notify,
    freeze and previews, for what belongs to the whole pipeline.
    """
    result = {}
    for name in dict.fromkeys([*new.pipelines, *old.pipelines]):
        found = _pipeline(name, old, new)
        if found:
            result[name] = found
    return result


def differences(a: Rendered, b: Rendered) -> Lines:
    """What differs from ``a`` to ``b``: ``memory: 128 MiB → 256 MiB``, ``env GREETING: 'hello' → 'hi'``."""
    plain = [line for line in _fields(a.service, b.service) if line]
    hosts = [f"hosts: + {host}" for host in b.hosts if host not in a.hosts]
    hosts += [f"hosts: − {host}" for host in a.hosts if host not in b.hosts]
    if a.uses != b.uses:
        old, new = (", ".join(f"{k}: {v}" for k, v in one.uses.items()) or "none" for one in (a, b))
        plain.append(f"uses: {brief(old)} → {brief(new)}")
    if a.engine != b.engine:
        plain.append(f"engine: {brief(str(a.engine))} → {brief(str(b.engine))}")
    if b.service.one and not a.service.one:
        wait = write_duration(b.service.timeout)
        plain.append(f"one: from now on what serves is stopped first; requests wait up to {wait} (`timeout`)")
    plain += _processes(a.service.processes, b.service.processes)
    return (*plain, *_env(a.service.env, b.service.env), *hosts, *_smoke(a.smoke, b.smoke))


def accessory_differences(before: Accessory, after: Accessory) -> Lines:
    """What `pushlive accessory apply` would change, or what it has changed. `backup` holds without it."""
    before = before.model_copy(update={"backup": after.backup})
    return (*_fields(before, after), *_env(before.env, after.env))


def _pipeline(name: str, old: Config, new: Config) -> dict[str, Lines]:
    before, after = old.pipelines.get(name), new.pipelines.get(name)
    if after is None:
        lines = PREVIEW_REMOVED if is_preview(name) else REMOVED
        return dict.fromkeys(before.environments if before else (), lines)
    if before is None:
        return dict.fromkeys(
            after.environments, (f"added: deployed with the first push to {_origin(name, new)}",)
        )
    found: dict[str, Lines] = {
        "source": _source(name, old, new),
        "build": tuple(f"{line}, from the next build on" for line in _fields(before.build, after.build))
        + _entries("argument", before.build.args, after.build.args),
        "registry": _registry(before.registry, after.registry),
    }
    for env in dict.fromkeys([*after.environments, *before.environments]):
        found[env] = (*found.get(env, ()), *_environment(env, before, after))
    found["environments"] = (*found.get("environments", ()), *_order(before, after))
    budget = tuple(_fields(old.budget_of(name), new.budget_of(name)))
    found["budget"] = (*found.get("budget", ()), *budget)
    found["notify"] = (*found.get("notify", ()), *_receivers(name, old, new))
    found["freeze"] = (*found.get("freeze", ()), *_windows(name, old, new))
    found["previews"] = (*found.get("previews", ()), *_previews(before, after))
    return {key: lines for key, lines in found.items() if lines}


def _previews(before: Pipeline, after: Pipeline) -> Lines:
    """Without the key there are none, and those that there are go."""
    if before.previews is None or after.previews is None:
        was, now = (str(one.previews) if one.previews else "none" for one in (before, after))
        ends = "; those that there are will be removed, with their data" if after.previews is None else ""
        return () if was == now else (f"{was} → {now}{ends}",)
    lines = tuple(_fields(before.previews, after.previews))
    return tuple(f"{line}, from the next push on" for line in lines)


def _registry(before: Registry | None, after: Registry | None) -> Lines:
    """`password` may be shown: it is the name of a secret."""
    if before is None or after is None:
        where = [brief(one.repository) if one else "none" for one in (before, after)]
        return () if before == after else (f"{where[0]} → {where[1]}, from the next build on",)
    return tuple(f"{line}, from the next build on" for line in _fields(before, after))


def _receivers(name: str, old: Config, new: Config) -> Lines:
    """Without the path of the URL, which is often its secret."""
    before, after = old.notify_of(name), new.notify_of(name)
    return (
        *(f"+ {without_path(one.url)}: {', '.join(one.when)}" for one in after if one not in before),
        *(f"− {without_path(one.url)}: {', '.join(one.when)}" for one in before if one not in after),
    )


def _windows(name: str, old: Config, new: Config) -> Lines:
    before, after = old.freeze_of(name), new.freeze_of(name)
    return (
        *(f"+ {brief(str(one))}" for one in after if one not in before),
        *(f"− {brief(str(one))}" for one in before if one not in after),
    )


def _environment(name: str, before: Pipeline, after: Pipeline) -> Lines:
    if name not in after.environments:
        return REMOVED
    if name not in before.environments:
        names = list(after.environments)
        place = names.index(name)
        where = f"after {names[place - 1]}" if place else "as the first one"
        return (f"environment {name}: added {where}",)
    return (*beside(before, after, name), *differences(_in_force(before, name), _in_force(after, name)))


def beside(before: Pipeline, after: Pipeline, name: str) -> Lines:
    """What differs in that environment and is in no release."""
    promote = (before.environment(name).promote, after.environment(name).promote)
    gate = () if promote[0] == promote[1] else (f"promote: {promote[0]} → {promote[1]}",)
    shares = (before.environment(name).shift, after.environment(name).shift)
    shift = () if shares[0] == shares[1] else (f"shift: {shares[0]} → {shares[1]}, from the next run on",)
    old, new = before.bake_of(name), after.bake_of(name)
    bake = () if old == new else (f"bake: {old} → {new}, from the next run on",)
    judges = before.environment(name).judge, after.environment(name).judge
    judge = () if judges[0] == judges[1] else (f"judge: {judges[0]} → {judges[1]}, from the next run on",)
    asked = [one.environment(name).metrics for one in (before, after)]
    metrics = (
        () if asked[0] == asked[1] else (f"metrics: {asked[0] or 'none'} → {asked[1] or 'none'}, at once",)
    )
    own, wanted = before.environment(name), after.environment(name)
    parity = () if own.parity == wanted.parity else (f"parity: {own.parity} → {wanted.parity}, at once",)
    reasons = _entries("differs", own.differs, wanted.differs)
    https = _https(own, wanted)
    return (*gate, *shift, *bake, *judge, *metrics, *_sleep(before, after, name), *parity, *reasons, *https)


def _https(old: Environment, new: Environment) -> Lines:
    mode = (
        ()
        if old.https == new.https
        else (f"https: {old.https or 'the default'} → {new.https or 'the default'}, at once",)
    )
    hsts = () if old.hsts == new.hsts else (f"hsts: {old.hsts} → {new.hsts}, at once",)
    gone = (f"redirect_hosts: − {host}" for host in old.redirect_hosts if host not in new.redirect_hosts)
    more = (f"redirect_hosts: + {host}" for host in new.redirect_hosts if host not in old.redirect_hosts)
    return (*mode, *hsts, *more, *gone)


def _sleep(before: Pipeline, after: Pipeline, name: str) -> Lines:
    old, new = (
        write_duration(one.environment(name).sleep_after) if one.environment(name).sleep_after else "never"
        for one in (before, after)
    )
    return () if old == new else (f"sleep_after: {old} → {new}, at once",)


def _in_force(pipeline: Pipeline, name: str) -> Rendered:
    """With `keep_warm` as it is where nothing says it."""
    rendered = pipeline.render(name)
    if pipeline.keeps_warm(name):
        return rendered
    return rendered.model_copy(update={"service": rendered.service.model_copy(update={"keep_warm": 0.0})})


def _order(before: Pipeline, after: Pipeline) -> Lines:
    old = [name for name in before.environments if name in after.environments]
    new = [name for name in after.environments if name in before.environments]
    return (
        ()
        if old == new
        else (f"order: {' ▶ '.join(before.environments)} → {' ▶ '.join(after.environments)}",)
    )


def _origin(name: str, config: Config) -> str:
    source = config.pipelines[name].source
    return f"{brief(source.branch)} of {brief(source.url or config.repository_of(name))}"


def _source(name: str, old: Config, new: Config) -> Lines:
    before, after = _origin(name, old), _origin(name, new)
    return () if before == after else (f"{before} → {after}, from the next push on",)


def _fields(before: BaseModel, after: BaseModel) -> list[str]:
    """One line for each field that differs, except those that have a line for each entry."""
    lines = []
    for name, spec in type(after).model_fields.items():
        old, new = getattr(before, name), getattr(after, name)
        key = key_of(name, spec)
        hint = keys_of(type(after))[key]
        if old != new and hint.shape == "model" and not hint.short:
            lines += [f"{key}.{line}" for line in _fields(old, new)]
        elif old != new and not (hint.shape == "mapping" and key in ("env", "args", "processes")):
            lines.append(f"{key}: {value_text(old, hint)} → {value_text(new, hint)}")
    return lines


def value_text(value: Any, hint: Hint) -> str:
    """The value of a key for people, as it would be written."""
    if value is None:
        return "none"
    if hint.kind == "duration":
        return write_duration(value)
    if hint.kind == "size":
        return show_size(value)
    if hint.kind == "cpu":
        return f"{value:g}"
    if isinstance(value, bool):
        return str(value).lower()  # as it is written
    if isinstance(value, tuple):
        return _command(value) if value else "none"
    if isinstance(value, dict):
        if hint.parts[1].kind:
            return (
                ", ".join(f"{brief(k)}: {value_text(v, hint.parts[1])}" for k, v in value.items()) or "none"
            )
        return ", ".join(f"{brief(k)}: {_secretive(k, str(v))}" for k, v in value.items()) or "none"
    return brief(str(value)) if value != "" else "none"


def _processes(before: Mapping[str, Process], after: Mapping[str, Process]) -> Iterator[str]:
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        if old is None:
            yield f"processes {name}: + {brief(str(new))}"
        elif new is None:
            yield f"processes {name}: − {brief(str(old))}"
        else:
            yield from (f"processes {name} {line}" for line in _fields(old, new))


def _env(before: dict[str, str], after: dict[str, str]) -> Lines:
    return _entries("env", before, after)


def _entries(word: str, before: dict[str, str], after: dict[str, str]) -> Lines:
    lines = []
    for name in dict.fromkeys([*after, *before]):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if old is None:
            lines.append(f"{word} {name}: + {_secretive(name, new)}")
        elif new is None:
            lines.append(f"{word} {name}: − {_secretive(name, old)}")
        else:
            lines.append(f"{word} {name}: {_secretive(name, old)} → {_secretive(name, new)}")
    return tuple(lines)


def _secretive(name: str, value: str | None) -> str:
    """The value quoted; ••• if the name suggests a secret, and for a password in a URL."""
    if _SECRET_NAME.search(name):
        return HIDDEN
    return f"'{brief(value or '')}'"


def _smoke(before: tuple[SmokeCheck, ...], after: tuple[SmokeCheck, ...]) -> Lines:
    if before == after:
        return ()
    gone, come = _without(before, after), _without(after, before)
    lines = []
    for check in come:
        same = next((other for other in gone if other.show() == check.show()), None)
        if same is None:
            lines.append(f"smoke: + {check.show()}")
        else:
            gone.remove(same)
            lines += [f"smoke: {check.show()}: {line}" for line in _fields(same, check)]
    lines += [f"smoke: − {check.show()}" for check in gone]
    return tuple(lines) or ("smoke: the order of the checks",)


def _without(checks: tuple[SmokeCheck, ...], others: tuple[SmokeCheck, ...]) -> list[SmokeCheck]:
    """The checks that are not among the others; equal ones are counted."""
    left = Counter(check.model_dump_json() for check in others)
    result = []
    for check in checks:
        key = check.model_dump_json()
        if left[key]:
            left[key] -= 1
        else:
            result.append(check)
    return result


def _command(words: tuple[str, ...]) -> str:
    return brief(shlex.join(words))
