"""A small bundle, as it is exported."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path

from pipeline.evidence.bundle import Contents, write
from pipeline.evidence.records import Kept
from pipeline.evidence.signing import SigningKey

IMAGE = "sha256:" + "ab" * 32
OURS, OTHERS = SigningKey(b"1" * 32), SigningKey(b"2" * 32)


def record(number: int = 42, image: str = IMAGE) -> dict:
    run = dict.fromkeys(("reason", "message", "ref", "by", "author", "accepted", "ended", "started"), "")
    run |= {
        "id": f"hello#{number}",
        "number": number,
        "outcome": "live",
        "commit": "c" * 40,
        "pusher": "ann",
        "from_release": None,
    }
    run |= {
        "source": "http://127.0.0.1/git/hello.git",
        "promoted": [],
        "seconds": 61.5,
        "human": 0,
        "failure": None,
    }
    release = {"name": "r17", "run": number, "created": "2026-03-01T12:00:05.250Z", "image": image}
    step = {
        "stage": "build",
        "step": "build",
        "seconds": 1.0,
        "ok": True,
        "detail": "",
        "started": "2026-03-01T12:00:01Z",
    }
    return {
        "form": 1, "kind": "run", "id": f"hello#{number}", "installation": "pushlive", "version": "0.1.0", "run": run,
        "release": release | {"tag": "hello:r17", "remote": ""}, "steps": [step], "checks": {}, "acts": [], "build": {},
        "bases": [{"name": "python:3.11-slim", "image": "sha256:" + "cd" * 32}], "environments": {},
        "commits": {"release": None, "list": [], "more": False, "problem": ""},
        "log": {"size": 5, "sha256": hashlib.sha256(b"lines").hexdigest()},
    }  # fmt: skip


def exported(folder: Path, key: SigningKey = OURS, **what: object) -> bytes:
    """An archive of one record."""
    kept = Kept(folder / "kept", "run", 42, 17, 1_790_000_000_000)
    kept.folder.mkdir(parents=True, exist_ok=True)
    (kept.folder / "record.json").write_text(json.dumps(record(**what)))
    (kept.folder / "log.txt.gz").write_bytes(gzip.compress(b"lines"))
    out = io.BytesIO()
    contents = Contents("hello", "hello r17", "", "pushlive", (kept,), (), record(**what))
    write(contents, key, out, lambda _: None)
    return out.getvalue()
