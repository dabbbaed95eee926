"""Accessories and the engines of those that use them."""

from __future__ import annotations

import pytest

from pipeline.config.loading import load
from pipeline.errors import ConfigError

TEXT = """\
accessories:
  shop-db: {image: "postgres:15"PORT}
pipelines:
  shop:
    registry: registry.example.com/shop
    uses: {db: shop-db}
    environments:
      dev:
      live: {engine: kubernetes}
  stats:
    registry: registry.example.com/stats
    uses: {db: shop-db}
    environments:
      live: {engine: kubernetes}
"""


def test_one_on_a_cluster_needs_the_port_that_its_service_passes_on() -> None:
    assert load(TEXT.replace("PORT", ", port: 5432")).accessories["shop-db"].port == 5432
    with pytest.raises(ConfigError) as raised:
        load(TEXT.replace("PORT", ""))
    assert raised.value.message.splitlines() == [
        "pipelines.yaml:2: accessories.shop-db: has no `port`, and runs on a cluster for shop/live, where it is "
        "reached only by ports that are named; write the one on which it listens, such as `port: 5432`"
    ]
