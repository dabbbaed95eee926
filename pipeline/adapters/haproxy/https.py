"""Whether people reach a host name over HTTPS: checks come to the application as they do."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Container

from pipeline.config.https.listeners import listeners
from pipeline.config.settings import Settings
from pipeline.errors import EngineAway
from pipeline.ports.clock import Clock

WITHIN = 3.0  # seconds for a handshake; HAProxy needs a few milliseconds
KEPT = 60.0  # seconds for which an answer is kept


class Schemes:
    """Of the host names of one proxy."""

    def __init__(
        self, settings: Settings, clock: Clock, covered: Callable[[], Container[str]] | None = None
    ) -> None:
        """``covered``: the hosts with a certificate, for a proxy that cannot be asked for one from here."""
        self._settings, self._clock, self._covered = settings, clock, covered
        self._known: dict[str, tuple[str, float]] = {}

    def of(self, host: str) -> str:
        """``https`` if the proxy has a certificate for the name, or if proxies in front of it are trusted to say over
        what their visitors come. A name in ``.localhost`` is for this machine: ``http``. Raises EngineAway if the proxy
        does not listen."""
        if host.endswith(".localhost"):
            return "http"
        if self._settings.proxy_trusted:
            return "https"
        if not self._settings.proxy_https:
            return "http"
        if self._covered:
            return "https" if host in self._covered() else "http"
        scheme, until = self._known.get(host, ("", 0.0))
        if self._clock.monotonic() >= until:
            scheme = "https" if has_certificate(self._settings.proxy_https, host) else "http"
            self._known[host] = scheme, self._clock.monotonic() + KEPT
        return scheme


def has_certificate(listens: str, host: str) -> bool:
    """True if the proxy that listens there shows a certificate for the name; it has no other one to show."""
    first = listeners(listens)[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # which one it is does not matter here
    try:
        with socket.create_connection((first.nearby, first.port), timeout=WITHIN) as plain:
            try:
                context.wrap_socket(plain, server_hostname=host).close()
            except (ssl.SSLError, ConnectionError):
                return False
            return True
    except OSError as error:
        raise EngineAway(f"The proxy does not answer on {listens} ({error}).") from error
