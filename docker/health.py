"""The health checks of the service's containers: ``python health.py web|worker|store`` exits with 0 or says why not."""

from __future__ import annotations

import os
import socket
import sys
from urllib.parse import unquote, urlsplit


def web() -> str:
    """It answers, and its store accepts writes."""
    import urllib.request

    from pipeline.cli.client import where

    try:
        urllib.request.urlopen(where(os.environ).url + "/healthz", timeout=4).close()  # noqa: S310 - our own
    except OSError as error:
        return f"the web process does not answer: {error}"
    return ""


def store() -> str:
    """It answers on its socket, with its password if it has one (PUSHLIVE_REDIS_URL_FILE, as for the service). Uses the
    standard library alone, because it runs every few seconds."""
    path = os.path.join(os.environ["PUSHLIVE_DATA"], "store", "valkey.sock")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(4)
            connection.connect(path)
            connection.sendall(_login() + b"PING\r\nQUIT\r\n")
            answer = connection.makefile("rb").read(256)
    except OSError as error:
        return f"the store does not answer on {path}: {error}"
    return "" if b"+PONG" in answer else f"the store answered {answer!r}"


def _login() -> bytes:
    file = os.environ.get("PUSHLIVE_REDIS_URL_FILE")
    if not file:
        return b""
    with open(file, encoding="utf-8") as opened:
        password = unquote(urlsplit(opened.read().strip()).password or "")
    return f"AUTH {password}\r\n".encode()


def worker() -> str:
    """A keeper is running: it wakes workers for what is due, and reconciles engines and proxy with the store."""
    from pipeline.config import settings
    from pipeline.errors import PushliveError
    from pipeline.runtime import bootstrap

    try:
        free = bootstrap.store(settings.load()).leases.free("keeper")
    except PushliveError as error:
        return str(error)
    return "no keeper is running" if free else ""


if __name__ == "__main__":
    problem = {"web": web, "store": store, "worker": worker}[sys.argv[1]]()
    print(problem or "healthy")  # noqa: T201 - docker inspect shows it
    sys.exit(bool(problem))
