from __future__ import annotations

from pipeline.adapters.haproxy.measuring.latencies import timed
from pipeline.domain.judging.latency.times import Timed, bucket_of

ANSWER = """\
Name: HAProxy
Uptime_sec: 1
Start_time_sec: 1795886823

# table: e3-blue, type: string, size:1024, used:4
0x555afd2e6768: key=5.58 use=0 exp=86399719 http_req_cnt=1
0x555afd2e6768: key=5.60 use=1 exp=86399719 http_req_cnt=7
0x7f8a6004ba18: key=1.9 use=0 exp=86399671 shard=0 http_req_cnt=2
0x7f8a6004bc88: key=3.-1 use=0 exp=86399730 http_req_cnt=1

"""


def test_counts_are_read_by_bucket() -> None:
    expected = {0: 2, bucket_of(0.0581): 8}
    assert timed(ANSWER, "e3-blue") == Timed(1795886823, expected)


def test_a_proxy_without_the_table_measures_nothing() -> None:
    assert timed("Start_time_sec: 1\n\nNo such table\n\n", "e3-blue") is None
    assert timed(ANSWER, "e3-green") is None


def test_a_table_without_an_entry_is_empty() -> None:
    assert timed(
        "Start_time_sec: 5\n\n# table: e0-blue, type: string, size:1024, used:0\n", "e0-blue"
    ) == Timed(5)
    assert timed("# table: e0-blue, type: string, size:1024, used:0\n", "e0-blue") == Timed(0)
