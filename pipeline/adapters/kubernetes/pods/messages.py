"""Messages of container runtimes and kubelets, reduced to what they say. Pure."""

from __future__ import annotations

import re
from typing import Any

# Prefixes that wrap the message, each possibly around another one.
_WRAPPER = re.compile(
    r'^(rpc error: code = \w+ desc = |Back-off pulling image "[^"]*": |ErrImagePull: |Error: '
    r'|[Ff]ailed to (pull and unpack image|resolve reference|pull image) "[^"]*": |failed to do request: '
    r"|failed to create (containerd|shim) task: |OCI runtime create failed: |runc create failed: "
    r"|unable to start container process: )"
)
_POD = re.compile(r' \(pod: "[^"]*", container: \w+\)')


def one_line(text: Any) -> str:
    """A message on one line, without its full stop, cut at 1000 characters."""
    return " ".join(str(text or "").split()).rstrip(".")[:1000]


def unwrapped(message: str) -> str:
    """A message of one line without the prefixes around it."""
    while match := _WRAPPER.match(message):
        message = message[match.end() :]
    return _POD.sub("", message).removesuffix(": unknown")
