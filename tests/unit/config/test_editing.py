from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.editing.text import with_value
from pipeline.errors import ConfigError

TEXT = """\
# ours
pipelines:
    hello:              # the first one
        service: {port: 8080,   env: {A: "x"}}
        environments:
            dev:
            qa: {}
            live:
                promote: manual   # by a person
                command: [./serve,  -v]
                env:
                    B: 'q'   # why

            # the end
"""
LIVE = ("pipelines", "hello", "environments", "live")


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        ((*LIVE, "promote"), "auto", "promote: manual   #", "promote: auto   #"),
        ((*LIVE, "replicas"), "3", "promote: manual", "replicas: 3\n                promote: manual"),
        ((*LIVE, "env", "B"), '"it\'s"', "B: 'q'   #", 'B: "it\'s"   #'),
        ((*LIVE, "env", "NO"), "1", "B: 'q'", "\"NO\": 1\n                    B: 'q'"),
        ((*LIVE, "command"), "[./serve]", "[./serve,  -v]", "[./serve]"),
        ((*LIVE[:3], "dev", "replicas"), "2", "dev:", "dev: {replicas: 2}"),
        ((*LIVE[:3], "qa", "env", "C"), "x", "qa: {}", "qa: {env: {C: x}}"),
        ((*LIVE[:3], "new", "replicas"), "2", "dev:", "new: {replicas: 2}\n            dev:"),
        ((*LIVE[:2], "service", "env", "B"), "", '{A: "x"}', '{B: "", A: "x"}'),
        ((*LIVE[:2], "service", "port"), "80", "8080", "80"),
    ],
)
def test_a_value_is_put_in_and_everything_else_stays(
    path: tuple[str, ...], value: str, before: str, after: str
) -> None:
    assert with_value(TEXT, path, value) == TEXT.replace(before, after, 1)


@pytest.mark.parametrize(
    ("text", "path", "value", "said"),
    [
        (TEXT, (*LIVE, "env"), "x", "over several lines"),
        (TEXT, (*LIVE, "promote", "x"), "x", "it is not a mapping"),
        (TEXT, (*LIVE, "replicas"), "3\nx: 1", "is not a value"),
        (TEXT, (*LIVE, "replicas"), "[1", "is not a value"),
        (TEXT, (*LIVE, "replicas"), "1, 2", "is not a value"),
        (TEXT, (*LIVE, "replicas"), "3 # x", "is not a value"),
        ("a: |\n  text\n", ("a",), "x", "over several lines"),
        ("", ("a",), "x", "has no keys"),
        ("a: &x 1\nb: *x\n", ("b",), "2", "does not change"),
    ],
)
def test_what_cannot_be_put_in_safely_is_refused(
    text: str, path: tuple[str, ...], value: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        with_value(text, path, value)


SCALARS = st.one_of(st.integers(), st.booleans(), st.none(), st.text("ab:#{}[],'\" -é", max_size=8))
DATA = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        SCALARS, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6
    ),
    max_size=3,
)


@given(
    DATA,
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=3),
    st.booleans(),
    st.sampled_from(["3", '"x: #"', "[1, 2]"]),
)
def test_any_file_has_the_value_or_is_refused(data: dict, path: list[str], flow: bool, value: str) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow or None)
    try:
        found = yaml.safe_load(with_value(text, tuple(path), value))
    except ConfigError:
        return
    for key in path:
        found = found[key]
    assert found == yaml.safe_load(value)
