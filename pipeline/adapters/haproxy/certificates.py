"""TLS certificates: PEM files in ``<data>/certificates``, loaded into the running HAProxy without a restart.

Each file contains a certificate, its chain and its private key; HAProxy selects one by host name. It does not start
if it cannot use one of its files, so at its start it reads copies of those that it has accepted.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

from pipeline.adapters.haproxy.config import CERTIFICATES
from pipeline.adapters.haproxy.control import Control
from pipeline.adapters.haproxy.files import write

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")


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


class Certificates:
    """Keeps HAProxy's memory, and its folder of copies, equal to the folder."""

    def __init__(self, folder: Path, copies: Path, control: Control) -> None:
        self._folder = folder
        self._copies = copies
        self._control = control

    def refresh(self) -> tuple[list[str], list[str]]:
        """Loads new and changed files and unloads removed ones. Returns the names of these files, and one line for each
        file that cannot be used. Raises TryAgain if HAProxy does not answer."""
        loaded = self._loaded()
        changed, problems = [], []
        self._copies.mkdir(mode=0o700, exist_ok=True)
        wanted = sorted(self._folder.glob("*.pem"))
        for path in wanted:
            try:
                if self._load(path, loaded):
                    changed.append(path.name)
            except (ValueError, OSError) as error:
                problems.append(f"{path}: {error}")
        for name in sorted(loaded - {path.name for path in wanted}):
            self._unload(name)
            changed.append(name)
        return changed, problems

    def _loaded(self) -> set[str]:
        lines = self._control.ask("show ssl cert").splitlines()
        prefix = f"{CERTIFICATES}/"
        return {line.removeprefix(prefix) for line in lines if line.startswith(prefix)}

    def _load(self, path: Path, loaded: set[str]) -> bool:
        text = path.read_text()
        wanted, name = fingerprint(text), f"{CERTIFICATES}/{path.name}"
        if path.name in loaded and self._fingerprint(name) == wanted:
            write(self._copies / path.name, text)
            return False
        if path.name not in loaded:
            self._control.ask(f"new ssl cert {name}")
        said = self._control.ask(f"set ssl cert {name} <<\n{payload(text)}\n")
        said += self._control.ask(f"commit ssl cert {name}")
        if self._fingerprint(name) != wanted:
            self._control.ask(f"abort ssl cert {name}")
            if path.name not in loaded:
                self._control.ask(f"del ssl cert {name}")
            raise ValueError(f"the proxy rejects it: {' '.join(said.split())}")
        if path.name not in loaded:
            self._control.ask(f"add ssl crt-list {CERTIFICATES} {name}")
        write(self._copies / path.name, text)
        return True

    def _unload(self, name: str) -> None:
        (self._copies / name).unlink(missing_ok=True)
        self._control.ask(f"del ssl crt-list {CERTIFICATES} {CERTIFICATES}/{name}")
        self._control.ask(f"del ssl cert {CERTIFICATES}/{name}")

    def _fingerprint(self, name: str) -> str:
        found = re.search(r"^SHA1 FingerPrint: ([0-9A-F]+)", self._control.ask(f"show ssl cert {name}"), re.M)
        return found[1] if found else ""
