"""Where an environment is reached, entry by entry: ``shop.example``, ``shop.example/api``, ``*.shop.example``, ``*``.

The most specific host decides, then the longest path: ``shop.example/api`` has ``/api`` and all below it, and of
``*.shop.example`` what no one has by its whole name. ``*`` has what is left. Each entry has one owner.
"""

from __future__ import annotations

from collections.abc import Iterable

ANY = "*"
MOST = 4  # parts of a path


def host_of(entry: str) -> str:
    """``shop.example`` of ``shop.example/api``."""
    return entry.partition("/")[0]


def path_of(entry: str) -> str:
    """``/api`` of ``shop.example/api``; "" for the whole host."""
    return entry[len(host_of(entry)) :]


def is_pattern(entry: str) -> bool:
    """True if no one can ask for its host as it is written."""
    return entry.startswith(ANY)


def hosts_in(entries: Iterable[str]) -> tuple[str, ...]:
    """Their hosts, patterns among them, each once."""
    return tuple(dict.fromkeys(host_of(entry) for entry in entries))


def named(entries: Iterable[str]) -> tuple[str, ...]:
    """The host names among their hosts, each once."""
    return tuple(host for host in hosts_in(entries) if not is_pattern(host))


def plain(entries: Iterable[str]) -> tuple[str, ...]:
    """Those that can be asked for as they are written, so that a URL can be made of them."""
    return tuple(entry for entry in entries if not is_pattern(entry))


def in_certificates(host: str) -> tuple[str, str]:
    """The names in certificates by which a browser takes one for that host's."""
    return host, f"*.{host.partition('.')[2]}"


def covers(wide: str, narrow: str) -> bool:
    """True if what ``narrow`` gets would be ``wide``'s without it, as far as these two are concerned."""
    host, asked = host_of(wide), host_of(narrow)
    if host == asked:
        return wide != narrow and path_of(narrow).startswith(f"{path_of(wide)}/")
    parent = asked.partition(".")[2]
    same = host == ANY or (host.startswith("*.") and not is_pattern(asked) and host == f"*.{parent}")
    return same and f"{path_of(narrow)}/".startswith(f"{path_of(wide)}/")


def problem(text: str) -> str:
    """What is wrong with an entry that has the right characters; "" if nothing is."""
    host, path = host_of(text), path_of(text)
    if len(host) > 253:
        return "is longer than 253 characters"
    if len(path) > 100 or path.count("/") > MOST:
        return f"has a path with more than {MOST} parts or 100 characters"
    if {".", ".."} & set(path.split("/")):
        return "has `.` or `..` as a part of its path, which no browser sends"
    return ""
