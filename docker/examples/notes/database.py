"""Connections to the database that DATABASE_URL names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import pg8000.native


@contextmanager
def connect() -> Iterator[pg8000.native.Connection]:
    url = urlsplit(os.environ["DATABASE_URL"])
    connection = pg8000.native.Connection(
        user=unquote(url.username or "postgres"),
        password=unquote(url.password or ""),
        host=url.hostname or "db",
        port=url.port or 5432,
        database=url.path.lstrip("/") or "postgres",
        timeout=5,
    )
    try:
        yield connection
    finally:
        connection.close()
