"""Whose a request is: by its host, and by its path where environments share a host.

``hosts.map`` has hosts as they are, ``*.shop.example`` and ``*`` among them. ``paths.map`` has what is only a part of a
host: ``shop.example/api/`` leads to ``e3/api``, the environment and its prefix. It is searched for the longest key with
which host and path begin; both end with a ``/``, so that ``/apix`` does not begin with ``/api``. ``=shop.example`` says
that the host is divided.

Some paths are read in two ways: an application may take ``//api``, ``/%61pi`` and ``/x/../api`` for ``/api``. On a host
that is divided such a request is refused if it would be another one's when read like that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from pipeline.config.address.entries import ANY, MOST, host_of, path_of
from pipeline.config.http.keys import Http

MAP = "paths.map"
STRIP = "strip.map"
_DIVIDED = "="
_HOSTS = ("%[var(txn.host)]", "%[var(txn.wild)]", ANY)  # from the most specific on
_ODD = "{ var(txn.odd) -m found }"


def _search(found: str, path: str, only_if: str = "") -> Iterator[str]:
    """Sets ``found`` to what the maps have for the request's host and that path."""
    still = f"if !{{ var(txn.{found}) -m found }} {only_if}".rstrip()
    for host in _HOSTS:
        yield f"set-var-fmt(txn.base) {host}%[{path}]/ {still}"
        yield f"set-var(txn.{found}) var(txn.base),map_beg(/proxy/{MAP}) {still}"
        yield f"set-var-fmt(txn.base) {host} {still}"
        yield f"set-var(txn.{found}) var(txn.base),map(/proxy/hosts.map) {still}"


def _divided() -> Iterator[str]:
    for host in _HOSTS:
        yield f"set-var-fmt(txn.base) {_DIVIDED}{host} if {_ODD}"
        yield f"set-var(txn.divided) var(txn.base),map(/proxy/{MAP}) if {_ODD} !{{ var(txn.divided) -m found }}"


def _lines() -> Iterator[str]:
    yield "set-var(txn.host) req.hdr(host),host_only,lower,rtrim(.),field(1,/)"
    yield "set-var(txn.wild) var(txn.host),regsub(^[^.]*,*)"
    yield from _search("owner", "path")
    yield "set-var(txn.odd) bool(true) if { path -m sub % // /. \\\\ }"
    yield f"set-var(txn.read) path,url_dec,regsub(//*,/,g) if {_ODD}"
    yield from _search("reading", "var(txn.read)", _ODD)
    yield from _divided()
    yield "set-var(txn.env) var(txn.owner),field(1,/)"
    yield "set-var(txn.prefix) var(txn.owner),regsub(^[^/]*,) if { var(txn.owner) -m sub / }"
    yield "set-var(txn.cookies) var(txn.prefix) if { var(txn.prefix) -m found }"


def rules(texts: Mapping[str, str]) -> str:
    """For the frontend ``hosts``, before all others: sets ``txn.env``. ``texts``: see ``TEXTS``."""
    answer = f'return status 400 {texts["text"]} string "{texts["ambiguous"]}\\n"'
    doubts = (
        "!{ var(txn.read) -m found }",
        "{ var(txn.read) -m sub \\\\ }",
        "{ var(txn.read) -m reg (^|/)[.][.]?(/|$) }",
        "{ var(txn.owner) -m found } !{ var(txn.owner),strcmp(txn.reading) eq 0 }",
        "!{ var(txn.owner) -m found } { var(txn.reading) -m found }",
    )
    refusals = (f"{answer} if {_ODD} {{ var(txn.divided) -m found }} {doubt}" for doubt in doubts)
    return "\n    ".join(f"http-request {line}" for line in (*_lines(), *refusals))


def _strip() -> Iterator[str]:
    strips = f"{{ var(txn.prefix) -m found }} {{ var(txn.slot),map(/proxy/{STRIP}) -m found }}"
    yield f"set-header X-Forwarded-Prefix %[var(txn.prefix)] if {strips}"
    for parts in range(1, MOST + 1):
        whole = f"{{ var(txn.prefix) -m reg ^(/[^/]+){{{parts}}}$ }}"
        yield f"replace-path ^(/[^/]*){{{parts}}}/?(.*)$ /\\2 if {whole} {strips}"


STRIP_LINES = "\n    ".join(f"http-request {line}" for line in _strip())


def strip_value(http: Http) -> str:
    """ "1" if the release wants its paths without the prefix."""
    return "1" if http.strip_path else ""


def entries(owners: Iterable[tuple[str, str]], not_of: Collection[str] = ()) -> dict[str, str]:
    """``paths.map``. ``owners``: pairs of an entry and what it leads to (``e3``); ``not_of``: hosts of the service
    itself."""
    found = {}
    for entry, owner in owners:
        if path_of(entry) and host_of(entry) not in not_of:
            found[f"{entry}/"] = f"{owner}{path_of(entry)}"
            found[f"{_DIVIDED}{host_of(entry)}"] = "divided"
    return found
