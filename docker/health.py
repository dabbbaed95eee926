"""The health checks of the service's containers: ``python health.py web|worker|store`` ends with 0 or says why not."""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import unquote, urlsplit


def web() -> str:
    """It answers, and the store behind it takes writes."""
    import urllib.request

    from pipeline.cli.client import where

    try:
        urllib.request.urlopen(where(os.environ).url + "/healthz", timeout=4).close()  # noqa: S310 - our own
    except OSError as error:
        return f"the web side does not answer: {error}"
    return ""


def store() -> str:
    """It answers on its socket, with its password where it has one (PUSHLIVE_REDIS_URL_FILE, as the service itself is
    told); only what is in the language itself, as this is asked every few seconds."""
    path = os.path.join(os.environ["PUSHLIVE_DATA"], "store", "valkey.sock")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(4)
            connection.connect(path)
            connection.sendall(_login() + b"PING\r\nQUIT\r\n")
            said = connection.makefile("rb").read(256)
    except OSError as error:
        return f"the store does not answer on {path}: {error}"
    return "" if b"+PONG" in said else f"the store says {said!r}"


def _login() -> bytes:
    file = os.environ.get("PUSHLIVE_REDIS_URL_FILE")
    if not file:
        return b""
    with open(file, encoding="utf-8") as opened:
        password = unquote(urlsplit(opened.read().strip()).password or "")
    return f"AUTH {password}\r\n".encode()


def worker() -> str:
    """Somebody keeps house: rings for what is due, brings Engine and proxy to what the store says."""
    from pipeline.config import settings
    from pipeline.errors import PushliveError
    from pipeline.runtime import bootstrap

    try:
        free = bootstrap.store(settings.load()).leases.free("keeper")
    except PushliveError as error:
        return str(error)
    return "no keeper holds its lease" if free else ""


if __name__ == "__main__":
    problem = {"web": web, "store": store, "worker": worker}[sys.argv[1]]()
    print(problem or "well")  # noqa: T201 - docker inspect shows it
    sys.exit(bool(problem))
