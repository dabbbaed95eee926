"""Where the configuration is, as it is written in PUSHLIVE_CONFIG."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import loading
from pipeline.config.place.repository import ConfigRepository, deployed_from, hosted, place
from pipeline.config.settings import load
from pipeline.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pipelines.yaml", Path("pipelines.yaml")),
        ("git:ops/pipelines.yaml", ConfigRepository("ops")),
        ("git:ops", ConfigRepository("ops")),
        ("git:ops/live/a.yaml", ConfigRepository("ops", path="live/a.yaml")),
        ("git:ops#release:a.yaml", ConfigRepository("ops", branch="release", path="a.yaml")),
        ("git:https://h/a/ops.git", ConfigRepository("", "https://h/a/ops.git")),
        ("git:https://h/a/ops.git#x", ConfigRepository("", "https://h/a/ops.git", "x")),
        ("git:git@h:a/ops.git#x:b.yaml", ConfigRepository("", "git@h:a/ops.git", "x", "b.yaml")),
    ],
)
def test_a_place_is_read_and_written_as_people_write_it(text, found):
    assert place(text) == found
    assert place(str(found)) == found
    assert load({"PUSHLIVE_CONFIG": text}).config == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("git:", "names no repository"),
        ("git:-x/y", "is not a repository name"),
        ("git:ops/../x", "is not a path inside the repository"),
        ("git:ops#a..b", "which git allows in no branch name"),
        ("git:ops#-x", "begins with `-`"),
        ("git:https://u:secret@h/x", "contains a password"),
        ("git:ext::sh -c x", "is not a repository name"),
    ],
)
def test_a_wrong_place_is_said(text, said):
    with pytest.raises(ConfigError, match="PUSHLIVE_CONFIG") as error:
        load({"PUSHLIVE_CONFIG": text})
    assert said in str(error.value)
    assert "secret" not in str(error.value)


def test_pipelines_of_the_configurations_own_repository_are_named():
    config = loading.load(
        "pipelines:\n"
        "  ops: {environments: {live: }}\n"
        "  other: {source: {repository: ops}, environments: {live: }}\n"
        "  away: {source: {url: 'git@h:a/ops.git'}, environments: {live: }}\n"
    )
    assert list(deployed_from(config, ConfigRepository("ops"))) == ["ops", "other"]
    assert list(deployed_from(config, ConfigRepository("", "https://h/a/ops"))) == ["away"]
    assert list(deployed_from(config, Path("pipelines.yaml"))) == []
    assert (hosted(ConfigRepository("ops")), hosted(Path("ops"))) == ("ops", "")
