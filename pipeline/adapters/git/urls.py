"""Which repository addresses and branch names may reach git at all. Pure, except for one DNS lookup."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.config.validators import branch_problem
from pipeline.errors import EngineFailed, RequestError
from pipeline.lib.text import without_password

Resolve = Callable[[str, int], Iterable[str]]

_PORTS = {"https": 443, "http": 80, "ssh": 22}
_SCP = re.compile(r"^(?P<user>[\w.-]+)@(?P<host>[\w.-]+):(?P<path>(?!//)[^:]+)$", re.ASCII)
_HOST = re.compile(r"^[A-Za-z0-9_.:%-]+$")
_ALLOW_ADVICE = "To allow it, add its host or the beginning of its URL to PUSHLIVE_GIT_ALLOW."
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class Remote:
    """An address that may be fetched from. ``url`` has no password in it."""

    url: str
    scheme: str
    host: str = ""
    port: int = 0
    addresses: tuple[str, ...] = ()  # what the host resolved to when it was checked
    authorization: str = field(default="", repr=False)  # an HTTP header's value


def check_url(url: str, allow: tuple[str, ...] = (), resolve: Resolve | None = None) -> Remote:
    """The parsed address, if it is safe to fetch from.

    ``https://``, ``ssh://`` and ``user@host:path`` with public addresses are. ``http://``, ``file://`` and private
    addresses are only if ``allow`` names the host (``git.internal`` or ``git.internal:3000``) or the beginning of the
    URL (``file:///srv/git/``). Raises RequestError, and EngineFailed if the host's name cannot be resolved.
    """
    parts = _split(url)
    shown = _shown(parts)
    allowed = _is_allowed(parts, allow)
    if parts.scheme == "file":
        if not allowed:
            raise _refused(shown, "file:// is not allowed")
        return Remote(shown, "file")
    if parts.scheme not in _PORTS:
        raise _refused(shown, f"git over {parts.scheme!r} is not supported", "Use https:// or ssh://.")
    if parts.scheme == "http" and not allowed:
        raise _refused(shown, "http:// can be read and changed on the way")
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    addresses = tuple((resolve or _resolve)(host, port))
    private = [address for address in addresses if not is_public(address)]
    if private and not allowed:
        raise _refused(shown, f"{host} has the private address {private[0]}")
    return Remote(shown, parts.scheme, host, port, addresses, _authorization(parts))


def with_login(remote: Remote, logins: Iterable[str]) -> Remote:
    """The remote with the login from the first line, ``https://user:token@host``, that has its host and port."""
    for line in logins if remote.scheme in ("http", "https") and not remote.authorization else ():
        parts = urlsplit(line)
        same = (parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme))
        if same == (remote.scheme, remote.host, remote.port):
            return replace(remote, authorization=_authorization(parts))
    return remote


def is_public(address: str) -> bool:
    """False for loopback, private, link-local and other special addresses, also if embedded in IPv6."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        wrapped = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            wrapped = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if wrapped is not None:
            return is_public(str(wrapped))
    return ip.is_global and not ip.is_multicast


def check_ref(branch: str) -> str:
    """``refs/heads/<branch>`` for a valid branch name. Raises RequestError."""
    if problem := branch_problem(branch):
        raise RequestError(
            f"The branch name {branch[:80]!r} {problem}.",
            advice="Rename the branch and push it again.",
        )
    return f"refs/heads/{branch}"


def safe_tag(branch: str) -> str:
    """A Docker tag, and one safe path component, for any branch name; no two names get the same.

    Short plain names stay as they are. All others, and those that look like our own tags (``r17``, a commit's
    id, ``latest``) or like the result of this function, get 16 hex digits of their hash appended.
    """
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", branch)
    ours = re.search(r"^r\d+$|^[0-9a-f]{7,64}$|^latest$|-[0-9a-f]{16}$", branch)
    if plain and not ours:
        return branch
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", branch).strip("-_")[:40] or "branch"
    return f"{slug}-{hashlib.sha256(branch.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _split(url: str) -> SplitResult:
    if not url or url.startswith("-") or re.search(r"[\x00-\x20\x7f\\]", url):
        raise _refused(
            without_password(url)[:80],
            "it is empty, starts with a dash, or contains spaces or control characters",
        )
    scp = _SCP.match(url)
    if scp:
        url = f"ssh://{scp['user']}@{scp['host']}/{scp['path'].lstrip('/')}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused("the URL", f"it is malformed: {error}") from error
    if "::" in url.partition("/")[0] or not parts.scheme:
        raise _refused(without_password(url)[:80], "it is not a URL", "Write https://… or ssh://…")
    host = parts.hostname or ""
    if parts.scheme != "file" and (not _HOST.match(host) or host.startswith("-") or port == 0):
        raise _refused(_shown(parts), "its host is not valid")
    if parts.path.startswith("/-") or (parts.username or "").startswith("-"):
        raise _refused(_shown(parts), "a part of it starts with a dash")
    return parts


def _shown(parts: SplitResult) -> str:
    """The URL without its password; for ssh with the user name, which is not a secret there."""
    netloc = parts.netloc.rpartition("@")[2]
    if parts.scheme == "ssh" and parts.username:
        netloc = f"{parts.username}@{netloc}"
    return parts._replace(netloc=netloc, fragment="").geturl()


def _authorization(parts: SplitResult) -> str:
    if parts.scheme == "ssh" or parts.username is None:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _is_allowed(parts: SplitResult, allow: tuple[str, ...]) -> bool:
    url, host = _shown(parts), (parts.hostname or "").lower()
    climbs = ".." in unquote(parts.path).split("/")
    for entry in allow:
        if "://" in entry:
            prefix = entry.rstrip("/")
            if not climbs and (url == prefix or url.startswith(prefix + "/")):
                return True
        elif (
            host
            and parts.scheme != "file"
            and entry.lower() in (host, f"{host}:{parts.port or _PORTS.get(parts.scheme)}")
        ):
            return True
    return False


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EngineFailed(
            f"The repository's host {host} cannot be resolved ({error}).",
            advice="Check the name, and DNS on this machine.",
        ) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _refused(shown: str, why: str, advice: str = _ALLOW_ADVICE) -> RequestError:
    return RequestError(f"The repository address {shown!r} is refused: {why}.", advice=advice)
