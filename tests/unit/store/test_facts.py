"""Facts and their audit entries, and the current configuration."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.domain import audit_chain
from pipeline.errors import ConfigError
from pipeline.store import Store
from pipeline.store.configurations import Configurations

CONFIG = "pipelines: {hello: {environments: {live: }}}\n"


def entry(before: str) -> audit_chain.Entry:
    return audit_chain.entry("ann", "change", 1.0, detail=f"from {before or 'nothing'}")


def test_a_changed_fact_is_recorded_once(store: Store) -> None:
    assert store.facts.change("colour", "blue", entry)
    assert not store.facts.change("colour", "blue", entry)
    assert store.facts.change("colour", "green", entry)
    assert store.facts.get("colour") == "green"
    while store.audit.move():
        continue
    details = [(audit_chain.read(line) or {}).get("detail") for line in store.audit.lines()]
    assert details == ["from nothing", "from blue"]


def test_a_fact_that_is_not_set_is_empty(store: Store) -> None:
    assert store.facts.get("colour") == ""


def test_the_last_valid_configuration_stays_in_force_while_the_file_is_wrong(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "pipelines.yaml"
    configurations = Configurations(store, file)
    with pytest.raises(ConfigError):
        configurations.current()
    file.write_text(CONFIG)
    digest, config = configurations.current()
    assert set(config.pipelines) == {"hello"}
    file.write_text("pipelines: [\n")
    assert configurations.current() == (digest, config)
    assert "pipelines.yaml" in configurations.problem()
    file.unlink()
    assert configurations.current() == (digest, config)
    assert "there is no file" in configurations.problem()
    file.write_text(CONFIG.replace("live", "qa"))
    assert configurations.current()[0] != digest
    assert configurations.problem() == ""
    assert configurations.by_hash(digest) == config


@pytest.mark.parametrize(
    ("text", "advice"), [("", "`pushlive init` writes one."), ("pipelines: [", "Correct it;")]
)
def test_without_any_valid_configuration_it_is_said_what_to_do(
    store: Store, tmp_path: Path, text: str, advice: str
) -> None:
    file = tmp_path / "pipelines.yaml"
    if text:
        file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        Configurations(store, file).current()
    assert raised.value.advice.startswith(advice)


def test_an_unchanged_file_is_not_read_again(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "pipelines.yaml"
    file.write_text(CONFIG)
    configurations = Configurations(store, file)
    assert configurations.refresh()
    stat = file.stat()
    file.write_text(CONFIG.replace("hello", "other"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not configurations.refresh()
