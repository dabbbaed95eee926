"""scripts/bench --json: standard output is one JSON document, whatever the service and its children print."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.paths import ROOT

NOISY = """
import os, sys
sys.path.insert(0, "scripts")
import figures

def noisy(pairs):
    print("setup: a line of our own")
    os.system("echo a line of a child")
    return figures.figure("noisy", [2.0] * pairs, [1.0] * pairs)

figures.FIGURES = {"noisy": noisy}
sys.argv = ["bench", "--json", "--pairs", "3"]
sys.exit(figures.main())
"""


def test_json_on_standard_output_is_all_that_is_there() -> None:
    done = subprocess.run([sys.executable, "-c", NOISY], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["figures"] == [
        {"name": "noisy", "ours": 2.0, "other": 1.0, "ratio": 2.0, "pairs": 3}
    ]
    assert "a line of a child" in done.stderr
