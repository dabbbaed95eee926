"""docs/architecture.md names every package, and the tree keeps its shape."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import median

from tests.support.paths import ROOT

TOPS = ("pipeline", "webhooks", "workers")


def packages() -> dict[str, int]:
    """Every package with the number of its modules."""
    folders = {file.parent for top in TOPS for file in (ROOT / top).rglob("*.py")}
    return {str(folder.relative_to(ROOT)): len(modules(folder)) for folder in sorted(folders)}


def modules(folder: Path) -> list[Path]:
    return [file for file in folder.glob("*.py") if not file.name.startswith("__")]


def test_the_architecture_has_one_line_for_each_package() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.partition("## Packages")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \| \S", table, re.MULTILINE)
    assert sorted(named) == sorted({*packages(), "pipeline/errors.py"} - {"pipeline"})


def test_no_folder_is_crowded() -> None:
    counts = {name: count for name, count in packages().items() if name != "pipeline"}
    assert max(counts.values()) <= 20, counts
    assert median(counts.values()) <= 12, counts


def test_every_package_says_what_it_is_for() -> None:
    for name in packages():
        assert (ROOT / name / "__init__.py").read_text().startswith('"""'), name
