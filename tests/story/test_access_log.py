"""The access log: what is written of a request, and who is told that there is none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import PushliveError, RequestError, StoreUnavailable
from pipeline.lib.secret import Secret
from pipeline.runlog.access.files import AccessFiles, last
from tests.unit.runlog.access.test_access_lines import SAID
from workers.access_log import FRESH, MASKED, AccessLog


def datagram(index: int, slot: str, **other: Any) -> bytes:
    return json.dumps({**SAID, "env": f"e{index}", "slot": f"e{index}-{slot}", **other}).encode()


def writer(world) -> AccessLog:
    return AccessLog(world.store, world.services.vault, AccessFiles(world.settings.data, 0, 0))


def written(world, environment: str = "live") -> list[dict[str, Any]]:
    return [json.loads(one) for one in last(world.settings.data, "hello", environment, 100)]


def test_each_request_is_with_its_environment_and_the_release_in_its_slot(world):
    world.push("one")
    log = writer(world)
    live, dev = world.environment("live"), world.environment("dev")
    log.take(
        [datagram(live.index, live.active), datagram(dev.index, dev.active), b"{", datagram(99, "blue")], 0.0
    )
    assert [one["release"] for one in written(world)] == ["r1"]
    assert len(written(world, "dev")) == 1
    world.push("two")
    after = world.environment("live")
    log.take([datagram(after.index, after.active), datagram(after.index, live.active)], 2 * FRESH)
    assert [one["release"] for one in written(world)] == ["r1", "r2", "r1"]


def test_a_new_secret_is_masked_within_seconds(world):
    world.push("one")
    log, live = writer(world), world.environment("live")
    path = "/reset?token=hunter2-hunter2"
    log.take([datagram(live.index, live.active)], 0.0)
    world.commands.set_secret("hello", "ann", "TOKEN", Secret("hunter2-hunter2"))
    log.take([datagram(live.index, live.active, path=path)], MASKED)
    assert written(world)[-1]["path"] == "/reset?token=•••"


def test_without_the_store_lines_are_lost_and_that_is_said(world, monkeypatch):
    world.push("one")
    live = world.environment("live")

    def away() -> list[str]:
        raise StoreUnavailable("the store does not answer.")

    monkeypatch.setattr(world.store, "pipelines", away)
    with pytest.raises(PushliveError):
        writer(world).take([datagram(live.index, live.active)], 0.0)
    assert written(world) == []


def test_who_asks_without_an_access_log_is_told_how_to_get_one(world):
    world.push("one")
    with pytest.raises(RequestError, match="no access log is kept") as told:
        world.tools.access_log("hello", environment="live", lines=5, follow=False)
    assert "PUSHLIVE_ACCESS_LOG" in told.value.advice
