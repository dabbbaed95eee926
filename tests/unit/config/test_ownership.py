"""Every key of pipelines.yaml has an owner, and only a maintainer's keys are refused to a developer."""

from __future__ import annotations

import copy
import re

import pytest

from pipeline.config.models import Config, Environment, Pipeline, Service
from pipeline.config.ownership import DEVELOPERS, OWNERS, Owner, maintainers
from pipeline.config.workload.kubernetes import Requests
from pipeline.config.workload.processes import Process
from pipeline.config.workload.release import ReleaseCommand
from tests.support.every_key import CHANGES, IN_FORCE, KEYS, MODELS, changed, named
from tests.support.paths import ROOT

read = Config.model_validate
BEFORE = read(IN_FORCE)
ROW = re.compile(r"^\| (.*) \| yes \| (yes|no) \|$", re.MULTILINE)


def test_every_key_has_an_owner() -> None:
    """A new key fails this until it is in OWNERS."""
    assert {model: set(OWNERS[model]) for model in MODELS} == {
        model: set(keys) for model, keys in MODELS.items()
    }


def test_every_key_is_tried() -> None:
    """A new key fails this until CHANGES has a value for it."""
    assert set(CHANGES) == set(KEYS)


@pytest.mark.parametrize("path", KEYS)
def test_a_developer_changes_only_what_the_table_gives_to_developers(path: str) -> None:
    model, key = KEYS[path]
    found = maintainers(BEFORE, read(changed(path)), "hello")
    if OWNERS[model][key] == Owner.DEVELOPER:
        assert found == ()
    else:
        assert named(path) in found


def test_what_changes_nothing_is_not_named() -> None:
    same = copy.deepcopy(IN_FORCE)
    hello = same["pipelines"]["hello"]
    same["pipelines"]["other"] = {"environments": {"elsewhere": None}}  # a run of hello reads nothing of it
    hello["service"].pop("secrets")
    for environment in hello["environments"].values():
        environment["secrets"] = ["GIVEN"]
    hello["budget"], hello["notify"] = copy.deepcopy(same["budget"]), copy.deepcopy(same["notify"])
    hello["build"]["dockerfile"] = "Dockerfile"
    assert maintainers(BEFORE, read(same), "hello") == ()


def test_the_table_in_the_documentation_has_every_key() -> None:
    table = (ROOT / "docs" / "security.md").read_text().partition("### Who may change the configuration")[2]
    rows = [(set(re.findall("`(.*?)`", keys)) - {"service"}, may) for keys, may in ROW.findall(table)]
    whole = {*Pipeline.model_fields, *Config.model_fields} - {"service"}
    assert rows == [
        (set(DEVELOPERS), "yes"),
        (set(Service.model_fields) - set(DEVELOPERS), "no"),
        (set(Environment.model_fields) - set(Service.model_fields), "no"),
        (whole, "no"),
    ]
    for model, owners in OWNERS.items():
        if model not in (Service, Environment, ReleaseCommand, Process, Requests):
            assert set(owners.values()) == {Owner.MAINTAINER}, model
