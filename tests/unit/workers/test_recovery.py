"""What the keeper's process writes into its log."""

from __future__ import annotations

import pytest

from workers.recovery import _report


def test_each_line_of_a_report_is_a_record_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    _report("pipelines.yaml:3: unknown key\npipelines.yaml:7: not a duration")
    assert [record.getMessage() for record in caplog.records] == [
        "pipelines.yaml:3: unknown key",
        "pipelines.yaml:7: not a duration",
    ]
