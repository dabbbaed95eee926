"""``pushlive doctor``: does everything answer, and do the engines match what the store says?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from pipeline.config.engines import DOCKER, REMOTE_DOCKER, kind_of
from pipeline.config.place.repository import hosted
from pipeline.config.settings import Settings
from pipeline.deploy.reconciler import Reconciler
from pipeline.deploy.services import Services
from pipeline.domain.environment import Environment, other
from pipeline.domain.judging.figures import HEALTH_ALONE, PROMETHEUS, PROXY, problem_name, source
from pipeline.domain.outages import process_known, process_reason, serving_health, what_next
from pipeline.domain.slots import slot_ref
from pipeline.errors import PushliveError, TryAgain
from pipeline.lib.units import show_size
from pipeline.maintenance.doctor import (
    accessories,
    address,
    backups,
    capacity,
    caps,
    demands,
    evidence,
    forecasts,
    logs,
    replaced_code,
    sleep,
    traces,
    volumes,
)
from pipeline.maintenance.doctor.check import Check, check, tried
from pipeline.notify.delivery import display_name, outages
from pipeline.ports.adapters import Adapters
from pipeline.ports.inspection import Inspection
from pipeline.store import Store


def without_service(settings: Settings, inspection: Inspection) -> list[Check]:
    """What can be checked while the service does not run."""

    def engine() -> str:
        return f"Docker Engine {inspection.docker().version}"

    checks = [check("service", False, "the service is not running.", "`pushlive up` starts it.")]
    checks.append(tried("engine", engine))
    return [*checks, _disk(settings)]


def _disk(settings: Settings) -> Check:
    folder = settings.data if settings.data.exists() else settings.data.parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{show_size(free >> 20 << 20)} free at {settings.data}"
    return check("disk", free >= settings.disk_free, text, "Free some space, or run `pushlive gc`.")


def examine(
    services: Services,
    adapters: Adapters,
    engines: frozenset[str],
    inspection: Inspection,
    replaced: str = "",
) -> list[Check]:
    """Everything, with the real adapters. ``engines``: the keys of those in use; ``replaced``: that the code of the
    service was."""
    settings, store = services.settings, services.store
    checks = [
        *replaced_code.examine(replaced),
        *demands.examine(store, settings.data, engines, inspection),
        _configuration(services),
        _keeper(store),
        tried("secrets", services.vault.examine),
        tried("audit", lambda: _audit(services)),
        evidence.examine(services, adapters.clock.now()),
        *_proxies(engines, inspection),
        *address.examine(settings, inspection),
        _disk(settings),
        logs.examine(settings),
        *_repositories(services, inspection),
        _build_caps(adapters),
        *_receivers(store),
        *traces.examine(store),
        *forecasts.examine(services, adapters.clock.now()),
        *caps.examine(services),
        *capacity.examine(services, engines, adapters.clock.now()),
    ]
    damage = [tried(name, lambda name=name: _readable(store, name)) for name in store.pipelines()]  # type: ignore[misc]
    checks += (damaged := [one for one in damage if not one["ok"]])
    if damaged:
        return checks  # there is nothing reliable to compare with
    checks += accessories.examine(services, adapters)
    checks += backups.examine(services, adapters.clock.now())
    checks += volumes.examine(store)
    configured = _configured(services)
    for environment in _environments(store):
        checks += _environment(environment, services, adapters)
        if environment.id not in configured:
            text = "is no longer in pipelines.yaml" + (", but still serves" if environment.active else "")
            checks.append(check(environment.id, False, text, "`pushlive gc` removes it."))
    return checks


def _readable(store: Store, pipeline: str) -> str:
    """Raises DamagedRecord."""
    store.environments(pipeline)
    store.releases(pipeline)
    store.recent(pipeline, 100)
    return "every record can be read"


def _audit(services: Services) -> str:
    """Checks the log's end only: `pushlive audit --verify` walks it all."""
    problem = services.audit_head.move()
    if problem:
        raise PushliveError(problem)
    return f"{services.store.audit.last().number} entries; the newest one matches the file audit.head"


def _configured(services: Services) -> set[str]:
    try:
        _, config = services.configurations.current()
    except PushliveError:
        return {environment.id for environment in _environments(services.store)}
    return {f"{name}/{env}" for name, pipeline in config.pipelines.items() for env in pipeline.environments}


def _configuration(services: Services) -> Check:
    def look() -> str:
        digest, config = services.configurations.current()
        count, origin = len(config.pipelines), services.configurations.origin(digest)
        commit = f", {origin}" if origin else ""
        return f"{count} {'pipeline' if count == 1 else 'pipelines'} from {services.settings.config}{commit}"

    found = tried("configuration", look)
    problem = services.configurations.problem()
    if problem:
        return check(
            "configuration", False, problem, "The last good one stays in force until you correct it."
        )
    return found


def _proxies(engines: frozenset[str], inspection: Inspection) -> Iterator[Check]:
    """Whether that of each Docker Engine in use answers."""
    for key in sorted(engines):
        if key == DOCKER or kind_of(key) == REMOTE_DOCKER:
            name = "proxy" if key == DOCKER else f"proxy of {key}"
            yield tried(name, lambda key=key: inspection.proxy(key))  # type: ignore[misc]


def _repositories(services: Services, inspection: Inspection) -> Iterator[Check]:
    """One line for all that take pushes, and one for each that does not."""
    try:
        _, config = services.configurations.current()
    except PushliveError:
        return  # said elsewhere
    of_pipelines = {config.repository_of(pipeline) for pipeline in config.pipelines}
    names = sorted({*of_pipelines, hosted(services.settings.config)} - {""})
    checks = [tried(f"repository {name}", lambda name=name: inspection.repository(name)) for name in names]  # type: ignore[misc]
    failed = [check for check in checks if not check["ok"]]
    if names and not failed:
        text = (
            "the repository takes pushes" if len(names) == 1 else f"all {len(names)} repositories take pushes"
        )
        yield check("repositories", True, text)
    yield from failed


def _build_caps(adapters: Adapters) -> Check:
    cap = getattr(adapters.builder, "cap_builds", None)
    try:
        why_not = cap() if cap else ""
    except TryAgain:
        why_not = "unknown while the builder does not answer"
    text = why_not or "builds are limited and cannot starve what is live"
    return {**check("builds", True, text), "advice": ""}


def _keeper(store: Store) -> Check:
    there = not store.leases.free("keeper")
    text = "the keeper is running" if there else "no keeper is running: due runs do not start"
    return check("workers", there, text, "Start the workers (`pushlive up`) and see their output.")


def _receivers(store: Store) -> Iterator[Check]:
    """Receivers that do not accept messages, or have lost some."""
    for text in outages(store):
        advice = "Each message is tried for a day. Repair the receiver, or remove it from pipelines.yaml."
        yield check("notifications", False, text, advice)
    for receiver in store.outbox.receivers():
        if receiver.lost and not receiver.outage:
            text = f"{display_name(receiver)} accepts messages again; {receiver.lost} were given up in the last days"
            yield {
                **check("notifications", True, text),
                "advice": "`pushlive runs` shows what they reported.",
            }


def _environments(store: Store) -> Iterator[Environment]:
    for pipeline in store.pipelines():
        yield from store.environments(pipeline).values()


def _environment(environment: Environment, services: Services, adapters: Adapters) -> Iterator[Check]:
    """What the store says compared with what the proxy and the engine have: a line for each difference."""
    reconciler = Reconciler(services, adapters, environment, None)
    try:
        found = [check(environment.id, False, one.found + ".", _REPAIRED) for one in reconciler.differences()]
        found += [check(environment.id, False, f"{one}.", _BLOCKED) for one in reconciler.obstacles()]
        found = found or [check(environment.id, False, one.found + ".", _LEFT) for one in reconciler.drift()]
    except PushliveError as error:
        found = [check(environment.id, False, error.message, error.advice)]
    poor = [*_health(environment), *_processes(environment), *_figures(environment, services)]
    poor += _route(environment, services, adapters)
    poor += sleep.examine(environment, services, adapters)
    if environment.maintenance:  # nothing is wrong, and no one should forget it
        poor.append(check(environment.id, True, environment.maintenance.text(adapters.clock.now())))
    yield from [*poor, *found] or [
        check(environment.id, True, _well(environment) + _counted(environment, services))
    ]


def _health(environment: Environment) -> list[Check]:
    """What the keeper saw of the release that serves. Starting it again is no repair: the engine does that already."""
    found = serving_health(environment)
    return [check(environment.id, False, found.text, what_next(environment))] if found and found.poor else []


def _processes(environment: Environment) -> Iterator[Check]:
    """Those beside the web one that do not run as they should, as the keeper saw them."""
    for name in environment.processes:
        known = process_known(environment, name)
        if known and known.poor:
            see = f"`pushlive logs {environment.pipeline} {environment.name} --process {name}` prints its output."
            text = f"{name} of r{known.release}: {process_reason(known)}."
            yield check(environment.id, False, text, see)


def _figures(environment: Environment, services: Services) -> list[Check]:
    """That the Prometheus that counts for it does not, as the keeper met it."""
    if _source(environment, services) != PROMETHEUS:
        return []
    problem = services.store.facts.get(problem_name(environment.id))
    text = f"requests are not counted: {problem}"
    return [check(environment.id, False, text, _METRICS)] if problem else []


def _route(environment: Environment, services: Services, adapters: Adapters) -> list[Check]:
    """That an HTTPRoute could not divide the visitors of its next release."""
    try:
        _, config = services.configurations.current()
    except PushliveError:
        return []  # said elsewhere
    pipeline = config.pipelines.get(environment.pipeline)
    if environment.active is None or not pipeline or environment.name not in pipeline.environments:
        return []
    shift, ref = (
        pipeline.environment(environment.name).shift,
        slot_ref(environment, other(environment.active)),
    )
    if not shift.steps or not shift.route or environment.shift:
        return []
    try:
        adapters.engines.of(ref.engine).traffic.can_share(ref, shift.route, shift.steps[0])
    except PushliveError as error:
        return [check(environment.id, False, error.message, error.advice)]
    return []


def _counted(environment: Environment, services: Services) -> str:
    counts = environment.active is None or _source(environment, services)
    return "" if counts else f"; {HEALTH_ALONE}"


def _source(environment: Environment, services: Services) -> str:
    try:
        _, config = services.configurations.current()
    except PushliveError:
        return PROXY  # said elsewhere
    return source(config, environment)


def _well(environment: Environment) -> str:
    found = serving_health(environment)
    more = f"; {found.text}" if found and found.text else ""
    return f"{environment.active or 'nothing'} serves, as recorded{more}"


_METRICS = "See `metrics` of the environment in pipelines.yaml. Meanwhile the release is not judged."
_BLOCKED = (
    "The service cannot change that. The cluster runs the release as soon as nothing keeps it from that."
)
_LEFT = "It is left as it is. `pushlive doctor --fix` reverts it, and so does the next release."
_REPAIRED = "The service repairs this within seconds; `pushlive doctor --fix` does it now."
