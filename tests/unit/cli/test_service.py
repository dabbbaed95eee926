"""up, down, web and worker: what each asks of the service's runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.domain.accessories import AccessoryRef
from pipeline.domain.events import Said
from pipeline.runtime import bootstrap, lock, service
from tests.support.cli_stub import Told

pytest_plugins = ["tests.support.cli_stub"]


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What ``load_settings`` leaves in the environment is taken back after the test."""
    monkeypatch.setenv("PUSHLIVE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PUSHLIVE_CONFIG", "pipelines.yaml")
    return tmp_path / "data"


def test_up_runs_the_service_with_the_given_file(
    pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[Any] = []
    monkeypatch.setattr(service.Service, "run", lambda self: ran.append(self._settings.config))
    assert pushlive("up", "--config", "x.yaml").code == 0
    assert ran == [tmp_path / "x.yaml"]


@pytest.mark.parametrize(("words", "module"), [("web", "webhooks"), ("worker", "workers")])
def test_web_and_worker_become_their_module(
    words: str, module: str, pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[str] = []

    def become(name: str) -> None:
        became.append(name)
        raise SystemExit(3)

    monkeypatch.setattr(service, "_become", become)
    monkeypatch.setattr(service, "first_token", lambda settings, store: None)
    monkeypatch.setattr(
        bootstrap, "store", lambda settings: type("Store", (), {"healthy": lambda self: True})()
    )
    with pytest.raises(SystemExit):
        pushlive(words)
    assert became == [module]


def test_down_stops_the_service_and_all_removes_the_applications(
    pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    assert pushlive("down") == (0, "No service is running here.\n", "")
    monkeypatch.setattr(lock, "stop_holder", lambda folder, timeout: folder == data)
    assert pushlive("down") == (0, "The service has stopped.\n", "")
    monkeypatch.setattr(bootstrap, "remove_everything", lambda settings: iter([Said("removed the proxy")]))
    told = pushlive("down", "--all")
    assert told.code == 0
    assert told.out == (
        f"The service has stopped.\nremoved the proxy\nKept the images, and data and repositories in {data}.\n"
    )


def test_down_says_what_it_could_not_remove_and_ends_with_a_code_that_says_so(
    pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [Said("! hello/live was not removed: Docker says no.", left=True), Said("removed hello/dev")]
    monkeypatch.setattr(bootstrap, "remove_everything", lambda settings: iter(said))
    told = pushlive("down", "--all")
    assert told.code == 1
    assert "hello/live was not removed: Docker says no." in told.out
    assert "removed hello/dev" in told.out
    assert "`pushlive down --all` goes on where it had to stop." in told.err


def test_down_promises_a_start_only_of_accessories_that_are_in_use(
    pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    halted: list[AccessoryRef] = []
    of_accessories = SimpleNamespace(
        accessories=lambda: [AccessoryRef("shop-db", "live")], halt_accessory=halted.append
    )
    nothing = SimpleNamespace(environments=tuple, volumes=tuple)
    engine = SimpleNamespace(accessories=of_accessories, slots=nothing, volumes=nothing)
    monkeypatch.setattr(bootstrap, "_in_use", lambda settings: frozenset({"docker"}))
    monkeypatch.setattr(bootstrap, "_engines", lambda settings: SimpleNamespace(of=lambda key: engine))
    monkeypatch.setattr(bootstrap, "_proxy_of", lambda settings, key: None)
    out = pushlive("down", "--all").out
    assert halted == [AccessoryRef("shop-db", "live")]
    assert "its data stay, and the next `pushlive up` starts it again if it is in use\n" in out
