"""The memory of the real server, while many ask for much at once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from tests.web.test_receivers import github, signed
from tests.web.test_server import VIEWER, Service, serving

MIB = 1 << 20


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path, pace=0.0, limits="real") as running:
        running.get("/api/status")
        yield running


def resident(service: Service, what: str) -> int:
    text = Path(f"/proc/{service.process.pid}/status").read_text()
    return int(text.partition(f"{what}:")[2].split()[0]) << 10


def growth(service: Service, ask: Callable[[], None]) -> tuple[int, int]:
    """Bytes that ``ask`` made the server's memory grow: at its highest, and afterwards."""
    before = resident(service, "VmRSS")
    Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")  # VmHWM starts again
    ask()
    found = resident(service, "VmHWM") - before, resident(service, "VmRSS") - before
    print(f"at most {found[0] / MIB:.0f} MiB more, afterwards {found[1] / MIB:.0f} MiB")  # noqa: T201 - by hand
    return found


def test_fault_02_many_viewers_who_ask_for_all_the_output_take_bounded_memory(service):
    def ask() -> None:
        path, token = "/api/pipelines/hello/output?lines=10000", {"Authorization": f"Bearer {VIEWER}"}
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: service.get(path, **token), range(72)))
        assert {status for status, _ in answers} <= {200, 503}
        assert all(len(body) > 2 * MIB for status, body in answers if status == 200)
        assert any(status == 200 for status, _ in answers)

    highest, afterwards = growth(service, ask)
    assert highest < 200 * MIB
    assert afterwards < 100 * MIB


def nested(size: int) -> bytes:
    """A push whose payload has as many values as are read, and is as long as the provider's limit."""
    values = [[{}] * 200_000, ["x" * 90] * 100_000]
    text = json.dumps(github(head_commit={"message": "x", "values": values}))
    return (text + " " * (size - len(text))).encode()


@pytest.mark.parametrize("form", [False, True])
def test_fault_02_signed_webhooks_of_the_largest_size_take_bounded_memory(service, form):
    body, kind = nested(24 * MIB), "application/json"
    if form:
        body, kind = (
            b"payload=" + quote_plus(nested(8 * MIB), safe="").encode(),
            "application/x-www-form-urlencoded",
        )
    headers = signed(body, **{"Content-Type": kind})

    def ask() -> None:
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda _: service.get("/hooks/github", body, **headers)[0], range(16)))
        assert set(statuses) <= {202, 503}
        assert 202 in statuses

    highest, afterwards = growth(service, ask)
    assert highest < 250 * MIB
    assert afterwards < 100 * MIB


def test_fault_02_many_large_bodies_share_one_budget(service):
    body = os.urandom(20 * MIB)

    def ask() -> None:
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: service.get("/hooks/github", body)[0], range(32)))
        assert set(statuses) <= {401, 429, 503}

    assert growth(service, ask)[0] < 150 * MIB
