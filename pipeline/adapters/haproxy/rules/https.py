"""Which hosts are reached over HTTPS only, and which only lead to another one.

| map | key → value |
| --- | --- |
| ``https.map`` | a host with a valid certificate → ``redirect`` if HTTP leads to HTTPS, otherwise ``both`` |
| ``hsts.map`` | a host with a valid certificate → seconds, and words of HSTS: ``15552000.subdomains.preload`` |
| ``moved.map`` | a host that only leads on → where to |

Checks of ours are answered as they come, and so is the question by which an authority finds out whose a name is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.config.address.entries import in_certificates
from pipeline.config.https.keys import Hsts
from pipeline.config.https.listeners import port_of
from pipeline.config.https.policy import HostPolicy

HTTPS, HSTS, MOVED = "https.map", "hsts.map", "moved.map"
ACME = "/.well-known/acme-challenge/"

_HEADER = "Strict-Transport-Security"
_FREE = "!{ var(txn.free) -m bool }"
_WILD = "!{ var(txn.moved) -m found } !{ var(txn.mode) -m found }"  # then what holds for `*.shop.example`
_PORT = "{ req.hdr(host) -m reg :[0-9]+$ }"


@dataclass(frozen=True)
class Https:
    """The three maps."""

    https: dict[str, str] = field(default_factory=dict)
    hsts: dict[str, str] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)

    @property
    def maps(self) -> dict[str, dict[str, str]]:
        """By file name."""
        return {HTTPS: dict(sorted(self.https.items())), HSTS: dict(sorted(self.hsts.items())),
                MOVED: dict(sorted(self.moved.items()))}  # fmt: skip


def decided(policies: Mapping[str, HostPolicy], hosts: Iterable[str], served: Mapping[str, bool]) -> Https:
    """``hosts``: those of which the configuration may say nothing; ``served``: the names of valid certificates that the
    proxy has, ``*.example.com`` among them; True if the service got the certificate by itself."""
    all_hosts = {**{host: HostPolicy() for host in hosts}, **policies}
    https, hsts = dict[str, str](), dict[str, str]()
    for host, policy in all_hosts.items():
        covering = [name for name in in_certificates(host) if name in served]
        if not covering or host.endswith(".localhost"):
            continue
        by_itself = any(served[name] for name in covering)
        https[host] = policy.https or ("redirect" if by_itself else "both")
        if policy.hsts.max_age:
            hsts[host] = _value(policy.hsts)
    return Https(https, hsts, {host: policy.to for host, policy in policies.items() if policy.to})


def _value(hsts: Hsts) -> str:
    words = [word for word in ("subdomains", "preload") if getattr(hsts, word)]
    return ".".join([f"{hsts.max_age:.0f}", *words])


def rules(http: str, https: str) -> str:
    """For the frontend ``hosts``, after ``txn.host``, ``txn.wild``, ``txn.scheme`` and ``txn.probe``. ``http`` and
    ``https``: where it listens, which says the port that an address has to name. If a host is asked for without a port,
    though we listen on another one than browsers take, something before us leads from their port to ours."""
    lines = [
        f"set-var(txn.free) bool(true) if {{ var(txn.probe) -m bool }} || {{ path_beg {ACME} }}",
        f"set-var(txn.hsts) var(txn.host),map(/proxy/{HSTS}) if {{ var(txn.scheme) -m str https }}",
        f"set-var(txn.moved) var(txn.host),map(/proxy/{MOVED})",
        "set-var(txn.aim) var(txn.host)",
        "set-var(txn.aim) var(txn.moved) if { var(txn.moved) -m found }",
        f"set-var(txn.mode) var(txn.aim),map(/proxy/{HTTPS})",
        f"set-var(txn.hsts) var(txn.wild),map(/proxy/{HSTS}) if {_WILD} {_is('scheme', 'https')}",
        f"set-var(txn.mode) var(txn.wild),map(/proxy/{HTTPS}) if {_WILD}",
        f"set-var(txn.to) str(https) if {_is('mode', 'redirect')} {_is('scheme', 'http')} {_FREE}",
        f"set-var(txn.to) str(http) if {{ var(txn.moved) -m found }} {_FREE}",
        f"set-var(txn.to) str(https) if {{ var(txn.moved) -m found }} {_is('mode', 'redirect')} {_FREE}",
        f"set-var(txn.to) str(https) if {{ var(txn.moved) -m found }} {_is('mode', 'both')} "
        f"{_is('scheme', 'https')} {_FREE}",
        "set-var(txn.port) str()",
        *_port("http", port_of(http), "80", _PORT),
        *_port("https", port_of(https), "443", "" if port_of(http) == "80" else _PORT),
        "redirect prefix %[var(txn.to)]://%[var(txn.aim)]%[var(txn.port)] code 308 if { var(txn.to) -m found }",
    ]
    answers = [
        f'set-header {_HEADER} "max-age=%[var(txn.hsts),field(1,.)]" if {{ var(txn.hsts) -m found }}',
        f'set-header {_HEADER} "%[res.hdr({_HEADER})]; includeSubDomains" if {{ var(txn.hsts) -m sub subdomains }}',
        f'set-header {_HEADER} "%[res.hdr({_HEADER})]; preload" if {{ var(txn.hsts) -m sub preload }}',
    ]
    return "\n    ".join(
        [*(f"http-request {line}" for line in lines), *(f"http-after-response {line}" for line in answers)]
    )


def _is(name: str, value: str) -> str:
    return f"{{ var(txn.{name}) -m str {value} }}"


def _port(scheme: str, port: str, usual: str, only_if: str) -> list[str]:
    if port in ("", usual):
        return []
    return [f"set-var(txn.port) str(:{port}) if {_is('to', scheme)} {only_if}".rstrip()]
