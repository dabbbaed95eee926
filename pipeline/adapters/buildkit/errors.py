"""Why a build failed, from what BuildKit said. Its texts are read here, and in ``Vertex.is_cancelled``."""

from __future__ import annotations

import re

from pipeline.adapters.buildkit.output import Output
from pipeline.errors import AppFailed, EngineFailed, PushliveError, TryAgain
from pipeline.lib.units import show_size

_FULL = 16 << 20  # bytes: if less than this is free, the disk made the step fail

# "rpc error: code = Unavailable desc = transport is closing", "context canceled": the daemon is shutting down.
_GOING_DOWN = re.compile(r"code = Unavailable|context canceled|transport is closing|daemon is shutting down")
_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_KILLED = re.compile(r"exit code: 137\b")
_NOT_READ = re.compile(
    r"dockerfile parse error|unknown (flag|instruction)|unsupported modifier", re.IGNORECASE
)
_NO_SESSION = re.compile(r"no active sessions?|session healthcheck failed")


def failed(error: str, output: Output, free: int | None, engine: str = "") -> PushliveError:
    """Our error for the Engine's ``error`` text. ``free``: bytes left on its disk, None if unknown; ``engine``: its
    version."""
    cause = " ".join(error.split())
    if _NO_SPACE.search(error) or (free is not None and free < _FULL):
        left = "" if free is None else f" ({show_size(free)} are free)"
        return EngineFailed(
            f"The build failed because the disk is full{left}: {cause}.",
            advice="Free disk space (`pushlive gc`, `docker builder prune`).",
            again=True,
        )
    if output.failed is None and _GOING_DOWN.search(error):
        return TryAgain(f"Building the image: Docker stopped the build ({cause}).")
    step = output.failed.name if output.failed else ""
    message = f"The build failed in the step {step!r}: {cause}." if step else f"The build failed: {cause}."
    return AppFailed(message, advice=_advice(error, engine), evidence=output.evidence)


def _advice(error: str, engine: str) -> str:
    if _NOT_READ.search(error) and engine:
        return (
            f"It was read by the BuildKit of Docker Engine {engine}. Correct the Dockerfile. If it is right for a "
            "newer version, upgrade Docker or leave out what this version does not know."
        )
    if _NO_SESSION.search(error):
        return "Secret mounts, SSH mounts and private registries are not available in builds. Build without them."
    if _KILLED.search(error):
        return "The step was killed, probably because it ran out of memory. Use less, or raise PUSHLIVE_BUILD_MEMORY."
    return "Fix the Dockerfile or what it runs, then push again."
