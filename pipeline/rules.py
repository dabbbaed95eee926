"""What texts from a configuration may look like: each function returns its text or raises ValueError.

They are the validators of ``pipeline.config``'s types, so nothing else needs to look again.
"""

from __future__ import annotations

import re

_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_HOST = r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.]+\])(:\d{1,5})?"
_WEB = re.compile(rf"(https?|ssh)://(?P<user>[^@/\s]+@)?{_HOST}/\S+")
_SCP = re.compile(r"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*@)[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[^\s:-]\S*")
_RECEIVER = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])"
    r"(:(?P<port>[0-9]{1,5}))?(?P<path>/[!\x22$-\[\]-~]*)?"
)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]", re.IGNORECASE)
_FILE = re.compile(r"file:///\S+")
_ALLOWED = "https://…, ssh://…, git@host:path; http:// and file:// where PUSHLIVE_GIT_ALLOW names them"
_SAFE_PATH = re.compile(r"(?!/)(?!.*(^|/)\.\.(/|$))[^\0-\x1f\x7f\\]+")


def is_safe_path(path: str) -> bool:
    """True for a relative path that stays inside the repository."""
    return bool(_SAFE_PATH.fullmatch(path))


def path(text: str) -> str:
    """A file or folder inside the repository."""
    if not is_safe_path(text):
        raise ValueError(
            f"{text!r} is not a path inside the repository; "
            "write a relative one without `..`, `\\` and control characters"
        )
    return text


def branch(text: str) -> str:
    """A branch name by the rules of ``git check-ref-format --branch``, and never like an option."""
    if text.startswith("-"):
        raise ValueError(f"{text!r} begins with `-`, which git would take for an option; rename the branch")
    wrong = (
        not text
        or text in ("@", "HEAD")
        or bool(_REF_FORBIDDEN.search(text))
        or text.startswith(("/", "refs/"))
        or text.endswith(("/", "."))
        or any(part.startswith(".") or part.endswith(".lock") for part in text.split("/"))
        or len(text.encode("utf-8", "replace")) > 1000
    )
    if wrong:
        hint = "write it without `refs/heads/`" if text.startswith("refs/") else "such as main or release/2.x"
        raise ValueError(f"{text[:80]!r} is not a branch name that git accepts; {hint}")
    return text


def repository(text: str) -> str:
    """A repository's name on the built-in git server, or "" for none."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text)
    if text and (not plain or ".." in text or text.endswith((".git", ".lock", "."))):
        raise ValueError(
            f"{text[:80]!r} is not a repository name; letters, digits, `.`, `_` and `-` are allowed, "
            "it begins with a letter or digit and goes without `.git`"
        )
    return text


def url(text: str) -> str:
    """A repository's address. Whether private hosts, http and file are allowed is checked elsewhere."""
    if not text:
        return text
    match = _WEB.fullmatch(text) or _SCP.fullmatch(text) or _FILE.fullmatch(text)
    if not match or text.startswith("-") or not text.isprintable():
        shown = _without_password(text)[:120]
        raise ValueError(f"{shown!r} is not an accepted repository address; {_ALLOWED}")
    user = match.groupdict().get("user") or ""
    if ":" in user:
        raise ValueError(
            "the address holds a password, which would be seen wherever the file is; "
            "take it out; put https://user:token@host into <data>/git-credentials, or use SSH"
        )
    if user.startswith("-"):
        raise ValueError(f"{text[:120]!r}: the user begins with `-`, which ssh would take for an option")
    return text


def receiver(text: str) -> str:
    """Where messages are sent. The address is never quoted: its path is often the secret."""
    match = _RECEIVER.fullmatch(text)
    if not match or len(text) > 2000 or not 0 < int(match["port"] or 443) < 65536:
        raise ValueError(
            "is no address that messages can be sent to; write https://host/path in ASCII, at most 2000 "
            "characters, without user, password, `#` and `\\`"
        )
    if match["scheme"] == "http" and not _LOOPBACK.fullmatch(match["host"]):
        raise ValueError(
            "http:// can be read on its way, the address's secret too; write https://… "
            "(http:// is for receivers on this machine: localhost, 127.0.0.1, [::1])"
        )
    return text


def without_path(text: str) -> str:
    """The text with only scheme and host of the web addresses in it."""
    return re.sub(r"(?i)(https?://)(?:[^/?#\s'\"]*@)?([^/?#\s'\"]*)[/?#][^\s'\"]*", r"\1\2/…", text)


def platform(text: str) -> str:
    """``os/architecture[/variant]`` or ""."""
    if text and not re.fullmatch(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?", text):
        raise ValueError(f"{text[:80]!r} is not a platform; write one such as linux/amd64 or linux/arm64")
    return text


def stage(text: str) -> str:
    """The name of a Dockerfile's stage, or ""."""
    if text and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
        raise ValueError(f"{text[:80]!r} is not a stage's name; write what stands after AS in the Dockerfile")
    return text


def environment_name(text: str) -> str:
    """Any name but the first stage's."""
    if text == "build":
        raise ValueError("an environment cannot be called 'build': that is the first stage's name")
    return text


def header_name(text: str) -> str:
    """An HTTP header's name."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", text):
        raise ValueError(f"{text[:80]!r} is not a header's name; write one such as Content-Type")
    return text


def plain(text: str) -> str:
    """Text that can be handed to a process: no NUL, no half of a character."""
    if "\0" in text:
        raise ValueError("there is a NUL character in the text, which no process can be given; take it out")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("there is half a character (a surrogate) in the text; write the character itself")
    return text


def _without_password(text: str) -> str:
    return re.sub(r"://([^/@\s:]*):[^/@\s]*@", r"://\1:•••@", text)
