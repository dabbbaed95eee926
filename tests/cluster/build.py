"""The programs node and pause, built by Go once for each version and content of their sources."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.cluster.where import CACHE, VERSION, fail, say
from tests.support.paths import ROOT

SOURCES = ROOT / "tests" / "cluster"
PAUSE = "pushlive.test/pause:1"  # the sandbox's image: built here, never pulled
ELSEWHERE = (
    "The tests also run on any other cluster: PUSHLIVE_TEST_KUBECONFIG names its kubeconfig file and "
    "PUSHLIVE_TEST_REGISTRY a registry that it can pull from."
)


def node() -> Path:
    """The program that contains every component."""
    major, minor = VERSION.removeprefix("v").split(".")[:2]
    values = {"gitVersion": VERSION, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    flags = [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in values.items()
    ]
    return built("node", " ".join(["-s -w", *flags]), "six to ten minutes on two cores")


def pause() -> Path:
    return built("pause", "-s -w", "seconds")


def built(name: str, flags: str, duration: str) -> Path:
    folder = SOURCES / name
    content = flags.encode() + b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    program = CACHE / f"cluster-{name}-{VERSION}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not program.exists():
        go(folder, flags, program, duration)
        forget_older(program, f"cluster-{name}-")
    return program


def forget_older(program: Path, prefix: str) -> None:
    """Keeps three, since several checkouts may need their own: 140 MB each."""
    all_of_it = sorted(program.parent.glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime)
    for path in all_of_it[:-3]:
        path.unlink(missing_ok=True)


def go(folder: Path, flags: str, program: Path, duration: str) -> None:
    if not shutil.which("go"):
        fail(f"Go 1.26 or newer is needed to build {folder} (see https://go.dev/dl). {ELSEWHERE}")
    say(f"building {program} from {folder}, once: {duration}")
    program.parent.mkdir(parents=True, exist_ok=True)
    unfinished = program.with_name(f"{program.name}.{os.getpid()}")
    log = CACHE / f"build-{folder.name}.log"
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", unfinished, "."]
    with log.open("w") as output:
        environment = {**os.environ, "CGO_ENABLED": "0"}
        done = subprocess.run(command, cwd=folder, env=environment, stdout=output, stderr=output)
    if done.returncode:
        fail(f"Go could not build {folder}: {why(log)} (its output: {log}). {ELSEWHERE}")
    unfinished.rename(program)


def why(log: Path) -> str:
    """The cause in one line: usually that the modules cannot be downloaded."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    fetching = [line for line in lines if "dial tcp" in line or "proxy" in line.lower()]
    said = (fetching or lines or ["no output"])[-1]
    return f"the module proxy does not answer (go env GOPROXY): {said}" if fetching else said


def pause_image() -> bytes:
    """The sandbox's image, in the format of `docker save`."""
    program = pause().read_bytes()
    layer = packed({"pause": program})
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
    return packed(
        {
            "manifest.json": json.dumps(manifest).encode(),
            "config.json": json.dumps(config).encode(),
            "layer.tar": layer,
        }
    )


def packed(files: dict[str, bytes]) -> bytes:
    result = io.BytesIO()
    with tarfile.open(fileobj=result, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return result.getvalue()
