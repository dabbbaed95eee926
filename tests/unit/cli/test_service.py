"""up, down, web and worker."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.cli_stub import Told

pytest_plugins = ["tests.support.cli_stub"]


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["up", "--config", "x.yaml"], ("up", "x.yaml")),
        (["web"], ("web", None)),
        (["worker"], ("worker", None)),
        (["down"], ("down", False)),
        (["down", "--all"], ("down", True)),
    ],
)
def test_the_service_is_the_supervisors(
    words: list[str], call: tuple[str, Any], pushlive: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.runtime import supervisor

    calls: list[tuple[str, Any]] = []

    def taken(name: str, *arguments: Any) -> int:
        given = arguments[0] if arguments else None
        calls.append((name, getattr(given, "config", given)))
        return 3

    for name in ("up", "web", "worker", "down"):
        monkeypatch.setattr(supervisor, name, lambda *arguments, name=name: taken(name, *arguments))
    assert pushlive(*words).code == 3
    assert calls == [call]
