"""Programs that the tests build with Go, once for each version: they are kept under ``~/.cache/pushlive``."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pushlive"


def built(name: str, version: str, *modules: str) -> Path:
    """The program of one module, or the folder with those of several. ``modules``: without their version. Raises
    RuntimeError if they cannot be built."""
    found = CACHE / f"{name}-{version}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one builds, and the others wait for it
        if not found.exists():
            _build(found, [f"{module}@{version}" for module in modules])
    return found


def _build(target: Path, modules: list[str]) -> None:
    if not shutil.which("go"):
        raise RuntimeError(f"Go 1.26 or newer is needed to build {modules[0]} (see https://go.dev/dl).")
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f"{target.name}-") as folder:
        programs = Path(folder) / "built"
        done = subprocess.run(
            ["go", "install", "-trimpath", "-ldflags", "-s -w", *modules],
            env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(programs)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"Go could not build {modules[0]}: {done.stderr[-2000:]}")
        made = programs if len(modules) > 1 else next(programs.iterdir())
        made.rename(target)
