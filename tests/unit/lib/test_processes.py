"""Output that nobody reads any more; memory that forks share."""

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


FORKED = """
import gc, os
from pipeline.lib.processes import share_with_forks
kept = [[number] for number in range(200_000)]
{}
reading, writing = os.pipe()
if not os.fork():
    gc.collect()
    rollup = open("/proc/self/smaps_rollup").read().splitlines()
    own = next(line.split()[1] for line in rollup if line.startswith("Private_Dirty:"))
    os.write(writing, own.encode())
    os._exit(0)
print(os.read(reading, 100).decode())
"""


def test_a_collection_in_a_fork_copies_nothing_that_it_shares() -> None:
    def own(before: str) -> int:
        program = [sys.executable, "-c", FORKED.format(before)]
        return int(subprocess.run(program, check=True, capture_output=True, cwd=ROOT).stdout)

    assert own("share_with_forks()") < own("pass") / 2
