"""A small bundle, as it is exported."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path

from pipeline.evidence.acts import KeptAct
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


NEW = {
    "series": {
        "since": "2026-03-01T12:01:00.000Z",
        "every": 10.0,
        "at": [0.0, 10.0],
        "containers": [
            {"name": "hello-live-blue-r17-1", "limit": 1 << 27, "cpu": [None, 0.1], "memory": [1, 2]}
        ],
    },
    "verdict": {
        "outcome": "worse",
        "reason": "errors 10 % of 10 requests, worse than r16 (0 %)",
        "since": "2026-03-01T12:01:00.000Z",
        "ended": "2026-03-01T12:05:00.000Z",
        "requests": 10,
        "errors": 1,
        "before": {"release": 16, "requests": 300, "errors": 0},
        "needed": 0,
        "minutes": [["2026-03-01T12:01:00.000Z", 10, 1]],
        "minutes_before": [],
    },
    "followed": {
        "state": "observed",
        "judge": "observe",
        "on_failure": "revert",
        "ended": "2026-03-01T12:05:10.000Z",
        "reason": "r17: errors 10 % of 10 requests, worse than r16 (0 %)",
        "would": "With `judge: act` it would have been taken back to r16",
        "revert": "",
    },
    "act": {
        "number": 57,
        "hash": "0badcafe" + "0" * 56,
        "previous": "1" * 64,
        "time": "2026-03-01T12:02:00.000Z",
        "who": "ann",
        "role": "developer",
        "way": "cli",
        "act": "hold",
        "pipeline": "hello",
        "environment": "live",
        "run": "",
        "release": "",
        "why": "lunch",
        "detail": "",
        "before": "not held",
        "after": "held by ann: lunch",
    },
}
"""Parts of records of other kinds than runs."""


def others(number: int = 42, image: str = IMAGE) -> dict[str, dict]:
    """Records of the other kinds, by the names of their files."""
    one = record(number, image)
    release = one["release"] | {"number": 17, "commit": "c" * 40, "secrets": {}}
    frame = {key: one[key] for key in ("form", "installation", "version")}
    frame |= {
        "pipeline": "hello",
        "written": "2026-03-01T12:06:00.000Z",
        "not_masked": [],
        "environment": "live",
    }
    of_run = frame | {"id": one["id"], "release": release}
    bake = {
        "outcome": "baked", "reason": "", "since": "", "ended": "", "for": 120.0, "watched": 120.0,
        "on_failure": "hold", "before": {}, "revert": "",
    }  # fmt: skip
    watched = {"answers": None, "usage": [], "series": NEW["series"], "health": None, "acts": []}
    return {
        "bake-live-42": of_run | {"kind": "bake", "bake": bake} | watched,
        "verdict-live-42": of_run
        | {"kind": "verdict", "verdict": NEW["verdict"], "followed": NEW["followed"]},
        "act-57-0badcafe": frame | {"kind": "act", "id": "entry 57", "act": NEW["act"]},
    }


def exported(folder: Path, key: SigningKey = OURS, **what: object) -> bytes:
    """An archive with a record of each kind."""
    kept = Kept(folder / "kept", "run", 42, 17, 1_790_000_000_000)
    records = {"run-42": record(**what), **others(**what)}
    for name, one in records.items():
        place = folder / "kept" if name == "run-42" else folder / "kept" / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "record.json").write_text(json.dumps(one))
    (kept.folder / "log.txt.gz").write_bytes(gzip.compress(b"lines"))
    more = tuple(
        Kept(kept.folder / f"{kind}-42", kind, 42, 17, kept.at) for kind in ("bake-live", "verdict-live")
    )
    act = KeptAct(kept.folder / "act-57-0badcafe" / "record.json", 57, 0, kept.at, "0badcafe")
    acts = [{key: value for key, value in NEW["act"].items() if key not in ("pipeline", "previous")}]
    out = io.BytesIO()
    contents = Contents("hello", "hello r17", "", "pushlive", (kept, *more), acts, record(**what), (act,))
    write(contents, key, out, lambda _: None)
    return out.getvalue()
