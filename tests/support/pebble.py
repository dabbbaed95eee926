"""A real ACME authority for the tests: Pebble, and the DNS server that it asks, which leads every name to 127.0.0.1.

``python -m tests.support.pebble`` builds both programs once: three quarters of a minute on an idle machine.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from tests.support.certificates import Authority
from tests.support.go_programs import built
from tests.support.ports import free_ports
from tests.support.waiting import until

VERSION = "v2.10.3"
_MODULE = "github.com/letsencrypt/pebble/v2/cmd"
REFUSED = "refused.example"  # it never issues for this name
KID, MAC = "customer-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def programs() -> Path:
    """The folder that has them. Raises RuntimeError if they cannot be built."""
    return built("pebble", VERSION, *(f"{_MODULE}/{name}" for name in ("pebble", "pebble-challtestsrv")))


@dataclass
class Pebble:
    """``ca``: a file with the certificate that signs its own address; ``http``, ``tls``: the ports of 127.0.0.1 that it
    asks for challenges, on which nothing listens yet; ``dns``: where its DNS server is managed."""

    directory: str
    ca: Path
    http: int
    tls: int
    dns: str
    management: str
    process: subprocess.Popen[bytes]

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def root(self) -> str:
        """What verifies the certificates that it issues, as PEM."""
        return self._managed("GET", "/roots/0").data.decode()

    def leads(self, name: str, *addresses: str) -> None:
        """From now on that name has these IPv4 addresses; without one, only an IPv6 address on which no one listens."""
        self._dns(
            "/add-a" if addresses else "/add-aaaa", host=name, addresses=[*addresses] or ["2001:db8::1"]
        )

    def txt(self, name: str, value: str) -> None:
        self._dns("/set-txt", host=f"_acme-challenge.{name}.", value=value)

    def clear_txt(self, name: str) -> None:
        self._dns("/clear-txt", host=f"_acme-challenge.{name}.")

    def renewal(self, chain: str, answer: str) -> None:
        """What it says from now on about renewing that certificate."""
        self._managed("POST", "/set-renewal-info/", {"Certificate": chain, "ARIResponse": answer})

    def _dns(self, path: str, **what: Any) -> None:
        answer = urllib3.request("POST", f"{self.dns}{path}", json=what, timeout=5)
        assert answer.status == 200, answer.data

    def _managed(self, method: str, path: str, body: Any = None) -> urllib3.BaseHTTPResponse:
        with urllib3.PoolManager(ssl_context=self.context) as pool:
            answer = pool.request(method, f"{self.management}{path}", json=body, timeout=5)
        assert answer.status == 200, answer.data
        return answer


@contextmanager
def running(*, lifetime: int = 90 * 86400, bind: bool = False, rejected: int = 20) -> Iterator[Pebble]:
    """``lifetime``: of certificates, seconds; ``bind``: it has customers of its own, and KID and MAC are one of them;
    ``rejected``: the share of good nonces that it refuses, in per cent."""
    folder, first = programs(), free_ports(6)
    acme, managed, http, tls, dns, manage_dns = range(first, first + 6)
    with tempfile.TemporaryDirectory() as root:
        place = Path(root)
        _write(place, acme, managed, http, tls, lifetime, bind)
        names = subprocess.Popen(
            [
                folder / "pebble-challtestsrv", "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "",
                "-dnsserver", f"127.0.0.1:{dns}", "-management", f"127.0.0.1:{manage_dns}", "-defaultIPv6", "",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        environment = {
            **os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(rejected), "PEBBLE_AUTHZREUSE": "0",
        }  # fmt: skip
        with (place / "log").open("wb") as log:
            pebble = subprocess.Popen(
                [folder / "pebble", "-strict", "-config", place / "config.json", "-dnsserver", f"127.0.0.1:{dns}"],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        found = Pebble(
            f"https://localhost:{acme}/dir", place / "ca.pem", http, tls, f"http://127.0.0.1:{manage_dns}",
            f"https://localhost:{managed}", pebble,
        )  # fmt: skip
        try:
            until(lambda: _answers(found) or pebble.poll() is not None, 20)
            if pebble.poll() is not None:
                raise RuntimeError(f"Pebble ended: {(place / 'log').read_text()[-2000:]}")
            yield found
        finally:
            for one in (pebble, names):
                one.kill()
                one.wait()


def _write(place: Path, acme: int, managed: int, http: int, tls: int, lifetime: int, bind: bool) -> None:
    """Its files. Its own address has a certificate of ours, since that which it comes with is in its sources alone."""
    own = Authority()
    (place / "ca.pem").write_text(own.root)
    both = own.issue("localhost")
    (place / "own.pem").write_text(both)
    config = {
        "listenAddress": f"127.0.0.1:{acme}",
        "managementListenAddress": f"127.0.0.1:{managed}",
        "certificate": str(place / "own.pem"),
        "privateKey": str(place / "own.pem"),
        "httpPort": http,
        "tlsPort": tls,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": bind,
        "externalAccountMACKeys": {KID: MAC},
        "domainBlocklist": [REFUSED],
        "retryAfter": {"authz": 1, "order": 1},
        "keyAlgorithm": "ecdsa",
        "profiles": {"default": {"description": "of the tests", "validityPeriod": lifetime}},
    }
    (place / "config.json").write_text(json.dumps({"pebble": config}))


def _answers(pebble: Pebble) -> bool:
    try:
        with urllib3.PoolManager(ssl_context=pebble.context, retries=False) as pool:
            return pool.request("GET", pebble.directory, timeout=5).status == 200
    except (urllib3.exceptions.HTTPError, OSError):
        return False


if __name__ == "__main__":
    sys.stdout.write(f"{programs()}\n")
