"""Whether the service answers at its public URL, through the proxy on this machine: the way that visitors take."""

from __future__ import annotations

import http.client
import socket
import ssl
from contextlib import closing
from urllib.parse import urlsplit

from pipeline.config.https.listeners import listeners
from pipeline.config.settings import Settings
from pipeline.errors import ConfigError, EngineAway, EngineFailed, PushliveError
from pipeline.lib.bounded import Late, TooManyLeft, bounded

WITHIN = 5.0  # seconds for the whole answer
GRACE = 1.0
_GUIDE = "docs/operations.md#tls says what to do."


def ask(settings: Settings) -> str:
    """That it does, in a few words. Raises ConfigError if its name leads nowhere, EngineFailed for its certificate,
    EngineAway if it does not answer."""
    url = settings.public_url.rstrip("/")
    try:
        # In a thread of its own, since nothing limits how long a name is looked up.
        return bounded(lambda: _ask(settings, url), WITHIN + GRACE, name="public URL")
    except (Late, TooManyLeft) as error:
        raise EngineAway(f"{url} did not answer through the proxy within {WITHIN:g} s.") from error


def _ask(settings: Settings, url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    encrypted = parts.scheme == "https" and bool(settings.proxy_https)
    said = _answer(
        settings.proxy_https if encrypted else settings.proxy_http, host, parts.netloc, encrypted, url
    )
    if problem := _leads_nowhere(host):
        raise ConfigError(
            f"{url} answers on this machine, but the name {host} is not known here ({problem}).",
            advice="Have an A or AAAA record in its DNS zone lead to this machine.",
        )
    open_ = "" if parts.scheme == "https" or host.endswith(".localhost") else (
        ". Tokens cross the network unencrypted: use an https URL"
    )  # fmt: skip
    return f"{said}{open_}"


def _answer(listens: str, host: str, named: str, encrypted: bool, url: str) -> str:
    first = listeners(listens)[0]
    connection = http.client.HTTPConnection(host)
    try:
        connection.sock = socket.create_connection((first.nearby, first.port), timeout=WITHIN)
        with closing(connection):
            if encrypted:
                connection.sock = _secured(connection.sock, host)
            connection.request("GET", "/healthz", headers={"Host": named, "Connection": "close"})
            answer = connection.getresponse()
            text = answer.read(1 << 16).decode(errors="replace")
    except PushliveError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise EngineAway(f"{url} does not answer through the proxy on {first} ({error}).") from error
    if "json" not in (answer.getheader("Content-Type") or ""):
        raise EngineAway(
            f"{url} is answered by the proxy, but not by the service: {text.strip()[:120]}",
            advice="Run `pushlive up` again with the same settings.",
        )
    return f"{url} answers through the proxy on {first}"


def _secured(plain: socket.socket, host: str) -> socket.socket:
    context = ssl.create_default_context()
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise EngineFailed(
            f"Browsers and git refuse the certificate for {host}: {error.verify_message.rstrip('.')}.",
            advice=_GUIDE,
        ) from error
    except (ssl.SSLError, ConnectionError) as error:
        raise EngineFailed(f"The proxy has no certificate for {host}.", advice=_GUIDE) from error


def _leads_nowhere(host: str) -> str:
    if host.endswith(".localhost"):  # browsers know it, not every system does
        return ""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        return str(error.strerror or error)
    return ""
