"""Memory stays flat in a flood of output (row 20 of docs/faults.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FLOOD = """
import resource, sys
from pathlib import Path
from pipeline.adapters.buildkit.output import Output
from pipeline.adapters.buildkit.trace import Log
from pipeline.runlog.file import RunLog

output, log = Output(), RunLog(Path(sys.argv[1]), 16 << 20)
text = b"\\x1b[31m<b>\\xe2\\x80\\xae" + b"0123456789" * 8 + b"\\n" if sys.argv[2] == "lines" else b"x" * 97
piece = text * 675
for event in output.feed(Log("a", 1, piece), 1.0):
    log.write(event)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(200_000_000 // len(piece)):
    for event in output.feed(Log("a", 1, piece), 1.0):
        log.write(event)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def grown(file: Path, kind: str) -> int:
    """The KiB by which a process grew, at its peak, while it read 200 MB of output."""
    argv = [sys.executable, "-c", FLOOD, str(file), kind]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=200)
    return int(done.stdout)


@pytest.mark.long
def test_fault_20_two_hundred_megabytes_of_lines_leave_memory_flat(tmp_path):
    file = tmp_path / "run.log"
    assert grown(file, "lines") < 20_000
    assert file.stat().st_size < (16 << 20) + 100_000
    text = file.read_text()
    assert "cut here" in text
    assert "\x1b" not in text


@pytest.mark.long
def test_fault_20_a_line_that_never_ends_leaves_memory_flat(tmp_path):
    assert grown(tmp_path / "run.log", "endless") < 20_000
