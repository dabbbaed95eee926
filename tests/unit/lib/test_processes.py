"""Output that nobody reads any more."""

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

LISTING = "from pipeline.lib.processes import exit_with; exit_with({})"


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-c", LISTING.format("lambda: print('x' * 10_000) or 0")],
        [sys.executable, "-c", LISTING.format("lambda: print('buffered') or 0")],
        [sys.executable, "-m", "pipeline.cli", "--version"],
    ],
    ids=["at once", "buffered", "pushlive"],
)
def test_a_closed_pipe_ends_a_program_without_a_word(command: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # before the program starts: it may be done before this process goes on
    try:
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_exit_code_is_that_of_main() -> None:
    assert subprocess.run([sys.executable, "-c", LISTING.format("lambda: 3")], cwd=ROOT).returncode == 3
