"""``pushlive backups``: what it says where there is none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.cli.app.backups import backups


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        ("", "Nothing has a `backup` key in pipelines.yaml."),
        ("shop-db", "Nothing of shop-db has a `backup` key in pipelines.yaml."),
    ],
)
def test_what_has_none_is_named(owner: str, said: str) -> None:
    out: list[str] = []
    terminal = SimpleNamespace(say=lambda *lines: out.extend(lines))
    other = {"owner": "hello", "kept": []}
    answer = {"backups": [other] if owner else [], "accessories": [{"name": "shop-db"}]}
    context: Any = SimpleNamespace(
        args=SimpleNamespace(owner=owner), json=False, terminal=terminal, ask=lambda *_: answer
    )
    assert backups.function
    assert backups.function(context) == 0
    assert out == [said]
