"""The limit of open files: what HAProxy needs, and what is done if the Engine does not give it."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.adapters.docker_api.errors import DockerRefused
from pipeline.adapters.haproxy.open_files import launch, report, room, wanted

BODY = {"Image": "haproxy:2.6", "HostConfig": {"NetworkMode": "host"}}


class Engine:
    """``may``: it may raise limits; ``works``: what it starts does not fail for another reason."""

    def __init__(self, may: bool = True, works: bool = True) -> None:
        self.may, self.works = may, works
        self.there: dict[str, Any] = {}
        self.started: list[Any] = []

    def create(self, name: str, body: Any) -> str:
        assert name not in self.there
        self.there[name] = body
        return name

    def start(self, name: str) -> None:
        body = self.there[name]
        if not self.works or ("Ulimits" in body["HostConfig"] and not self.may):
            raise DockerRefused("Starting", 500, "refused")
        self.started.append(body)

    def remove(self, name: str) -> None:
        del self.there[name]


def test_the_limit_is_set_if_the_engine_may_set_it() -> None:
    engine: Any = Engine()
    launch(engine, "proxy", BODY, 1000)
    assert [body["HostConfig"]["Ulimits"][0]["Hard"] for body in engine.started] == [wanted(1000)]
    assert BODY["HostConfig"] == {"NetworkMode": "host"}


def test_the_engines_own_limit_is_taken_if_it_may_set_none() -> None:
    engine: Any = Engine(may=False)
    furnished: list[str] = []
    launch(engine, "proxy", BODY, 1000, furnish=furnished.append)
    [body] = engine.started
    assert "Ulimits" not in body["HostConfig"]
    assert furnished == ["proxy", "proxy"]


def test_another_reason_is_reported() -> None:
    engine: Any = Engine(works=False)
    with pytest.raises(DockerRefused):
        launch(engine, "proxy", BODY, 1)


@pytest.mark.parametrize(("files", "fit"), [(1024, 0), (20_000, 5850), (2_448 + 3, 1), (1 << 20, 348709)])
def test_the_limit_says_how_many_environments_fit(files: int, fit: int) -> None:
    assert room(files) == fit
    assert f"its limit of {files} open files is enough for {fit} environments" in report("p", files, 1)
    assert ("LimitNOFILE" in report("p", files, 1)) == (fit == 0)
