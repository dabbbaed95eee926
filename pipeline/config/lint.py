"""Warnings about ``pipelines.yaml``: what is allowed, but probably not intended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import time as wall_clock

from pipeline.config.cost import cap_rules
from pipeline.config.dockerfile import builder_settings
from pipeline.config.engines import Where, machines_of
from pipeline.config.models import Config, Environment, Pipeline, Rendered, Service
from pipeline.config.parity.properties import reason_for
from pipeline.config.parity.unwise import reasons
from pipeline.config.previews import rules as preview_rules
from pipeline.config.previews.names import is_preview
from pipeline.config.promotion.freezes import Window, never_opens
from pipeline.config.workload.container import USUAL_SHM, refused_devices
from pipeline.config.workload.judge import ACT
from pipeline.config.workload.kubernetes import USUAL_REQUEST
from pipeline.config.workload.references import unread
from pipeline.lib.units import show_size
from pipeline.lib.units import write_duration as time

DOCKERFILE = ".build.dockerfile"
UNUSED = (
    "there is no such warning, but it is under `accept`; remove it there, or write the path as it is shown"
)


@dataclass(frozen=True)
class Warned:
    """``path``: the key, as ``accept`` names it; ``text``: what is unwise there, and why."""

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def warnings(config: Config, now: float | None = None) -> tuple[str, ...]:
    """One line each: the path, what is unwise, and why; without those that the file accepts. ``now``: as for
    ``found``."""
    return tuple(map(str, judged(config, found(config, now))[0]))


def judged(config: Config, lines: Iterable[Warned]) -> tuple[tuple[Warned, ...], tuple[Warned, ...]]:
    """The warnings that are left, and those that the file accepts, with its reasons. What is accepted without need is a
    warning itself."""
    reasons = {
        key if key.startswith("pipelines.") else f"pipelines.{name}.{key}": reason
        for name, pipeline in config.pipelines.items()
        for key, reason in pipeline.accept.items()
    }
    left, accepted = list[Warned](), list[Warned]()
    for one in lines:
        if reason := reasons.get(one.path):
            accepted.append(Warned(one.path, f"{one.text} (accepted: {reason})"))
        else:
            left.append(one)
    unused = reasons.keys() - {one.path for one in accepted}
    # Only `check` beside the repository knows what is to be said of a Dockerfile.
    left += [Warned(path, UNUSED) for path in sorted(unused) if not path.endswith(DOCKERFILE)]
    return tuple(left), tuple(accepted)


def found(config: Config, now: float | None = None) -> tuple[Warned, ...]:
    """Every warning that the file itself gives reason for. ``now``: seconds since the epoch, None for the present."""
    now = wall_clock() if now is None else now
    lines = list(_budget("budget", config.budget.deploy, config.budget.whole))
    lines += _costs(config)
    seen: dict[tuple[str, str], str] = {}
    tagged: dict[str, str] = {}
    for name, pipeline in config.pipelines.items():
        if is_preview(name):
            continue  # what may be wrong with it is said of its pipeline
        path = f"pipelines.{name}"
        lines += (
            Warned(f"{path}.previews.{key}", text) for key, text in preview_rules.unwise(config, pipeline)
        )
        if pipeline.budget:
            lines += _budget(f"{path}.budget", pipeline.budget.deploy, pipeline.budget.whole)
        origin = (pipeline.source.url or config.repository_of(name), pipeline.source.branch)
        if origin in seen:
            lines.append(
                Warned(
                    f"{path}.source",
                    f"the same repository and branch as {seen[origin]}; one push starts both",
                )
            )
        seen.setdefault(origin, name)
        if pipeline.registry and tagged.setdefault(pipeline.registry.repository, name) != name:
            lines.append(
                Warned(
                    f"{path}.registry",
                    f"the same repository as {tagged[pipeline.registry.repository]}; each overwrites "
                    "the other's tags (r1, r2, …), and a clean-up may remove images that the other still needs",
                )
            )
        lines += _pipeline(path, pipeline, config.budget_of(name).whole)
        lines += [Warned(f"{path}.{key}", text) for key, text in reasons(pipeline, config, name)]
        if pipeline.freeze is not None:
            lines += _windows(f"{path}.freeze", pipeline.freeze, {name: pipeline}, now)
    others = {name: one for name, one in config.pipelines.items() if one.freeze is None}
    lines += _windows("freeze", config.freeze, others, now)
    lines += [Warned(path, text) for path, text in cap_rules.unwise(config)]
    return tuple(lines)


def _windows(
    path: str, windows: tuple[Window, ...], pipelines: dict[str, Pipeline], now: float
) -> Iterator[Warned]:
    """``pipelines``: those that the windows are for."""
    known = list(dict.fromkeys(name for one in pipelines.values() for name in one.environments))
    for number, window in enumerate(windows):
        for key, text in window.unwise(now):
            yield Warned(f"{path}[{number}].{key}", text)
        if window in windows[:number]:
            yield Warned(
                f"{path}[{number}]", f"the same as freeze[{windows.index(window)}]; remove one of them"
            )
        for name in window.env.names:
            if name not in known:
                text = f"no pipeline that this window is for has an environment {name}"
                yield Warned(f"{path}[{number}].env", f"{text}; they have {', '.join(known) or 'none'}")
    for name in known:
        if never_opens(windows, name):
            yield Warned(
                path, f"{name} is never open; runs wait before it until `pushlive thaw --reason TEXT`"
            )


def _costs(config: Config) -> Iterator[Warned]:
    """What is missing for a sum, if there are prices at all."""
    machines = config.costs.machines
    used = {machines_of(where.key) for _, _, where in _rendered(config)}
    for key in sorted(used) if machines else ():
        if config.costs.machine_of(key) is None:
            capped = ", and no cap keeps it out" if config.costs.capped else ""
            yield Warned(
                "costs.machines",
                f"no price for {key.removesuffix('/')}: what runs there is in no sum{capped}",
            )
    for name, machine in machines.items() if used else ():
        if machine.engine not in used:
            where = machine.engine.removesuffix("/")
            yield Warned(
                f"costs.machines.{name}", f"no environment runs on {where}, so its price is in no sum"
            )


def _budget(path: str, deploy: float, whole: float) -> Iterator[Warned]:
    if deploy > whole:
        yield Warned(
            path,
            f"deploy ({time(deploy)}) is longer than whole ({time(whole)}), so it never warns first",
        )


def _pipeline(path: str, pipeline: Pipeline, whole: float) -> Iterator[Warned]:
    live = list(pipeline.environments)[-1]
    if pipeline.build.timeout > whole:
        yield Warned(
            f"{path}.build.timeout",
            f"{time(pipeline.build.timeout)} is longer than the whole budget "
            f"({time(whole)}); a build that hangs is noticed late",
        )
    for name in builder_settings(pipeline.build.args):
        yield Warned(
            f"{path}.build.args.{name}",
            "is a setting of the builder, not of the Dockerfile; builds refuse it",
        )
    if len(pipeline.environments) == 1:
        yield Warned(f"{path}.environments", f"{live} is the only one; nothing is tested before it is live")
    if pipeline.source.url.startswith("http://"):
        yield Warned(
            f"{path}.source.url",
            "http:// is not encrypted; others on the network can change what is deployed",
        )
    yield from _promotion(path, pipeline)
    if not pipeline.smoke and all(not pipeline.render(name).smoke for name in pipeline.environments):
        ready = "`health` answers" if pipeline.service.web else "its processes stay up"
        text = (
            f"there are no smoke checks; a release goes live once {ready}, even if everything else is broken"
        )
        yield Warned(f"{path}.smoke", text)
    for name in pipeline.environments:
        yield from _environment(f"{path}.environments.{name}", pipeline, name, name == live)
    yield from _unlike(path, pipeline, live)


def _promotion(path: str, pipeline: Pipeline) -> Iterator[Warned]:
    first, *_ = pipeline.environments
    if len(pipeline.environments) > 1 and pipeline.environment(first).promote.manual:
        yield Warned(
            f"{path}.environments.{first}.promote",
            "every push waits for a person before the first environment",
        )


def _shift(path: str, own: Environment, proxied: bool) -> Iterator[Warned]:
    if not own.shift.steps or proxied:
        return
    if own.metrics is None:
        text = "replicas alone are watched then: a cluster counts no requests; name a Prometheus that does (`metrics`)"
        yield Warned(f"{path}.shift", text)
    elif not own.metrics.tells_slots_apart:
        text = (
            "replicas alone are watched then: the queries of `metrics` do not tell the two releases apart; use $pods "
            "or $slot in both"
        )
        yield Warned(f"{path}.shift", text)
    elif not own.metrics.tells_times_apart:
        text = (
            "answers are not compared by time then: `metrics` has no query for `latency` that tells the two releases "
            "apart; use $pods or $slot in one"
        )
        yield Warned(f"{path}.shift", text)
    if own.host or own.hosts:
        text = "what comes by the Ingress of `host` is not divided; only what comes by the HTTPRoute is"
        yield Warned(f"{path}.shift", text)


def _environment(path: str, pipeline: Pipeline, name: str, live: bool) -> Iterator[Warned]:
    rendered, own = pipeline.render(name), pipeline.environment(name)
    service = rendered.service
    for key, text in own.promote.unwise():
        yield Warned(f"{path}.promote.{key}", text)
    for key, text in own.bake.unwise(pipeline.bake_of(name).lasts or 0.0, own.judge == ACT):
        yield Warned(f"{path}.bake.{key}".rstrip("."), text)
    for key, text in own.hsts.unwise(own.https):
        yield Warned(f"{path}.hsts.{key}".rstrip("."), text)
    for key, text in own.shift.unwise():
        yield Warned(f"{path}.shift.{key}", text)
    proxied = rendered.engine.kind.proxied
    if own.metrics and proxied:
        yield Warned(f"{path}.metrics", "has no effect on Docker: the proxy counts requests there")
    yield from _shift(path, own, proxied)
    if own.judge == ACT and not proxied and not own.metrics:
        text = "act has no effect: a cluster counts no requests; name a Prometheus that does (`metrics`)"
        yield Warned(f"{path}.judge", text)
    if pipeline.smoke and not rendered.smoke:
        yield Warned(f"{path}.smoke", "is empty, so the pipeline's checks are not run here")
    if service.one:
        written = pipeline.service.model_fields_set | pipeline.environment(name).model_fields_set
        yield from _alone(path, service, live=live, warm="keep_warm" in written)
    elif live and service.web and service.replicas == 1:
        yield Warned(
            f"{path}.replicas", "only one replica is live; if it crashes, nothing answers until it is back"
        )
    if live and service.web and service.keep_warm == 0 and not service.one:
        yield Warned(f"{path}.keep_warm", "0 in live; a revert has to start the old release first")
    elif pipeline.keeps_warm(name) and 0 < service.keep_warm < service.drain:
        warm = time(service.keep_warm)
        yield Warned(
            f"{path}.drain", f"{time(service.drain)} is longer than keep_warm ({warm}), which cuts it short"
        )
    if live and service.web and service.health.path == "/":
        yield Warned(
            f"{path}.health",
            "`/` often answers before the application is ready; use a path for health checks",
        )
    yield from _service(path, service)
    yield from _references(path, rendered)
    yield from _timeout(path, service, rendered.engine)
    if not rendered.engine.kind.proxied:
        yield from (Warned(f"{path}.http.{key}", text) for key, text in service.http.without_proxy())
    for number, check in enumerate(rendered.smoke):
        for text in check.unwise(service.port, alone=len(rendered.smoke) == 1):
            yield Warned(f"{path}.smoke[{number}]", text)


def _references(path: str, rendered: Rendered) -> Iterator[Warned]:
    known = ", ".join(rendered.uses) or "nothing"
    for name, value in rendered.service.env.items():
        for text in unread(value, rendered.uses):
            yield Warned(
                f"{path}.env.{name}",
                f"{text} stays as it is written, because its name is not under `uses`, which has {known}",
            )


def _alone(path: str, service: Service, *, live: bool, warm: bool) -> Iterator[Warned]:
    """``warm``: `keep_warm` is written."""
    if live:
        yield Warned(
            f"{path}.one",
            "each deploy and revert stops what serves first; requests wait in the proxy meanwhile, "
            f"{time(service.timeout)} at most (`timeout`). Up to {time(service.drain)} of that goes to those that are "
            "not answered yet (`drain`)",
        )
    if warm and service.keep_warm:
        yield Warned(f"{path}.keep_warm", "has no effect; with `one` no release is kept warm")


def _service(path: str, service: Service) -> Iterator[Warned]:
    if service.stop > 30:
        yield Warned(
            f"{path}.stop",
            f"{time(service.stop)} is long; an application that ignores SIGTERM delays every clean-up",
        )
    port = service.env.get("PORT", "")
    if service.web and port.isdecimal() and port != str(service.port):
        yield Warned(
            f"{path}.env.PORT",
            f"is {port[:12]}, but port is {service.port}; many applications listen on PORT",
        )
    for key, size in (
        ("shm", service.shm),
        *((f"tmpfs.{name}", size) for name, size in service.tmpfs.items()),
    ):
        if size > service.memory and (key, size) != ("shm", USUAL_SHM):
            more = f"{show_size(size)} is more than memory ({show_size(service.memory)})"
            yield Warned(f"{path}.{key}", f"{more}, which counts what is in it")
    if service.memory < 16 * 2**20:
        yield Warned(f"{path}.memory", f"{show_size(service.memory)} is not enough for most applications")


def _timeout(path: str, service: Service, engine: Where) -> Iterator[Warned]:
    if service.timeout == Service().timeout:
        return
    seconds = time(service.timeout)
    if not engine.kind.proxied:
        yield Warned(
            f"{path}.timeout",
            f"{seconds} has no effect on Kubernetes, where the Ingress controller decides; for "
            "ingress-nginx annotate the Ingress: `nginx.ingress.kubernetes.io/proxy-read-timeout: "
            f'"{service.timeout:.0f}"`',
        )
    elif service.timeout > service.drain:
        yield Warned(
            f"{path}.timeout",
            f"{seconds} is longer than drain ({time(service.drain)}); a switch cuts off an answer "
            "that takes longer than drain",
        )


def _unlike(path: str, pipeline: Pipeline, live: str) -> Iterator[Warned]:
    """How earlier environments differ from live, without what has a reason under `differs`."""
    model, engine = pipeline.render(live).service, pipeline.environment(live).engine
    earlier = {name: pipeline.render(name).service for name in list(pipeline.environments)[:-1]}
    alone = earlier and model.web_replicas > 1 and all(own.web_replicas == 1 for own in earlier.values())
    if alone and not all(_meant(pipeline, name, live, "replicas") for name in earlier):
        yield Warned(
            f"{path}.environments.{live}.replicas",
            f"{model.replicas} here and 1 in every environment before; "
            "what breaks with several replicas is first noticed in live",
        )
    for name, own in earlier.items():
        different = {}
        if own.memory != model.memory:
            different["memory"] = f"memory {show_size(own.memory)} instead of {show_size(model.memory)}"
        if own.cpu != model.cpu:
            different["cpu"] = f"cpu {own.cpu:g} instead of {model.cpu:g}"
        if own.command != model.command:
            different["command"] = "another command"
        if own.security != model.security:
            different["security"] = f"security {own.security} instead of {model.security}"
        if (kind := pipeline.environment(name).engine.kind.name) != engine.kind.name:
            different["engine"] = f"on {kind} instead of {engine.kind.name}"
        if what := ", ".join(
            text for key, text in different.items() if not _meant(pipeline, name, live, key)
        ):
            yield Warned(
                f"{path}.environments.{name}", f"differs from {live}: {what}; what works here may fail there"
            )


def _meant(pipeline: Pipeline, name: str, other: str, key: str) -> bool:
    """Whether one of the two environments says why they differ in it."""
    return any(reason_for(pipeline.environment(one).differs, key) for one in (name, other))


def devices(config: Config, allowed: tuple[str, ...]) -> Iterator[Warned]:
    """Devices that the service's settings do not allow."""
    for name, pipeline in config.pipelines.items():
        for stage in pipeline.environments:
            for path in refused_devices(pipeline.render(stage).service.devices, allowed):
                why = "PUSHLIVE_DEVICES does not allow it, so nothing starts there"
                yield Warned(f"pipelines.{name}.environments.{stage}.devices", f"{path}: {why}")


def beyond_machine(config: Config, places: int, processes: int = 0) -> Iterator[Warned]:
    """What this machine cannot run, whatever its Engine has. ``places``: environments that its proxy has ports and
    addresses for; ``processes``: the kernel's own limit, 0 if it is not known."""
    proxied = 0
    for path, service, where in _rendered(config):
        proxied += where.kind.proxied
        if where.kind.local and 0 < processes < service.pids:
            why = (
                f"this machine's kernel has at most {processes} (`sysctl kernel.pid_max`), for all that runs"
            )
            yield Warned(f"{path}.pids", f"{service.pids} processes; {why}")
    if proxied > places:
        yield Warned(
            "pipelines",
            f"{proxied} environments, and PUSHLIVE_PORTS and PUSHLIVE_SUBNETS have room for {places}",
        )


def beyond_engine(config: Config, key: str, cores: float, memory: int) -> Iterator[Warned]:
    """What the engine with that ``Where.key`` cannot run. ``cores``, ``memory`` (bytes): of its machine, or the most
    that a cluster's nodes have for pods."""
    for path, service, where in _rendered(config):
        if where.key == key:
            yield from (_beyond_nodes if where.kind.machines else _beyond_docker)(
                path, service, where, cores, memory
            )


def _beyond_docker(path: str, service: Service, where: Where, cores: float, memory: int) -> Iterator[Warned]:
    engine = "this machine's Docker Engine" if where.kind.local else f"the Docker Engine at {where.docker}"
    if service.cpu > cores:
        why = f"{engine} has {cores:g}, and starts no container that may use more"
        yield Warned(f"{path}.cpu", f"{service.cpu:g} cores; {why}")
    count = service.web_replicas + sum(one.replicas for one in service.processes_in_use.values())
    if service.memory * count > memory:
        why = f"{count} × {show_size(service.memory)} do not fit into the {show_size(memory)}"
        yield Warned(f"{path}.memory", f"{why} of {'this machine' if where.kind.local else engine}")


def _beyond_nodes(path: str, service: Service, where: Where, cores: float, memory: int) -> Iterator[Warned]:
    """A node runs a pod that it has the requests of, however high the limits are."""
    asked, node = service.requests, f"the largest node of {where.key} has"
    key = "requests" if asked.cpu else "cpu"
    if (cpu := asked.cpu or service.cpu * USUAL_REQUEST) > cores:
        yield Warned(f"{path}.{key}", f"a replica requests {cpu:g} cores; {node} {cores:g} for pods")
    key = "requests" if asked.memory else "memory"
    if (needs := asked.memory or service.memory) > memory:
        text = f"a replica requests {show_size(needs)} of memory; {node} {show_size(memory)} for pods"
        yield Warned(f"{path}.{key}", text)


def _rendered(config: Config) -> Iterator[tuple[str, Service, Where]]:
    """The path, the service and the engine of each environment."""
    for name, pipeline in config.pipelines.items():
        for stage in pipeline.environments:
            where = pipeline.environment(stage).engine
            yield f"pipelines.{name}.environments.{stage}", pipeline.render(stage).service, where
