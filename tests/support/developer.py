"""A developer's side: the applications' files, and a clone that is really pushed from."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.paths import ROOT

SAMPLE = ROOT / "docker" / "sample"
ME = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com")
Files = Mapping[str, str | None]  # path → text; None takes the file away


def web(
    content: str = "version 1", *, command: str = "", port: int = 8080, **more: str | None
) -> dict[str, str | None]:
    """The files of an application that serves one static page: it builds faster than the sample. ``more``:
    further files; ``command``: what runs instead of the server."""
    run = command or f"exec httpd -f -p 0.0.0.0:{port} -h /www"
    dockerfile = f"FROM busybox:1.36\nCOPY www /www\nCMD {json.dumps(['sh', '-c', run])}\n"
    return {"Dockerfile": dockerfile, "www/index.html": content + "\n", **more}


def sample(version: str = "1", **more: str) -> dict[str, str | None]:
    """The sample application's files, in that version; ``?text`` tells its environment and release."""
    files: dict[str, str | None] = {
        str(path.relative_to(SAMPLE)): path.read_text() for path in SAMPLE.rglob("*") if path.is_file()
    }
    text = str(files["www/version"])
    return {**files, "www/version": text.replace("VERSION=1", f"VERSION={version}"), **more}


class Repository:
    """A developer's clone; its remote ``pushlive`` is the built-in git server."""

    def __init__(self, folder: Path, url: str, environ: Mapping[str, str]) -> None:
        self.folder, self._environ = folder, environ
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "pushlive", url)

    def git(self, *arguments: str) -> str:
        """What git printed, on both streams. An AssertionError where it failed."""
        done = self.started(*arguments)
        out, _ = done.communicate(timeout=120)
        assert done.returncode == 0, out
        return out

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        """git at work, in a process group of its own."""
        return subprocess.Popen(
            ["git", *ME, *arguments], cwd=self.folder, env=dict(self._environ), text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def commit(self, files: Files, message: str) -> str:
        """Writes the files, commits everything and returns the commit's id."""
        for name, text in files.items():
            path = self.folder / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
                path.chmod(0o755 if "cgi-bin" in name or name.endswith(".sh") else 0o644)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD").strip()
