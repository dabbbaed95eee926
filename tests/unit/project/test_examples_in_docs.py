"""The pieces of ``pipelines.yaml`` in the documents are what this version reads."""

from __future__ import annotations

import re
import textwrap

import pytest
import yaml

from pipeline.config import loading
from pipeline.config.models import Config, Pipeline, Service
from tests.support.paths import ROOT

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
]
BLOCKS = [
    pytest.param(textwrap.dedent(block), id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    )
]
# What a piece of a page does not repeat.
ANY: dict[str, object] = {
    "registry": "registry.example.com/team/hello",
    "service": {"volumes": {"data": "/app/data"}},
    "environments": {"live": {}},
}
OTHERS = {"scrape_configs", "alert", "apiVersion"}  # Prometheus's, and a cluster's


def whole(piece: dict[str, object]) -> dict[str, object]:
    """The configuration that it is a piece of."""
    keys = set(piece)
    if "pipelines" in keys:
        return piece
    if keys <= set(Config.model_fields):
        return {**piece, "pipelines": {"hello": ANY}}
    if not keys <= set(Pipeline.model_fields):
        piece = {"service": piece if keys <= set(Service.model_fields) else {"processes": piece}}
    return {"pipelines": {"hello": {**ANY, **piece}}}


@pytest.mark.parametrize("block", BLOCKS)
def test_it_is_accepted(block: str) -> None:
    piece = yaml.safe_load(block)
    first = piece[0] if isinstance(piece, list) else piece
    if not OTHERS & set(first):
        loading.load(yaml.safe_dump(whole(piece), sort_keys=False), "pipelines.yaml")


def test_every_page_of_the_guides_that_has_keys_shows_them() -> None:
    found = {str(one.id).rpartition("-")[0] for one in BLOCKS}
    assert {page.stem for page in (ROOT / "docs" / "guides").glob("*.md")} - found <= {
        "tools",
        "timings",
        "logs",
        "evidence",
        "setting",
        "configuration-in-git",
        "monitoring",
        "maintenance",
    }
