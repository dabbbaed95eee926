"""`http.redirects`: paths that lead to other addresses, and what they may be. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

MOST = 100
DEEPEST = 8  # segments before `/*`
LONGEST = 1000  # characters of a path or an address; a key of YAML has 1024 at most
_PATH = r"/(?:[A-Za-z0-9._~!$&()+,=:@-]|/|%[0-9A-Fa-f]{2})*"
_FROM = re.compile(rf"(?P<path>{_PATH})(?P<below>\*?)")
# A browser takes `//host` and `/\host` for another host.
_TO = re.compile(
    rf"(?:(?P<origin>https?://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{{1,5}})?)|(?!//))"
    rf"(?P<path>{_PATH})?(?P<below>\*?)"
)
_ANY = "any-of-these"  # stands for what is below a path


def checked(redirects: dict[str, str]) -> dict[str, str]:
    """Raises ValueError, with what to write."""
    if len(redirects) > MOST:
        raise ValueError(f"{len(redirects)} redirects are too many; at most {MOST} are allowed")
    for one, to in redirects.items():
        if why := _wrong(one, to):
            raise ValueError(why)
    return redirects


def _wrong(one: str, to: str) -> str:
    if max(len(one), len(to)) > LONGEST:
        return f"{one[:40]!r} or where it leads is longer than {LONGEST} characters"
    from_, target = _FROM.fullmatch(one), _TO.fullmatch(to)
    if not from_ or (from_["below"] and not from_["path"].endswith("/")):
        return f"{one[:80]!r} is not a path; write /old, or /old/* for all below it"
    if from_["path"].count("/") > DEEPEST and from_["below"]:
        return f"{one[:80]!r} has too many parts; at most {DEEPEST} may stand before `*`"
    if not target or not (target["origin"] or target["path"]) or _odd_end(target):
        return (
            f"{to[:80]!r} is not where {one[:80]} can lead; write a path such as /new or an address such as "
            "https://www.example.com/new, without `?` and `#`, the query is kept"
        )
    if target["below"] and not from_["below"]:
        return f"{to[:80]!r} ends in `*`, and {one[:80]} does not: there is no rest of the path to put there"
    return ""


def _odd_end(target: re.Match[str]) -> bool:
    return bool(target["below"]) and not (target["path"] or "").endswith("/")


def loops(redirects: Mapping[str, str], hosts: Collection[str]) -> Iterator[str]:
    """Each path from which one would come back to it for ever. ``hosts``: those that lead to the application itself."""
    for one in redirects:
        if _comes_back(one, redirects, hosts):
            yield one


def _comes_back(one: str, redirects: Mapping[str, str], hosts: Collection[str]) -> bool:
    path, seen = one.replace("*", _ANY), set[str]()
    while found := followed(path, redirects):
        key, path = found
        if key in seen:
            return key == one
        seen.add(key)
        origin = re.match(r"https?://([^/:]+)(:[0-9]+)?", path)
        if origin:
            if origin[2] or origin[1].lower() not in hosts:
                return False
            path = path[origin.end() :] or "/"
    return False


def followed(path: str, redirects: Mapping[str, str]) -> tuple[str, str] | None:
    """The redirect that holds for a path, and where it leads, as the proxy decides: one of the very path, or else that
    with the longest one above it. None if there is none."""
    if path in redirects:
        return path, redirects[path]
    above = [one for one in redirects if one.endswith("*") and path.startswith(one[:-1])]
    if not above:
        return None
    key = max(above, key=len)
    to = redirects[key]
    return key, to[:-1] + path[len(key) - 1 :].lstrip("/\\") if to.endswith("*") else to
