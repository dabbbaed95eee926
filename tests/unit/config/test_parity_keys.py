"""`parity` and `differs`, and the properties that an environment is compared by."""

from __future__ import annotations

import pytest

from pipeline.config import lint, loading
from pipeline.config.introspection import key_of
from pipeline.config.models import Config, Rendered, Service
from pipeline.config.parity.properties import CORE, covered, properties, reason_for
from pipeline.errors import ConfigError

FILE = """\
pipelines:
  shop:
    service: {{health: /healthz, {service}}}
    smoke: [{{get: /}}]
    environments:
      dev: {{{dev}}}
      live: {{{live}}}
"""


def config(dev: str = "", live: str = "", service: str = "env: {}") -> Config:
    return loading.load(FILE.format(dev=dev, live=live, service=service))


def warned(one: Config) -> list[str]:
    found = lint.warnings(one)
    texts = (text.removeprefix("pipelines.shop.environments.") for text in found)
    return [text for text in texts if "only one replica is live" not in text]


def test_a_reason_for_what_does_not_differ_is_said() -> None:
    assert warned(config(live="differs: {memory: so}")) == [
        "live.differs.memory: gives a reason, and nothing differs; remove it, or set what should differ"
    ]


def test_a_reason_for_what_there_is_not_is_said_with_the_command_that_prints_names() -> None:
    assert warned(config(live="differs: {memroy: so}")) == [
        "live.differs.memroy: no environment has such a property; `pushlive parity shop --all` prints their names"
    ]


def test_what_only_an_engine_knows_may_have_a_reason() -> None:
    reasons = "differs: {image: a, tls: b, engine.version: c, accessories.db.image: d}"
    assert warned(config(live=reasons)) == []


def test_a_reason_silences_what_is_said_of_environments_unlike_live() -> None:
    unlike = "memory: 64MiB, cpu: 2, command: [x], security: strict"
    [text] = warned(config(dev=unlike))
    assert text.startswith("dev: differs from live: memory 64 MiB instead of 256 MiB, cpu 2 instead of 1")
    [text] = warned(config(dev=unlike, live="differs: {memory: a, cpu: b, command: c}"))
    assert text.startswith("dev: differs from live: security strict instead of standard")
    assert warned(config(dev=f"{unlike}, differs: {{memory: a, cpu: b, command: c, security: d}}")) == []


@pytest.mark.parametrize("where", ["dev", "live"])
def test_a_reason_silences_what_is_said_of_one_replica_before_live(where: str) -> None:
    given = {"live": "replicas: 2"}
    assert len(warned(config(**given))) == 1
    given[where] = f"{given.get(where, '')}, differs: {{replicas: enough}}".strip(", ")
    assert warned(config(**given)) == []


def test_the_first_environment_has_none_to_be_compared_with() -> None:
    assert warned(config(dev="parity: block", live="parity: off")) == [
        "dev.parity: has no effect: there is no environment before it to be compared with"
    ]


@pytest.mark.parametrize(
    "wrong", ["parity: yes", "parity: strict", "differs: so", "differs: {Memory: x}", "differs: {memory: ''}",
              "differs: {'a b': x}"]
)  # fmt: skip
def test_what_is_wrong_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigError):
        config(live=wrong)


def test_neither_key_is_part_of_what_a_release_runs() -> None:
    plain, other = config(), config(live="parity: block, differs: {memory: so}")
    before, after = (one.pipelines["shop"].render("live").fingerprint() for one in (plain, other))
    assert before == after


# ── properties ───────────────────────────────────────────────────────────────


def test_each_key_of_a_service_is_a_property() -> None:
    found = properties(Rendered(service=Service(env={"A": "1"}, secrets=("B",))))
    by_name = {"env", "secrets", "volumes", "processes"}
    for name, spec in Service.model_fields.items():
        key = key_of(name, spec)
        assert key in by_name or covered(key, found), key
    assert {"env.A", "secrets.B"} <= found.keys()
    assert all(not found[key].unset for key in CORE)


def test_no_text_has_a_variables_value() -> None:
    found = properties(Rendered(service=Service(env={"A": "hunter2", "PASSWORD": "hunter2"})))
    assert "hunter2" not in repr(found)
    assert found["env.A"].text == "set"
    assert found["env.A"].same == found["env.PASSWORD"].same


def test_the_longest_reason_counts() -> None:
    differs = {"env": "all", "env.DEBUG": "this one"}
    assert reason_for(differs, "env.DEBUG") == "this one"
    assert reason_for(differs, "env.OTHER") == "all"
    assert reason_for(differs, "environment") == ""
    assert covered("env", ["env.A", "envoy", "env"]) == ["env.A", "env"]
