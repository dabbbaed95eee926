"""The order of test files, and what each of them took: a pytest plugin, used by tests/conftest.py."""

from __future__ import annotations

import gc
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

# Files that take longest, longest first: side by side, the last one to begin decides when all have ended.
LONGEST = (
    "faults/test_every_point.py", "integration/test_container.py", "integration/test_many.py",
    "integration/test_docker_remote.py", "integration/test_deploy.py", "integration/test_receiving.py",
    "integration/test_revert.py", "integration/test_docker_engine_failures.py", "integration/test_smoke.py",
)  # fmt: skip
SHOWN = 12  # files


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        file = item.path.relative_to(ROOT / "tests").as_posix()
        return LONGEST.index(file) if file in LONGEST else len(LONGEST)

    items.sort(key=rank)  # stable: a file's tests stay together, in their order
    for item in items:
        if _on_the_cluster(item):
            item.add_marker("cluster")


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end: collections of garbage need not look at them again and again."""
    gc.freeze()


def _on_the_cluster(item: pytest.Item) -> bool:
    """Whether it uses the test cluster, which is shared, and of which some of its tests stop parts."""
    suite = item.path.relative_to(ROOT / "tests").parts[0]
    variant = suite == "contract" and "[cluster" in item.name
    return suite == "cluster" or variant or item.path.name == "test_cluster_objects.py"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Seconds by suite and by file: where the time went."""
    suites: dict[str, float] = defaultdict(float)
    files: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                file = Path(report.nodeid.partition("::")[0])
                files[str(file)] += report.duration
                suites[file.parts[1] if len(file.parts) > 2 else file.name] += report.duration
    if sum(suites.values()) < 20:
        return
    terminalreporter.section("seconds by suite")
    for name, seconds in sorted(suites.items(), key=lambda one: -one[1]):
        terminalreporter.write_line(f"{seconds:8.1f}  {name}")
    terminalreporter.section("seconds by file")
    for name, seconds in sorted(files.items(), key=lambda one: -one[1])[:SHOWN]:
        terminalreporter.write_line(f"{seconds:8.1f}  {name}")
