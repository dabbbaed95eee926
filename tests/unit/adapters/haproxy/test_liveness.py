"""When the proxy is resumed, restarted, or left alone; on a container and a socket that say what they are told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.adapters.fake.clock import FakeClock
from pipeline.adapters.haproxy.liveness import AGAIN, SILENT, Liveness
from pipeline.errors import EngineAway
from pipeline.lib.sockets import DeadlineSocket


class Container:
    """``name`` as ``ProxyContainer``; ``done``: what it was told."""

    name = "here-proxy"

    def __init__(self) -> None:
        self.states = {"Running"}
        self.reached = True
        self.done: list[str] = []

    def has_state(self, name: str) -> bool:
        return name in self.states

    def resume(self) -> None:
        self.states.discard("Paused")
        self.done.append("resume")

    def restart(self) -> None:
        self.done.append("restart")

    def reachable(self) -> bool:
        return self.reached

    def no_commands(self) -> EngineAway:
        return EngineAway("no commands")


class Control:
    up = True

    def answers(self) -> bool:
        return self.up


class Scene:
    def __init__(self) -> None:
        self.container, self.control, self.clock = Container(), Control(), FakeClock()
        self.serves, self.far = True, list[socket.socket]()
        parts: Any = (self.container, self.control, self._connect, self.clock)
        self.liveness = Liveness(*parts)

    def _connect(self) -> DeadlineSocket:
        if not self.serves:
            raise TimeoutError
        near, far = socket.socketpair()
        far.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
        far.shutdown(socket.SHUT_WR)
        self.far.append(far)
        return DeadlineSocket.over(near)

    def hang(self) -> None:
        self.control.up = self.serves = False


@pytest.fixture
def scene() -> Iterator[Scene]:
    one = Scene()
    yield one
    for far in one.far:
        far.close()


def test_one_that_answers_is_left_alone(scene: Scene) -> None:
    assert scene.liveness.problem() is None
    assert scene.liveness.repair() == []
    assert scene.container.done == []


def test_fault_54_one_that_is_paused_is_resumed_at_once(scene: Scene) -> None:
    scene.container.states.add("Paused")
    assert "is paused" in str(scene.liveness.problem())
    assert scene.liveness.repair() == ["the proxy here-proxy was paused: it was resumed"]
    assert scene.liveness.problem() is None


def test_fault_54_one_that_answers_nothing_for_long_is_restarted(scene: Scene) -> None:
    scene.hang()
    with pytest.raises(EngineAway, match="neither commands nor requests"):
        scene.liveness.repair()
    scene.clock.sleep(SILENT)
    assert scene.liveness.repair() == [
        "the proxy here-proxy answered neither commands nor requests: it was restarted"
    ]
    assert scene.container.done == ["restart"]


def test_one_that_answers_in_between_begins_again(scene: Scene) -> None:
    scene.hang()
    with pytest.raises(EngineAway):
        scene.liveness.repair()
    scene.clock.sleep(SILENT)
    scene.control.up = scene.serves = True
    assert scene.liveness.repair() == []
    scene.hang()
    with pytest.raises(EngineAway):
        scene.liveness.repair()
    assert scene.container.done == []


def test_a_restart_that_does_not_help_is_not_repeated_at_once(scene: Scene) -> None:
    scene.hang()
    with pytest.raises(EngineAway):
        scene.liveness.repair()
    scene.clock.sleep(SILENT)
    scene.liveness.repair()
    for _ in range(3):
        with pytest.raises(EngineAway):
            scene.liveness.repair()
        scene.clock.sleep(SILENT)
    assert scene.container.done == ["restart"]
    scene.clock.sleep(AGAIN)
    scene.liveness.repair()
    assert scene.container.done == ["restart", "restart"]


def test_a_person_does_not_wait(scene: Scene) -> None:
    scene.hang()
    scene.liveness.repair(by_hand=True)
    assert scene.container.done == ["restart"]


@pytest.mark.parametrize(("commands", "requests"), [(True, False), (False, True)])
def test_one_that_answers_on_one_way_is_never_restarted(scene: Scene, commands: bool, requests: bool) -> None:
    scene.control.up, scene.serves = commands, requests
    for _ in range(3):
        with pytest.raises(EngineAway):
            scene.liveness.repair(by_hand=True)
        scene.clock.sleep(AGAIN)
    assert scene.container.done == []


def test_one_that_cannot_be_asked_is_never_restarted(scene: Scene) -> None:
    scene.hang()
    scene.container.reached = False
    for _ in range(3):
        with pytest.raises(EngineAway):
            scene.liveness.repair()
        scene.clock.sleep(AGAIN)
    assert scene.container.done == []


def test_one_that_does_not_run_is_left_to_those_who_start_it(scene: Scene) -> None:
    scene.container.states.clear()
    assert "does not run" in str(scene.liveness.problem())
    assert scene.liveness.repair() == []
    assert scene.container.done == []
