"""A proxy for as many environments as there can be, and one whose Engine gives it few open files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import docker
from pipeline.adapters.haproxy import open_files
from pipeline.adapters.haproxy.config import Routes, State
from pipeline.adapters.haproxy.proxy import Proxy
from pipeline.domain.environment import SLOTS, Slot
from pipeline.ports.clock import SystemClock
from tests.support.installation import own_settings

MOST = 1000  # environments: what PUSHLIVE_PORTS may have at most


@contextmanager
def proxy_of(docker_client: docker.DockerClient, name: str, data: Path, environments: int) -> Iterator[Proxy]:
    """One whose environments all have a release in both slots."""
    settings = own_settings(data, name, environments)
    proxy = Proxy(lambda: docker_client, settings, SystemClock())
    (data / "proxy").mkdir()
    proxy._folder.save(State("token", {number: routes(number) for number in range(environments)}))
    try:
        proxy.ensure()
        yield proxy
    finally:
        proxy.stop()


def routes(number: int) -> Routes:
    servers: dict[Slot, tuple[tuple[str, int], ...]] = {
        "blue": (("127.0.0.1", 1),),
        "green": (("127.0.0.1", 2),),
    }
    return Routes(f"app{number}-live", (f"app{number}.localhost",), "blue", servers)


def test_a_thousand_environments_come_up_and_switch(
    docker_client: docker.DockerClient, instance: str, base_images: None, tmp_path: Path
) -> None:
    with proxy_of(docker_client, f"{instance}-most", tmp_path, MOST) as proxy:
        for slot in SLOTS * 2:
            proxy.switch(MOST - 1, slot)
            assert proxy.serving(MOST - 1) == slot
        assert "open files is enough for" in proxy.examine()
        assert int(proxy._control.info("maxconn")) >= open_files.FEWEST


def test_connections_are_bound_to_the_limit_of_open_files(
    docker_client: docker.DockerClient, instance: str, base_images: None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(open_files, "wanted", lambda _: 1000)
    with proxy_of(docker_client, f"{instance}-few", tmp_path, 24) as proxy:
        assert proxy._control.info("ulimit-n") == "1000"
        assert proxy._control.info("maxconn") == str((1000 - open_files.OTHER - 24 * open_files.EACH) // 2)
        assert "is enough for 0 environments, and PUSHLIVE_PORTS has 24: few connections" in proxy.examine()
