"""What the configuration says about each host name: whether HTTP leads to HTTPS, and which names only lead on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.config.address.entries import host_of, hosts_in, named, path_of
from pipeline.config.https.keys import Hsts, HttpsMode
from pipeline.config.models import Config, Pipeline
from pipeline.config.yaml_nodes import Problem, show_path

Line = Callable[..., int]  # the line of a key, or of the last one above it that is there


@dataclass(frozen=True)
class HostPolicy:
    """Of one host. ``https``: None leaves it to where its certificate comes from; ``to``: another host, to which it
    only leads."""

    https: HttpsMode | None = None
    hsts: Hsts = field(default_factory=Hsts)
    to: str = ""


def policies(config: Config, engine: str, own: tuple[str, ...] = ()) -> dict[str, HostPolicy]:
    """By host, for the environments on that engine. ``own``: hosts of the service itself, which lead to HTTPS."""
    found: dict[str, HostPolicy] = {}
    for pipeline in config.pipelines.values():
        for name in pipeline.environments:
            if pipeline.environment(name).engine.key == engine:
                whole = {*pipeline.render(name).hosts, *pipeline.environment(name).redirect_hosts}
                # Of a host that several share, the one that has all of it decides.
                found |= {
                    host: policy
                    for host, policy in _of(pipeline, name).items()
                    if host in whole or host not in found
                }
    return found | {host: HostPolicy("redirect") for host in own}  # an environment does not get one of those


def _of(pipeline: Pipeline, name: str) -> dict[str, HostPolicy]:
    environment, hosts = pipeline.environment(name), hosts_in(pipeline.render(name).hosts)
    found = {host: HostPolicy(environment.https, environment.hsts) for host in hosts}
    if first := named(hosts)[:1]:
        found |= {
            host: HostPolicy(environment.https, environment.hsts, first[0])
            for host in environment.redirect_hosts
        }
    return found


def names(pipeline: Pipeline, environment: str) -> tuple[str, ...]:
    """The host names of that environment that need a certificate each. Those of a pattern are not known."""
    hosts = named(pipeline.render(environment).hosts)
    return tuple(
        dict.fromkeys([*hosts, *(pipeline.environment(environment).redirect_hosts if hosts else ())])
    )


def problems(config: Config, line: Line) -> Iterator[Problem]:
    """Keys that cannot be where they are, each with its line."""
    for name, pipeline in config.pipelines.items():
        for environment in pipeline.environments:
            for key, why in _impossible(pipeline, environment):
                path = ("pipelines", name, "environments", environment, key)
                yield Problem(line(*path), show_path(path), why)
    yield from _under_redirects(config, line)


def _under_redirects(config: Config, line: Line) -> Iterator[Problem]:
    """Parts of a host that only leads on: none of their requests would arrive."""
    every = [(name, one, own) for name, own in config.pipelines.items() for one in own.environments]
    leads = {
        host: f"{name}/{one}" for name, one, own in every for host in own.environment(one).redirect_hosts
    }
    for name, one, own in every:
        for entry in own.render(one).hosts:
            if path_of(entry) and (by := leads.get(host_of(entry))):
                path = ("pipelines", name, "environments", one, "hosts")
                yield Problem(
                    line(*path),
                    show_path(path),
                    f"{entry}: {host_of(entry)} only leads on, by `redirect_hosts` of {by}, so nothing below it is "
                    "served; remove it there",
                )


def _impossible(pipeline: Pipeline, name: str) -> Iterator[tuple[str, str]]:
    own, hosts = pipeline.environment(name), named(pipeline.render(name).hosts)
    if own.redirect_hosts and not hosts:
        yield "redirect_hosts", f"there is no host to lead to; write `host` in {name} as well"
    if own.redirect_hosts and set(own.redirect_hosts) & set(hosts):
        host = next(host for host in own.redirect_hosts if host in hosts)
        yield (
            "redirect_hosts",
            f"{host} is served here; a host that only leads on is not in `host` or `hosts`",
        )
    if own.engine.kind.proxied:
        return
    there = "is decided by the Ingress on a cluster; remove it, and set the annotation"
    if own.https:
        yield "https", f"{there} nginx.ingress.kubernetes.io/ssl-redirect (`kubernetes.ingress.annotations`)"
    if own.hsts.max_age:
        yield "hsts", "is decided by the Ingress controller on a cluster (`hsts` of ingress-nginx); remove it"
    if own.redirect_hosts:
        yield "redirect_hosts", f"{there} nginx.ingress.kubernetes.io/from-to-www-redirect"
