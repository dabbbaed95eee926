"""What comes from outside cannot forge lines of the service's log, whichever logger writes it."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.lib import logs

ROOT = Path(__file__).parents[3]
FORGED = "a\n2026-01-01 00:00:00,000 pushlive: all is well\r\x1b[2J\u202e\u2028b\x85c"
SOURCES = [path for folder in ("pipeline", "webhooks", "workers") for path in (ROOT / folder).rglob("*.py")]


def written(record: str) -> list[str]:
    setup = "import logging, threading, warnings\nfrom pipeline.lib import logs\nlogs.configure(20)"
    program = f"{setup}\ns = {FORGED!r}\n{record}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return done.stderr.split("\n")[:-1]


@pytest.mark.parametrize(
    "record",
    [
        "logging.getLogger('pushlive.web').warning('GET %s', s)",
        "logging.getLogger('another.library').error(s)",
        "logging.warning('%s', [s])",
        "warnings.warn(s)",
    ],
)
def test_fault_47_a_message_is_one_line(record):
    lines = written(record)
    assert len([line for line in lines if re.match(r"[0-9]{4}-", line)]) == 1
    assert len(lines) == 1
    assert lines[0].isprintable()


@pytest.mark.parametrize(
    "record",
    [
        "try:\n    raise ValueError(s)\nexcept ValueError:\n    logging.exception('failed')",
        "def end(): raise ValueError(s)\none = threading.Thread(target=end)\none.start()\none.join()",
    ],
)
def test_fault_47_an_exception_is_indented(record):
    first, *lines = written(record)
    assert re.match(r"[0-9]{4}-", first)
    assert any("ValueError" in line for line in lines)
    assert all(line.startswith("    ") and line.isprintable() for line in lines)


def test_a_message_that_is_formatted_twice_looks_the_same():
    record = logging.LogRecord("x", 20, "f", 1, "a%sb", ("\n",), None)
    once = logs.OneLine("%(message)s").format(record)
    assert (once, logs.OneLine("%(message)s").format(record)) == ("a\\nb", "a\\nb")


def test_nothing_else_configures_logging():
    forbidden = re.compile(r"basicConfig|addHandler|StreamHandler|dictConfig|fileConfig|logging\.Formatter")
    found = [str(path.relative_to(ROOT)) for path in SOURCES if forbidden.search(path.read_text())]
    assert found == ["pipeline/lib/logs.py"]
