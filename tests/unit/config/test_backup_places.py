"""Where copies of backups may go."""

from __future__ import annotations

import pytest

from pipeline.config import loading
from pipeline.config.settings import load
from pipeline.config.workload import machine_lint
from pipeline.config.workload.backup import Destination
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://backups", ("backups", "")),
        ("s3://backups/", ("backups", "")),
        ("s3://my.backups/shop/live/", ("my.backups", "shop/live")),
        ("ssh://b@example.com/shop", None),
    ],
)
def test_a_bucket_has_a_name_and_a_folder(url: str, place: tuple[str, str] | None) -> None:
    assert Destination(url=url).s3 == place


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3://a", "s3://UPPER/x", "s3://b$(id)/x", "s3://bucket//x", "s3://bucket/../x", "s3://bucket/./x",
     "s3:bucket", "https://bucket/x", "s3://bucket/a b", "ssh://h/../x"],
)  # fmt: skip
def test_what_is_no_place_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not a place for backups"):
        Destination(url=url)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"PUSHLIVE_S3_ENDPOINT": "s3.example.com"}, "PUSHLIVE_S3_ENDPOINT"),
        ({"PUSHLIVE_S3_ENDPOINT": "https://s3.example.com/path"}, "without a path"),
        ({"PUSHLIVE_S3_ADDRESSING": "host"}, "path or virtual"),
        ({"PUSHLIVE_S3_ACCESS_KEY": "key"}, "set both"),
    ],
)
def test_settings_that_do_not_fit_are_said(given: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(given)


SHOP = """\
accessories:
  db: {image: "postgres:15", backup: {run: [pg_dump], to: "s3://backups/db"}}
pipelines:
  shop:
    uses: {db: db}
    service: {volumes: {data: {path: /data, backup: {to: "s3://backups/shop"}}}}
    environments: {dev: , live: }
"""


def test_check_says_that_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    config = loading.load(SHOP, "pipelines.yaml")
    assert list(machine_lint.object_store(config)) == []
    monkeypatch.setattr(machine_lint, "is_installed", lambda: False)
    found = list(machine_lint.object_store(config))
    assert [one.path for one in found] == [
        "pipelines.shop.service.volumes.data.backup.to",
        "accessories.db.backup.to",
    ]
    assert all("pip install 'pushlive[s3]'" in one.text for one in found)
