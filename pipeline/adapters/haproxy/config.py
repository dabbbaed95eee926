"""HAProxy's configuration and maps as text, from the proxy's state. Pure: no file, no socket.

Every environment index has its loopback port and two backends (``e3-blue``, ``e3-green``) from the start, so that no
later change needs a reload: a new environment is a line in three maps, a slot's containers are addresses set on spare
servers, and the switch is one value in ``active.map``.

Health alone never takes an application away. Once the checks (``health``) have taken out every server of a slot, its
requests go to the backup server ``last``, which is HAProxy itself: it tries one of the slot's containers, then another
one, without any check. So a slow application that still accepts requests gets them, and a dead one costs nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import lru_cache

from pipeline.adapters.haproxy import last_resort, sizes, timeouts, waiting
from pipeline.adapters.haproxy.forwarded import forwarded
from pipeline.adapters.haproxy.health import CHECKS, map_value
from pipeline.adapters.haproxy.last_resort import LAST, SPARE
from pipeline.adapters.haproxy.measuring import access, latencies
from pipeline.adapters.haproxy.rules import (
    https,
    maintenance,
    paths,
    registry,
    service,
    sharing,
    sleeping,
    sticky,
)
from pipeline.adapters.haproxy.rules.https import Https
from pipeline.adapters.haproxy.rules.listening import bound
from pipeline.adapters.haproxy.rules.sharing import Shared
from pipeline.adapters.haproxy.texts import TEXTS
from pipeline.config.address.public import own_hosts
from pipeline.config.settings import Settings
from pipeline.domain.environment import SLOTS, Slot
from pipeline.domain.visitors.maintenance import Notice

Server = tuple[str, int]  # address and port

FOLDER = "/proxy"  # the state's folder inside the container
CERTIFICATES = f"{FOLDER}/certificates"  # copies of those that HAProxy has accepted
SERVERS = 12  # for each slot: as many as a service can have replicas
# In the order in which they are changed: a host name leads to an environment once that one has its slot, a share
# ends once all traffic goes where it went.
MAPS = (
    "health.map",
    "ports.map",
    "names.map",
    "last.map",
    "timeouts.map",
    sticky.MAP,
    *registry.MAPS,
    "active.map",
    sharing.MAP,
    maintenance.MAP,
    https.HTTPS,
    https.HSTS,
    https.MOVED,
    paths.MAP,
    "hosts.map",
)


@dataclass(frozen=True)
class Routes:
    """One environment: its hosts (``shop.example``, ``shop.example/api``, ``*.shop.example``), and the addresses of
    each slot's containers."""

    name: str  # "hello-live"
    hosts: tuple[str, ...] = ()
    active: Slot | None = None
    servers: dict[Slot, tuple[Server, ...]] = field(default_factory=dict)
    timeouts: dict[Slot, float] = field(default_factory=dict)  # seconds, of slots that do not have TIMEOUT
    checks: dict[Slot, str] = field(default_factory=dict)  # the request of each slot's health check
    wanted: tuple[str, ...] = ()  # hosts that another environment serves until this one's next switch
    came: dict[str, int] = field(default_factory=dict)  # hosts that came with a switch, and from which index
    waits: float = 0.0  # if not 0, requests wait for the next switch, each so many seconds at most
    sleeps: float = 0.0  # if not 0, it sleeps, and the requests that wake it wait so many seconds at most
    shared: Shared | None = None  # a part of the visitors goes to the slot that does not serve yet
    rules: dict[Slot, dict[str, str]] = field(default_factory=dict)  # by map, what a slot has there
    sticky: tuple[Slot, ...] = ()  # whose visitors stay with the container that answered them first
    notice: Notice | None = None  # visitors get it, whichever slot serves


@dataclass(frozen=True)
class State:
    """All that the proxy must restore after a restart. With ``token`` a check learns which server answered."""

    token: str
    environments: dict[int, Routes] = field(default_factory=dict)
    https: Https = field(default_factory=Https)

    def with_routes(self, index: int, routes: Routes) -> State:
        return replace(self, environments={**self.environments, index: routes})

    def without(self, index: int) -> State:
        left = {i: r for i, r in self.environments.items() if i != index}
        for i, routes in left.items():
            if index in routes.came.values():
                left[i] = replace(routes, came={h: of for h, of in routes.came.items() if of != index})
        return replace(self, environments=left)


def backend(index: int, slot: Slot | None) -> str:
    """``e3-green``; ``none`` is the backend that answers the explained 503."""
    return f"e{index}-{slot}" if slot else "none"


def server_name(index: int, slot: Slot, server: Server) -> str:
    """The value of the response header ``X-Pushlive-Server`` if this server answered."""
    return f"{backend(index, slot)}/{server[0]}:{server[1]}"


def maps(state: State, settings: Settings) -> dict[str, dict[str, str]]:
    """The maps by file name. ``ports.map`` and ``active.map`` have a key for every index from the start."""
    ports = settings.port_range
    indexes = range(len(ports))
    known = state.environments
    found = {
        "health.map": {
            backend(i, slot): map_value(known[i].checks[slot])
            for i in sorted(known)
            for slot in sorted(known[i].checks)
        },
        "hosts.map": {host: f"e{i}" for i in sorted(known) for host in known[i].hosts if "/" not in host},
        paths.MAP: paths.entries(
            ((host, f"e{i}") for i in sorted(known) for host in known[i].hosts), own_hosts(settings)
        ),
        "ports.map": {str(ports[i]): f"e{i}" for i in indexes},
        "names.map": {f"e{i}": known[i].name for i in sorted(known)},
        "last.map": {key: value for i in sorted(known) for key, value in _last(i, known[i]).items()},
        "timeouts.map": {
            backend(i, slot): timeouts.milliseconds(seconds)
            for i in sorted(known)
            for slot, seconds in sorted(known[i].timeouts.items())
        },
        sticky.MAP: {
            key: value for i in sorted(known) for key, value in _sticky(i, known[i], state.token).items()
        },
        **registry.maps(_ruled(state)),
        "active.map": {f"e{i}": _target(i, known.get(i)) for i in indexes},
        sharing.MAP: {
            f"e{i}": sharing.map_value(shared, backend(i, shared.slot), state.token)
            for i in sorted(known)
            if (shared := known[i].shared)
        },
        maintenance.MAP: {
            key: value
            for i in sorted(known)
            if (notice := known[i].notice)
            for key, value in maintenance.entries(f"e{i}", notice).items()
        },
        **state.https.maps,
    }
    for name, entries in service.maps(settings).items():  # an application does not get a host of the service
        found[name] |= entries
    return found


def _target(index: int, routes: Routes | None) -> str:
    """Where the requests of an environment go."""
    if routes and routes.sleeps:
        return sleeping.value(routes.sleeps)
    if routes and routes.waits:
        return waiting.value(routes.waits)
    return backend(index, routes.active if routes else None)


def _ruled(state: State) -> dict[str, dict[str, str]]:
    """What the slots have in the maps of rules."""
    return {
        backend(i, slot): values
        for i, routes in sorted(state.environments.items())
        for slot, values in sorted(routes.rules.items())
    }


def _sticky(index: int, routes: Routes, token: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    for slot in routes.sticky:
        addresses = tuple(f"{host}:{port}" for host, port in routes.servers.get(slot, ()))
        entries |= sticky.entries(backend(index, slot), addresses, token)
    return entries


def _last(index: int, routes: Routes) -> dict[str, str]:
    """For each slot with containers, how many it has, and the address of each by number."""
    entries = {}
    for slot in SLOTS:
        if servers := routes.servers.get(slot, ()):
            name = backend(index, slot)
            entries[name] = str(len(servers))
            entries |= {f"{name}.{number}": f"{host}:{port}" for number, (host, port) in enumerate(servers)}
    return entries


def files(
    state: State,
    settings: Settings,
    drop: tuple[int, int] | None = None,
    control: str = "",
    inside: tuple[str, str] = ("", ""),
) -> dict[str, str]:
    """Every file of the folder by name. ``drop``: the uid and gid that HAProxy takes on once it has bound its ports,
    None if it starts as the service's own user. ``control``: another address that accepts commands;
    ``inside``: where it listens for HTTP and HTTPS, if its container's ports are published as what the settings say."""
    texts = {
        name: "".join(f"{key} {value}\n" for key, value in entries.items())
        for name, entries in maps(state, settings).items()
    }
    rules = _rules(State(""), settings, drop, control, "", inside)
    lines = [line for line in rules.splitlines() if not line.lstrip().startswith("#")]
    scripts = {one.FILE: one.SCRIPT for one in (waiting, sleeping, service)}
    structure = hashlib.sha256("\n".join([*lines, *scripts.values()]).encode()).hexdigest()[:12]
    rules = _rules(state, settings, drop, control, structure, inside)
    return {"haproxy.cfg": rules, **scripts, **texts}


def structure_of(text: str) -> str:
    """A hash of what no command changes in a running HAProxy: all of ``haproxy.cfg`` but the servers' addresses, and
    the script. A running one tells its own, see ``Control.structure``."""
    return text.partition(_STRUCTURE)[2].partition("\n")[0]


def _rules(
    state: State,
    settings: Settings,
    drop: tuple[int, int] | None,
    control: str,
    structure: str,
    inside: tuple[str, str],
) -> str:
    backends = [_backends(i, state.environments.get(i)) for i in range(len(settings.port_range))]
    head = _head(drop, control, structure)
    last = last_resort.SECTIONS.format(owner=_owner(drop), **TEXTS)
    parts = [
        head,
        _frontends(settings, state.token, inside),
        last,
        _NONE.format(**TEXTS),
        waiting.SECTION.format(**TEXTS),
        sleeping.SECTION.format(page=sleeping.PAGE, away=sleeping.AWAY, **TEXTS),
        timeouts.TABLE,
        service.SECTION.format(owner=_owner(drop), **TEXTS),
        *backends,
    ]
    return "\n".join(parts) + "\n"


def _head(drop: tuple[int, int] | None, control: str, structure: str) -> str:
    identity = f"    uid {drop[0]}\n    gid {drop[1]}\n" if drop else ""
    more = f"    stats socket {control} level admin\n" if control else ""
    identity = f"{_STRUCTURE}{structure}\n{identity}"
    return _HEAD.format(
        identity=identity,
        owner=_owner(drop),
        more=more,
        buffer=sizes.BUFFER,
        wait=f"{waiting.LOAD}{sleeping.LOAD}{service.LOAD}",
        defaults=_defaults(),
        gone=waiting.GONE,
        **TEXTS,
    )


def _defaults() -> str:
    return _DEFAULTS.format(checks=CHECKS, **TEXTS)


def _frontends(settings: Settings, token: str, inside_at: tuple[str, str]) -> str:
    ports = settings.port_range
    binds = [f"bind {one}" for one in bound(inside_at[0] or settings.proxy_http)]
    # With strict-sni HAProxy starts without any certificate, and never shows one for another name.
    tls = f"ssl crt {CERTIFICATES} strict-sni alpn h2,http/1.1"
    if settings.proxy_https:
        binds += [f"bind {one} {tls}" for one in bound(inside_at[1] or settings.proxy_https)]
    told = forwarded(settings.proxy_trusted).strip()
    inside = _INSIDE.format(
        token=token,
        forwarded=told,
        sizes=sizes.RULES,
        closed=maintenance.RULES,
        share=sharing.RULES,
        wait=f"{waiting.RULES}\n    {sleeping.RULES}",
        rules=registry.lines(token),
        stay=sticky.RULES,
        slot=_SLOT,
        stayed=sticky.ANSWERS,
        times=latencies.RULES,
        access=access.rules(settings),
        https="{https}",
        **TEXTS,
    ).strip()
    return _FRONTENDS.format(
        binds="\n    ".join(binds),
        ports=f"127.0.0.1:{ports[0]}-{ports[-1]}" if len(ports) > 1 else f"127.0.0.1:{ports[0]}",
        preview=f"127.0.0.1:{settings.preview_port}",
        whose=paths.rules(TEXTS),
        hosts=inside.replace("{https}", https.rules(settings.proxy_http, settings.proxy_https)),
        inside=inside.replace("    {https}\n", ""),
        forwarded=told,
        sizes=sizes.RULES,
        slot=_SLOT,
        defaults=_defaults(),
    )


def _owner(drop: tuple[int, int] | None) -> str:
    """Who may use a socket that HAProxy binds before it drops its privileges."""
    return f" uid {drop[0]} gid {drop[1]}" if drop else ""


def _backends(index: int, routes: Routes | None) -> str:
    return "\n".join(_backend(index, slot, routes.servers.get(slot, ()) if routes else ()) for slot in SLOTS)


@lru_cache(4096)  # a change is in one environment of perhaps a thousand
def _backend(index: int, slot: Slot, servers: tuple[Server, ...]) -> str:
    lines = [
        f"backend {backend(index, slot)}",
        "    http-request set-timeout server var(txn.timeout)",
        sticky.BACKEND,
    ]
    lines += [f"    server s{j} {address}:{port}" for j, (address, port) in enumerate(servers, 1)]
    if len(servers) < SERVERS:
        spare = f"{len(servers) + 1}-{SERVERS}"
        lines.append(f"    server-template s {spare} {SPARE[0]}:{SPARE[1]} disabled")
    off = "" if servers else " disabled"
    lines.append(f"    server {LAST} unix@{FOLDER}/last.sock {last_resort.OPTIONS} backup no-check{off}")
    lines.append(latencies.BACKEND)
    return "\n".join(lines)


_STRUCTURE = "    description structure-"

_DEFAULTS = """\
defaults
    mode http
    log global
    option httplog
    option dontlog-normal
    option dontlognull
    # A dead replica costs a request one more attempt at another one.
    option redispatch 1
    retries 4
    retry-on conn-failure empty-response
    {checks}
    # An application may end a connection without notice. If clients share idle ones, such a connection costs a
    # request an attempt, and beside a dead replica the four attempts are soon used up.
    http-reuse never
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout queue 10s
    timeout tunnel 1h
    timeout http-keep-alive 60s
    timeout http-request 10s
    http-error status 502 {text} {later} string "{broken}\\n"
    http-error status 503 {text} {later} string "{silent}\\n"
    http-error status 504 {text} lf-string "{slow}\\n"
"""

_HEAD = """\
# Written by Pushlive with every change. Do not edit: it is read only when the proxy starts.
global
{identity}    maxconn 8192
    nbthread 2
    no strict-limits
    log stdout format raw daemon notice
    stats socket /proxy/admin.sock mode 600{owner} level admin
{more}    stats timeout 30s
    tune.bufsize {buffer}
    tune.ssl.default-dh-param 2048
    ssl-default-bind-options ssl-min-ver TLSv1.2
{wait}
{defaults}    {gone}
"""

# What all public frontends share. Our own headers never get in from outside, nor out from an application.
_INSIDE = """
    http-request set-var(txn.probe) bool(true) if {{ req.hdr(X-Pushlive-Probe) -m str {token} }}
    http-request set-var(txn.trusted) bool(true) if {{ var(txn.probe) -m bool }}
    http-request del-header X-Pushlive- -m beg
    {forwarded}
    {https}
    http-request set-var(txn.name) var(txn.env),map(/proxy/names.map)
    {access}
    http-request return status 404 {text} string "{unknown}\\n" unless {{ var(txn.name) -m found }}
    {sizes}
    # The proxy must not repeat a request that may have had an effect.
    http-request disable-l7-retry unless {{ method GET HEAD OPTIONS }}
    {closed}
    http-request set-var(txn.slot) var(txn.env),map(/proxy/active.map,none)
    {share}
    {wait}
    {rules}
    {stay}
    {slot}
    {stayed}
    {times}
    http-response del-header X-Pushlive- -m beg
    http-response unset-var(txn.probe) if {{ var(txn.own) -m bool }}
    http-response set-header X-Pushlive-Server %b/%[var(txn.server)] if {{ var(txn.probe) -m bool }}
    use_backend %[var(txn.slot)]
"""

_SLOT = f"{last_resort.RULES}\n    {timeouts.RULES}"

_FRONTENDS = """\
frontend hosts
    {binds}
    {whose}
    {hosts}

frontend ports
    bind {ports}
    http-request set-var(txn.env) dst_port,map(/proxy/ports.map)
    {inside}

{defaults}
frontend preview
    bind {preview}
    http-request set-var(txn.slot) req.hdr(X-Pushlive-Slot)
    http-request set-var(txn.trusted) bool(true)
    http-request del-header X-Pushlive- -m beg
    {forwarded}
    {sizes}
    {slot}
    http-response del-header X-Pushlive- -m beg
    http-response set-header X-Pushlive-Server %b/%[var(txn.server)] unless {{ var(txn.own) -m bool }}
    use_backend %[var(txn.slot)] if {{ var(txn.slot) -m reg ^e[0-9]+-(blue|green)$ }}
    default_backend nowhere
"""

_NONE = """\
backend none
    http-request return status 503 {text} {later} lf-string "{empty}\\n"

backend nowhere
    http-request return status 404 {text} string "{nowhere}\\n"
"""
