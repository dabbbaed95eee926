"""Why a build failed, from what BuildKit said. The only place where its texts are read."""

from __future__ import annotations

import re

from pipeline.adapters.buildkit.output import Output
from pipeline.errors import AppFailed, EngineFailed, PushliveError, TryAgain
from pipeline.lib.units import show_size

_FULL = 16 << 20  # bytes: with less than this free, a failing step is the disk's fault

# "rpc error: code = Unavailable desc = transport is closing", "context canceled": the daemon is going down.
_GOING_DOWN = re.compile(r"code = Unavailable|context canceled|transport is closing|daemon is shutting down")
_NO_SPACE = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_KILLED = re.compile(r"exit code: 137\b")
_NO_SESSION = re.compile(r"no active sessions?|session healthcheck failed")


def failed(error: str, output: Output, free: int | None) -> PushliveError:
    """Our error for the Engine's ``error`` text. ``free``: bytes left on its disk, None when not known."""
    cause = " ".join(error.split())
    if _NO_SPACE.search(error) or (free is not None and free < _FULL):
        left = "" if free is None else f" ({show_size(free)} are free)"
        return EngineFailed(
            f"The build failed because the disk is full{left}: {cause}.",
            advice="Free disk space (`pushlive gc`, `docker builder prune`), then retry.",
        )
    if output.failed is None and _GOING_DOWN.search(error):
        return TryAgain(f"Building the image: Docker broke it off ({cause}).")
    step = output.failed.name if output.failed else ""
    message = f"The build failed in the step {step!r}: {cause}." if step else f"The build failed: {cause}."
    return AppFailed(message, advice=_advice(error), evidence=output.evidence)


def _advice(error: str) -> str:
    if _NO_SESSION.search(error):
        return "Secret and SSH mounts and private registries are not available in builds; do without them."
    if _KILLED.search(error):
        return "The step was killed, mostly for want of memory: use less, or raise PUSHLIVE_BUILD_MEMORY."
    return "Mend the Dockerfile or what it runs, then push again."
