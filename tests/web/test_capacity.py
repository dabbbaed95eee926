"""The page that says how much more fits, and the same on the command line."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient

from pipeline.domain.capacity.rows import COLUMNS, data_folder, rows, sentences
from tests.support.fake_service import FakeService
from tests.web.test_pages import log_in

GIB = 1 << 30
MACHINE: dict[str, Any] = {
    "engine": "docker", "name": "here", "monthly": 12.5, "looked": 1.8e9, "began": 1.79e9, "trend_from": 1.7905e9,
    "has": {"cores": 2.0, "memory": 8 * GIB, "disk": 100 * GIB},
    "promised": {"cores": 3.25, "memory": GIB},
    "used": {"cores": 0.71, "memory": 3 * GIB, "disk": 88 * GIB},
    "busiest": {"cores": 0.66, "memory": None},
    "disk_free": 12 * GIB, "takers": {"images": 9 * GIB, "volumes": 0, "build cache": 2 * GIB},
    "taken": {"serving": {"cores": 0.31, "memory": 402 << 20}, "warm": {"cores": 0.02, "memory": 96 << 20}},
    "idle": {"cores": 1.67, "memory": 7 * GIB}, "largest": {"cores": 0.58, "memory": 560 << 20}, "pipelines": 3,
    "fits": {"more": 4, "by": {"cores": 6, "memory": 22, "disk": 4}, "first": "disk",
             "size": {"cores": 0.19, "memory": 180 << 20, "disk": 3 * GIB}},
    "step": "the disk would have to grow first; one more machine like it costs 12.50 EUR a month",
    "unknown": [], "pressure": [],
}  # fmt: skip
CLUSTER = {
    **MACHINE,
    "engine": "kubernetes", "name": "the cluster kubernetes", "monthly": None, "trend_from": 1.9e9,
    "used": {"cores": None, "memory": None, "disk": None}, "takers": {}, "taken": {}, "idle": None, "largest": None,
    "fits": {"more": None, "by": {}, "first": "", "size": None}, "step": "",
    "unknown": ["what the nodes use needs the metrics API"], "pressure": ["the node <b>a</b> is short of disk"],
}  # fmt: skip
ROOM = {
    "machines": [MACHINE, CLUSTER],
    "rule": "A tenth stays free.",
    "data": {"path": "/data", "disk": GIB, "disk_free": 1, "takers": {"logs": 7, "git": 0}, "shared": True},
    "shortages": [
        {"text": "the disk of this machine will be full in about 5 days", "advice": "`pushlive gc` frees."}
    ],
}


def test_the_page_shows_each_machine_and_what_fills_up(client: FlaskClient, service: FakeService) -> None:
    service.room = ROOM
    text = log_in(client, "viewer").get("/capacity").get_data(as_text=True)
    for part in (
        "the disk of this machine will be full in about 5 days",
        "<code>pushlive gc</code> frees.",
        "4 more pipelines of today&#39;s size fit: the disk would have to grow first",
        "used by everything",
        "The disk has images 9 GiB, build cache 2 GiB.",
        "The data folder /data is on the same disk. It has logs 7 B.",
        "There is a trend from 2030-03-17",
        "what the nodes use needs the metrics API.",
        "the node &lt;b&gt;a&lt;/b&gt; is short of disk.",
    ):
        assert part in text, part
    assert "git" not in data_folder(ROOM["data"])  # type: ignore[arg-type]


def test_the_page_without_a_machine(client: FlaskClient) -> None:
    assert "No machine is in use." in log_in(client, "viewer").get("/capacity").get_data(as_text=True)


def test_rows_have_a_cell_for_each_column_and_say_what_is_not_known() -> None:
    for one in (MACHINE, CLUSTER):
        assert all(len(row.cells) == len(COLUMNS) for row in rows(one))
    cells = {row.name: row.cells for row in rows(MACHINE)}
    assert cells["has"] == ("2.00", "8 GiB", "100 GiB")
    assert cells["promised"] == ("3.25", "1 GiB", "")
    assert cells["in its largest hour"] == ("0.66", "?", "")
    assert cells["more that fit"] == ("6", "22", "4")
    assert {row.name: row.cells for row in rows(CLUSTER)}["used by everything"] == ("?", "?", "?")
    assert next(sentences({**MACHINE, "fits": {**MACHINE["fits"], "more": 1}})).startswith(
        "1 more pipeline of"
    )
    assert data_folder({"disk": None}) == ""
