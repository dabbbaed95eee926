"""TLS certificates: PEM files in ``<data>/certificates``, taken up by the running HAProxy without a restart.

Each file holds a certificate, its chain and its private key. Which one answers is chosen by host name. HAProxy
would not start beside a file that it cannot use, so what it reads at its start are copies of accepted ones.
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
    """SHA-1 of the first certificate, as HAProxy prints it; raises ValueError where there is none."""
    found = _CERTIFICATE.search(pem)
    if not found or not _KEY.search(pem):
        raise ValueError("it must hold a certificate and its private key, both as PEM")
    data = ssl.PEM_cert_to_DER_cert(found[0])
    return hashlib.sha1(data, usedforsecurity=False).hexdigest().upper()


def payload(pem: str) -> str:
    """The text as the runtime socket takes it: an empty line would end it."""
    return "\n".join(line.strip() for line in pem.splitlines() if line.strip())


class Certificates:
    """The folder on one side, HAProxy's memory and its folder of copies on the other."""

    def __init__(self, folder: Path, copies: Path, control: Control) -> None:
        self._folder = folder
        self._copies = copies
        self._control = control

    def refresh(self) -> tuple[list[str], list[str]]:
        """Makes HAProxy hold what the folder holds: what was taken up or given up (file names), and the
        problems, one line for each file that cannot be used. Raises TryAgain when HAProxy does not answer."""
        held = self._held()
        changed, problems = [], []
        self._copies.mkdir(mode=0o700, exist_ok=True)
        wanted = sorted(self._folder.glob("*.pem"))
        for path in wanted:
            try:
                if self._take_up(path, held):
                    changed.append(path.name)
            except (ValueError, OSError) as error:
                problems.append(f"{path}: {error}")
        for name in sorted(held - {path.name for path in wanted}):
            self._give_up(name)
            changed.append(name)
        return changed, problems

    def _held(self) -> set[str]:
        lines = self._control.ask("show ssl cert").splitlines()
        prefix = f"{CERTIFICATES}/"
        return {line.removeprefix(prefix) for line in lines if line.startswith(prefix)}

    def _take_up(self, path: Path, held: set[str]) -> bool:
        text = path.read_text()
        mark, name = fingerprint(text), f"{CERTIFICATES}/{path.name}"
        if path.name in held and self._mark(name) == mark:
            write(self._copies / path.name, text)
            return False
        if path.name not in held:
            self._control.ask(f"new ssl cert {name}")
        said = self._control.ask(f"set ssl cert {name} <<\n{payload(text)}\n")
        said += self._control.ask(f"commit ssl cert {name}")
        if self._mark(name) != mark:
            self._control.ask(f"abort ssl cert {name}")
            if path.name not in held:
                self._control.ask(f"del ssl cert {name}")
            raise ValueError(f"the proxy refuses it: {' '.join(said.split())}")
        if path.name not in held:
            self._control.ask(f"add ssl crt-list {CERTIFICATES} {name}")
        write(self._copies / path.name, text)
        return True

    def _give_up(self, name: str) -> None:
        (self._copies / name).unlink(missing_ok=True)
        self._control.ask(f"del ssl crt-list {CERTIFICATES} {CERTIFICATES}/{name}")
        self._control.ask(f"del ssl cert {CERTIFICATES}/{name}")

    def _mark(self, name: str) -> str:
        found = re.search(r"^SHA1 FingerPrint: ([0-9A-F]+)", self._control.ask(f"show ssl cert {name}"), re.M)
        return found[1] if found else ""
