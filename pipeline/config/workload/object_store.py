"""Whether the library for ``backup: {to: s3://…}`` is there: an extra, for those who use it."""

from __future__ import annotations

from importlib.util import find_spec

INSTALL = "Install it with `pip install 'pushlive[s3]'` and start the service again; the service's own image has it."


def is_installed() -> bool:
    return find_spec("minio") is not None
