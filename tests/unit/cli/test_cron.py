"""``pushlive cron``: what a person sees of a schedule."""

from __future__ import annotations

from pipeline.cli.app.cron import process_lines


def plain(text: str, _style: str) -> str:
    return text


RUN = {
    "at": 1_800_000_000.0, "outcome": "failed", "release": 7, "started": 1_800_000_001.0, "ended": 1_800_000_004.0,
    "exit_code": 3, "output": ["connecting", "no route to host"], "said": "", "count": 1,
}  # fmt: skip
MISSED = {**RUN, "outcome": "missed", "release": 0, "started": 0.0, "exit_code": None, "output": [], "count": 6,
          "said": "the service did not run at that time"}  # fmt: skip


def test_runs_are_shown_with_their_result_and_the_last_one_s_output() -> None:
    one = {
        "environment": "live", "process": "mail", "cron": "0 * * * *", "zone": "UTC", "next": 1_800_003_600.0,
        "running": {"at": 1.0, "started": 1_800_000_100.0}, "waiting": None, "runs": [RUN, MISSED],
    }  # fmt: skip
    lines = process_lines(one, plain, 120)
    assert lines[0] == "live mail  0 * * * * UTC · next 2027-01-15 09:00:00 UTC"
    assert lines[1] == "  at work since 2027-01-15 08:01:40 UTC"
    [failed] = [line for line in lines if "failed" in line]
    assert failed.split() == [
        "2027-01-15",
        "08:00:00",
        "UTC",
        "failed",
        "3",
        "3.00s",
        "r7",
        "no",
        "route",
        "to",
        "host",
    ]
    [missed] = [line for line in lines if "missed" in line]
    assert "6 times · the service did not run at that time" in missed
    at = lines.index(failed)
    assert lines[at + 1 : at + 3] == ["    connecting", "    no route to host"], "below the run that said it"
    assert lines[-1] == missed


def test_a_process_that_is_no_longer_scheduled_is_said() -> None:
    one = {"environment": "live", "process": "mail", "cron": "", "zone": "", "next": None, "running": None,
           "waiting": None, "runs": []}  # fmt: skip
    assert process_lines(one, plain, 120)[0] == "live mail · not scheduled any more"
