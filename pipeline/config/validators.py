"""What texts in a configuration may look like. Each function returns its text or raises ValueError.

The types of ``pipeline.config.models`` use them as validators, so no other code checks again.
"""

from __future__ import annotations

import re

from pipeline.config.address import entries
from pipeline.lib.text import without_password

_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{")
_HOST = r"([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.]+\])(:\d{1,5})?"
_WEB = re.compile(rf"(https?|ssh)://(?P<user>[^@/\s]+@)?{_HOST}/\S+")
_SCP = re.compile(r"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*@)[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[^\s:-]\S*")
_RECEIVER = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:.]+\])"
    r"(:(?P<port>[0-9]{1,5}))?(?P<path>/[!\x22$-\[\]-~]*)?"
)
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|\[::1\]", re.IGNORECASE)
_FILE = re.compile(r"file:///\S+")
_ALLOWED = (
    "use https://…, ssh://… or git@host:path; http:// and file:// only if PUSHLIVE_GIT_ALLOW lists them"
)
_SAFE_PATH = re.compile(r"(?!/)(?!.*(^|/)\.\.(/|$))[^\0-\x1f\x7f\\]+")


def is_safe_path(path: str) -> bool:
    """True for a relative path that stays inside the repository."""
    return bool(_SAFE_PATH.fullmatch(path))


def path(text: str) -> str:
    """A file or folder inside the repository."""
    if not is_safe_path(text):
        raise ValueError(
            f"{text!r} is not a path inside the repository; "
            "write a relative path without `..`, `\\` and control characters"
        )
    return text


def branch_problem(text: str) -> str:
    """What is wrong with a branch name, to go after the name; "" if nothing is. The rules are those of
    ``git check-ref-format --branch``, and that it cannot be taken for an option nor exceed a file name."""
    parts = text.split("/")
    if not text or text in ("@", "HEAD"):
        return "is not a branch name"
    if text.startswith("-"):
        return "begins with `-`, which git would take for an option"
    if text.startswith("refs/"):
        return "is a ref, not a branch name: leave out `refs/heads/`"
    if found := _REF_FORBIDDEN.search(text):
        return f"contains {found[0]!r}, which git allows in no branch name"
    if any(not part or part.startswith(".") or part.endswith(".lock") for part in parts) or text.endswith(
        "."
    ):
        return "has an empty part, a part that begins with `.` or ends with `.lock`, or ends with `.`"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "is not valid UTF-8"
    if len(text.encode()) > 1000 or any(len(part.encode()) > 240 for part in parts):
        return "is too long: at most 240 bytes between two `/`, and 1000 in all"
    return ""


def branch(text: str) -> str:
    """A branch name, see ``branch_problem``."""
    if problem := branch_problem(text):
        raise ValueError(f"{text[:80]!r} {problem}; write a name such as main or release/2.x")
    return text


def repository(text: str) -> str:
    """A repository's name on the built-in git server, or "" for none."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text)
    if text and (not plain or ".." in text or text.endswith((".git", ".lock", "."))):
        raise ValueError(
            f"{text[:80]!r} is not a repository name; use letters, digits, `.`, `_` and `-`, "
            "begin with a letter or digit, and leave out `.git`"
        )
    return text


def url(text: str) -> str:
    """A repository's URL. The Git adapter checks whether private hosts, http and file are allowed."""
    if not text:
        return text
    match = _WEB.fullmatch(text) or _SCP.fullmatch(text) or _FILE.fullmatch(text)
    if not match or text.startswith("-") or not text.isprintable():
        shown = without_password(text)[:120]
        raise ValueError(f"{shown!r} is not a repository URL; {_ALLOWED}")
    user = match.groupdict().get("user") or ""
    if ":" in user:
        raise ValueError(
            "the URL contains a password, which everyone who reads this file would see; "
            "remove it, and write https://user:token@host into <data>/git-credentials, or use SSH"
        )
    if user.startswith("-"):
        raise ValueError(f"{text[:120]!r}: the user name begins with `-`, which ssh would take for an option")
    return text


def receiver(text: str) -> str:
    """Where messages are sent. The URL is not quoted in messages: its path is often the secret."""
    match = _RECEIVER.fullmatch(text)
    if not match or len(text) > 2000 or not 0 < int(match["port"] or 443) < 65536:
        raise ValueError(
            "is not a URL that messages can be sent to; write https://host/path in ASCII, at most 2000 "
            "characters, without user, password, `#` and `\\`"
        )
    if match["scheme"] == "http" and not _LOOPBACK.fullmatch(match["host"]):
        raise ValueError(
            "http:// is not encrypted, so others could read the secret in the URL; write https://… "
            "(http:// is only for receivers on this machine: localhost, 127.0.0.1, [::1])"
        )
    return text


def prometheus(text: str) -> str:
    """Where a Prometheus is asked. Only its API is read, so plain HTTP within a network may do."""
    match = _RECEIVER.fullmatch(text)
    if not match or "?" in text or len(text) > 500 or not 0 < int(match["port"] or 443) < 65536:
        raise ValueError(
            "is not the URL of a Prometheus; write http://host:9090 or https://host/path in ASCII, without user, "
            "password, `?` and `#`"
        )
    return text


def platform(text: str) -> str:
    """``os/architecture[/variant]`` or ""."""
    if text and not re.fullmatch(r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?", text):
        raise ValueError(f"{text[:80]!r} is not a platform; write for example linux/amd64 or linux/arm64")
    return text


def stage(text: str) -> str:
    """The name of a stage in the Dockerfile, or ""."""
    if text and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
        raise ValueError(
            f"{text[:80]!r} is not the name of a stage; write the name after AS in the Dockerfile"
        )
    return text


def environment_name(text: str) -> str:
    """Any name except that of the first stage."""
    if text == "build":
        raise ValueError("an environment cannot be called 'build': that is the name of the first stage")
    return text


def header_name(text: str) -> str:
    """The name of an HTTP header."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", text):
        raise ValueError(f"{text[:80]!r} is not a header name; write for example Content-Type")
    return text


_OWN_HEADERS = ("host", "connection", "content-length", "transfer-encoding", "upgrade", "x-forwarded-proto")


def sent_header(text: str) -> str:
    """The name of a header that a check may send."""
    name = header_name(text).lower()
    if name in _OWN_HEADERS or name.startswith("x-pushlive-"):
        instead = {"host": "; write `host`", "x-forwarded-proto": "; write `scheme`"}.get(name, "; remove it")
        raise ValueError(f"{text!r} cannot be sent: Pushlive decides it{instead}")
    return text


def header_value(text: str) -> str:
    """The value of an HTTP header."""
    if not re.fullmatch(r"([!-~]([ -~]{0,998}[!-~])?)?", text):
        raise ValueError(
            "is not the value of a header; use at most 1000 ASCII characters on one line, with no space at the ends"
        )
    return text


def plain(text: str) -> str:
    """Text that a process can be given: without NUL and lone surrogates."""
    if "\0" in text:
        raise ValueError("the text contains a NUL character, which cannot be passed to a process; remove it")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("the text contains half a character (a lone surrogate); write the character itself")
    return text


def argv(words: tuple[str, ...]) -> tuple[str, ...]:
    """A command with its arguments: a program that is named, or nothing."""
    if words and not words[0].strip():
        raise ValueError("its first word is empty; name the program to run")
    return words


def entry(text: str) -> str:
    """Where an environment is reached, see ``pipeline.config.address.entries``."""
    if wrong := entries.problem(text):
        raise ValueError(f"{text[:120]!r} {wrong}")
    return text


def docker_host(text: str) -> str:
    """Another machine's Docker Engine, or "" for this one's."""
    match = re.fullmatch(
        rf"(ssh://([A-Za-z0-9_][A-Za-z0-9_.-]*@)?|tcp://){_HOST}(?P<path>/[A-Za-z0-9._/-]*)?", text
    )
    path = match["path"] if match else ""
    port = match and re.search(r":\d+/?$", text)
    if text and not (match and (text.startswith("ssh://") or (port and path in (None, "/")))):
        raise ValueError(
            f"{without_password(text)[:120]!r} is not the address of a Docker Engine; "
            "write ssh://user@host or tcp://host:port"
        )
    return text.rstrip("/")


def context(text: str) -> str:
    """A context of a kubeconfig, or "" for the current one."""
    if not re.fullmatch(r"[!-~]{0,253}", text) or text.startswith("-"):
        raise ValueError(f"{text[:80]!r} is not a context; `kubectl config get-contexts` lists them")
    return text


def namespace(text: str) -> str:
    """A namespace of a cluster, or "" for the context's own."""
    if text and not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", text):
        raise ValueError(
            f"{text[:80]!r} is not a namespace; use at most 63 lower-case letters, digits and hyphens, "
            "with a letter or digit at both ends"
        )
    return text


def http_route(text: str) -> str:
    """An HTTPRoute of a cluster, or "" for none."""
    if text and not (len(text) <= 253 and re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", text)):
        raise ValueError(f"{text[:80]!r} is not the name of an HTTPRoute; `kubectl get httproute` lists them")
    return text


def ingress_class(text: str) -> str:
    """An IngressClass of a cluster, or "" for its default."""
    if text and not (len(text) <= 253 and re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", text)):
        raise ValueError(f"{text[:80]!r} is not an IngressClass; `kubectl get ingressclass` lists them")
    return text


def image_repository(text: str) -> str:
    """A repository of images with its registry's host, by Docker's rules."""
    host, _, path = text.partition("/")
    if "://" in text:
        raise ValueError(
            f"{without_password(text)[:120]!r} begins with a scheme; leave out {text.split('://')[0]}://"
        )
    if not (path and re.fullmatch(r"localhost|[^/]*[.:][^/]*", host)):
        raise ValueError(
            f"{text[:120]!r} does not name a registry, so the image would go to a public one; write the host first, "
            "for example registry.example.com/team/hello"
        )
    if "@" in text or ":" in path:
        raise ValueError(
            f"{text[:120]!r} has a tag or digest; leave it out: each release gets a tag of its own"
        )
    part = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    plain = rf"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.?)+(?::[0-9]{{1,5}})?/{part}(?:/{part})*"
    if len(text) > 200 or host.partition(":")[0].endswith(".") or not re.fullmatch(plain, text):
        raise ValueError(
            f"{text[:120]!r} is not a repository name for Docker; use lower-case letters and digits, "
            "with single `.`, `_` or `-` between them, in parts separated by `/`, "
            "for example registry.example.com:5000/team/hello"
        )
    return text


def username(text: str) -> str:
    """The user of a registry, or "" for none."""
    if not re.fullmatch(r"[!-9;-~]{0,200}", text):
        raise ValueError(f"{text[:80]!r} is not a user name; use ASCII without spaces and `:`")
    return text


def secret_name(text: str) -> str:
    """The name of a secret, or "". It is not quoted in messages, since it may be a password by mistake."""
    if text and (not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", text) or text.startswith("PUSHLIVE_")):
        raise ValueError(
            "is not a valid secret name; write a name such as REGISTRY_PASSWORD here, and set its value with "
            "`pushlive secret set PIPELINE NAME`"
        )
    return text


def image(text: str) -> str:
    """An image by its name, with tag or digest."""
    part = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    host = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"
    tag = r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
    if len(text) > 300 or not re.fullmatch(f"{host}{part}(?:/{part})*{tag}", text):
        raise ValueError(f"{text[:120]!r} is not the name of an image; write for example postgres:15")
    return text


def folder(text: str) -> str:
    """A folder in a container, or "" for none."""
    if text and not re.fullmatch(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._@+-]+)+", text):
        raise ValueError(
            f"{text[:120]!r} is not a folder in a container; write an absolute path such as /var/lib/postgresql/data"
        )
    return text
