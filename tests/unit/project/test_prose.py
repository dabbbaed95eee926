"""Phrases that must not come back: what people read is plain English. HTML, Markdown, shell and Python are searched."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# What is found → what to write. Regular expressions, without regard to case.
PHRASES = {
    r"\bsomebody\b": "someone, another worker, another program",
    r"\bwhoever\b": "the worker, the user, the one that",
    r"\banew\b": "again, recreated",
    r"\bto be had\b|\bcan be had\b": "is available",
    r"\bnone of ours\b|\bis none of\b": "is not managed by Pushlive",
    r"\bheed(s|ed)?\b": "follow, obey, honor",
    r"\b(is|are) kept no longer\b": "is no longer kept",
    r"\b(?-i:Twice)\.": "Idempotent.",
    r"\bstraighten": "revert drift",
    r"\bputs? right\b|\bput right\b": "repair",
    r"(?<!\")\bmend(s|ed|ing)?\b": "repair, fix",
    r"\bnobody knows\b": "is unknown",
    r"\btakes no writes\b": "has not accepted writes",
    r"\bwish(es)? (of|cuts)\b": "cancellation request",
    r"\bis no (\w+'s )?(name|secret|engine|number|commit|branch|address)\b": "is not a valid …",
    r"\b(is|was|are|were) begun\b": "was started",
    r"\bthere is no way to\b": "cannot connect to",
    r"\b(serve|go|goes|serves) on serving\b|\bserves on\b": "keeps serving",
    r"\bmay not be looked at\b|\bis looked at\b": "cannot be read, is examined",
    r", too, (is|are|was)\b": "also",
}
FOLDERS = ("pipeline", "webhooks", "workers", "docs", "scripts", "docker")
KINDS = (".py", ".html", ".js", ".md", ".yaml", "")


@cache
def documents() -> list[Path]:
    files = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pipelines.yaml")]
    for folder in FOLDERS:
        files += [
            file for file in sorted((ROOT / folder).rglob("*")) if file.is_file() and file.suffix in KINDS
        ]
    return [file for file in files if "__pycache__" not in file.parts]


@cache
def text_of(file: Path) -> str:
    return file.read_text()


@pytest.mark.parametrize("phrase", PHRASES)
def test_no_phrase_of_the_list_is_used(phrase: str) -> None:
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for file in documents()
        if re.search(phrase, text_of(file), re.IGNORECASE)
        for number, line in enumerate(text_of(file).splitlines(), 1)
        if re.search(phrase, line, re.IGNORECASE)
    ]
    assert not found, f"write {PHRASES[phrase]!r} instead:\n" + "\n".join(found)


def test_the_search_finds_its_phrases() -> None:
    assert {"README.md", "rollout.py", "status.html", "operations.md", "setup"} <= {
        file.name for file in documents()
    }
    assert re.search(next(iter(PHRASES)), "It is somebody's now", re.IGNORECASE)
