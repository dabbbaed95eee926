"""TLS certificates: PEM files, loaded into the running HAProxy without a restart.

Each file contains a certificate, its chain and its private key; HAProxy selects one by host name. It does not start
if it cannot use one of its files, so at its start it reads copies of those that it has accepted.

The user's own files are in ``<data>/certificates``, those that the service got by itself in ``<data>/tls``. The latter
are left out for names that a valid one of the user's covers.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.adapters.haproxy.config import CERTIFICATES
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.haproxy.files import write
from pipeline.config.address.entries import in_certificates

AUTO = ".auto"  # ends the names of those that the service got by itself, as HAProxy has them

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_FINGERPRINT = re.compile(r"^SHA1 FingerPrint: ([0-9A-F]+)", re.M)
_NAMES = re.compile(r"^Subject Alternative Name: (.*)$", re.M)
_DATES = re.compile(r"^(not(?:Before|After)): (.+)$", re.M)


def fingerprint(pem: str) -> str:
    """SHA-1 of the first certificate, as HAProxy prints it. Raises ValueError if there is none."""
    found = _CERTIFICATE.search(pem)
    if not found or not _KEY.search(pem):
        raise ValueError("it must contain a certificate and its private key, both as PEM")
    data = ssl.PEM_cert_to_DER_cert(found[0])
    return hashlib.sha1(data, usedforsecurity=False).hexdigest().upper()


def payload(pem: str) -> str:
    """The text without empty lines: one would end it on the runtime socket."""
    return "\n".join(line.strip() for line in pem.splitlines() if line.strip())


def names_of(said: str, now: float) -> tuple[str, ...]:
    """The host names in a certificate, from HAProxy's answer to ``show ssl cert``; () if it is not valid at that time,
    in seconds since 1970."""
    dates = dict(_DATES.findall(said))
    try:
        valid = (
            ssl.cert_time_to_seconds(dates["notBefore"]) <= now < ssl.cert_time_to_seconds(dates["notAfter"])
        )
    except (KeyError, ValueError):
        valid = False
    found = _NAMES.search(said) if valid else None
    parts = found[1].split(",") if found else []
    return tuple(one.strip()[4:].lower() for one in parts if one.strip().startswith("DNS:"))


class Certificates:
    """Keeps HAProxy's memory, and its folder of copies, equal to the folders. ``served``: after ``refresh``, the names
    of the valid ones that HAProxy has; True if the service got it by itself."""

    def __init__(
        self, data: Path, copies: Path, control: Control, now: Callable[[], float] = time.time
    ) -> None:
        self._own, self._auto = data / "certificates", data / "tls"
        self._copies, self._control, self._now = copies, control, now
        self._said: dict[str, str] = {}
        self._left: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.served: dict[str, bool] = {}

    def seen(self) -> tuple[tuple[str, int, int], ...]:
        """Differs once a file was changed, added or removed."""
        found = [
            (path, path.stat()) for path in sorted((*self._own.glob("*.pem"), *self._auto.glob("*.pem")))
        ]
        return tuple((str(path), about.st_mtime_ns, about.st_size) for path, about in found)

    def refresh(self) -> tuple[list[str], list[str]]:
        """Loads new and changed files and unloads removed ones. Returns the names of these files, and one line for each
        file that cannot be used. Raises TryAgain if HAProxy does not answer."""
        loaded = self._loaded()
        changed, problems, self._said = list[str](), list[str](), {}
        self._copies.mkdir(mode=0o700, parents=True, exist_ok=True)
        served, kept = dict[str, bool](), set[str]()
        for name, path in self._wanted().items():
            try:
                text = path.read_text()
                if self._is_left(name, text, served):
                    continue
                kept.add(name)
                if self._load(name, text, loaded):
                    changed.append(path.name)
            except (ValueError, OSError) as error:
                problems.append(f"{path}: {error}")
            if self._leave(name, path, served):
                kept.discard(name)
                loaded.add(name)
        for name in sorted(loaded - kept):
            self._unload(name)
            changed.append(name)
        self.served = served
        return list(dict.fromkeys(changed)), problems

    def _wanted(self) -> dict[str, Path]:
        """By the name in HAProxy. The user's own come first."""
        own = {path.name: path for path in sorted(self._own.glob("*.pem"))}
        return {**own, **{f"{path.stem}{AUTO}": path for path in sorted(self._auto.glob("*.pem"))}}

    def _leave(self, name: str, path: Path, served: dict[str, bool]) -> bool:
        """True if the certificate goes again: of two for one name HAProxy shows the one that it has had for longer."""
        auto, found = name.endswith(AUTO), names_of(self._said.get(name, ""), self._now())
        if auto and found and all(_covers(one, served) for one in found):
            self._left[name] = fingerprint(path.read_text()), found
            return True
        for one in found:
            served.setdefault(one, auto)
        return False

    def _is_left(self, name: str, text: str, served: dict[str, bool]) -> bool:
        """True if it has gone before, and nothing has changed since."""
        if name not in self._left or not name.endswith(AUTO):
            return False
        known, names = self._left[name]
        return known == fingerprint(text) and all(_covers(one, served) for one in names)

    def _loaded(self) -> set[str]:
        lines = self._control.ask("show ssl cert").splitlines()
        prefix = f"{CERTIFICATES}/"
        return {line.removeprefix(prefix) for line in lines if line.startswith(prefix)}

    def _load(self, short: str, text: str, loaded: set[str]) -> bool:
        wanted, name = fingerprint(text), f"{CERTIFICATES}/{short}"
        if short in loaded and self._fingerprint(short) == wanted:
            write(self._copies / short, text)
            return False
        if short not in loaded:
            self._control.ask(f"new ssl cert {name}")
        said = self._control.ask(f"set ssl cert {name} <<\n{payload(text)}\n")
        said += self._control.ask(f"commit ssl cert {name}")
        if self._fingerprint(short) != wanted:
            self._control.ask(f"abort ssl cert {name}")
            if short not in loaded:
                self._control.ask(f"del ssl cert {name}")
                self._said.pop(short, None)
            raise ValueError(f"the proxy rejects it: {' '.join(said.split())}")
        if short not in loaded:
            self._control.ask(f"add ssl crt-list {CERTIFICATES} {name}")
        write(self._copies / short, text)
        return True

    def _unload(self, name: str) -> None:
        (self._copies / name).unlink(missing_ok=True)
        self._control.ask(f"del ssl crt-list {CERTIFICATES} {CERTIFICATES}/{name}")
        self._control.ask(f"del ssl cert {CERTIFICATES}/{name}")

    def _fingerprint(self, short: str) -> str:
        said = self._said[short] = self._control.ask(f"show ssl cert {CERTIFICATES}/{short}")
        found = _FINGERPRINT.search(said)
        return found[1] if found else ""


def _covers(host: str, served: dict[str, bool]) -> bool:
    """True if a certificate of the user's is for that name."""
    return any(served.get(name) is False for name in in_certificates(host))
