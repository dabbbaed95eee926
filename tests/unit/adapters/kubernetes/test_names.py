"""Names on a cluster: within its limits and unique, for any pipeline and environment."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.adapters.kubernetes import names
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import SLOTS
from tests.support.specs import slot_spec

# https://kubernetes.io/docs/concepts/overview/working-with-objects/names and …/labels
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
OBJECT = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
KEY = re.compile(r"pushlive/[a-z]{1,63}")

GENERATED = 58  # characters of a generated name before its random end (k8s.io/apiserver/pkg/storage/names)

LONG = "p" * 32, "e" * 32
HYPHENS = "p-" + "x" * 30, "e-" + "y" * 30
PAIRS = [("a", "b-c"), ("a-b", "c"), ("a", "blue"), ("a-blue", "c"), ("a", "green"), LONG, HYPHENS]
PAIRS += [("p" * 32, "e" * 31 + "f"), ("hello", "live"), ("hello-live", "pull"), ("hello-live", "blue")]

words = st.lists(st.text("ab1", min_size=1, max_size=9), max_size=3)
given_names = st.builds(lambda first, more: "-".join([first, *more]), st.sampled_from("abx"), words)
pairs = st.tuples(given_names, given_names)  # as `config.Name` allows them, up to 32 characters


def ref(pair: tuple[str, str], slot: str = "blue") -> SlotRef:
    return SlotRef(*pair, 0, slot, "kubernetes")


def spec(pair: tuple[str, str], slot: str = "blue", release: int = 1) -> SlotSpec:
    return slot_spec(ref(pair, slot), release, 1)


def services(pair: tuple[str, str]) -> set[str]:
    return {names.base(ref(pair)), *(names.slot_name(ref(pair, slot)) for slot in SLOTS)}


@given(pairs)
@example(LONG)
@example(HYPHENS)
def test_names_and_labels_are_within_the_clusters_limits(pair: tuple[str, str]) -> None:
    for name in services(pair):
        assert SERVICE.fullmatch(name), name
        assert len(f"{name}-{'h' * 10}-") <= GENERATED, (
            "a pod's name would be cut, and its ReplicaSet's not be in it"
        )
    for what in ("env", "secrets"):
        assert OBJECT.fullmatch(names.hashed_name(ref(pair), what, "0" * 16))
    for key, value in names.slot_labels("i" * 21, ref(pair)).items():
        assert KEY.fullmatch(key), key
        assert LABEL.fullmatch(value), value


@given(pairs, st.text(max_size=80), st.integers(1, 10**6))
@example(LONG, "release-123456", 10**6)
def test_a_commands_name_is_valid_for_a_pod(pair: tuple[str, str], name: str, release: int) -> None:
    made = names.command_name(spec(pair, release=release), name)
    assert SERVICE.fullmatch(made), made


def test_different_commands_have_different_names() -> None:
    made = [
        names.command_name(spec(pair, slot, release), name)
        for pair in (LONG, ("hello", "live"))
        for slot in SLOTS
        for release in (1, 11)
        for name in ("smoke-1-1", "smoke-1-11", "release-1", "release_1")
    ]
    assert len(set(made)) == len(made)


@given(pairs, pairs)
def test_no_two_environments_share_a_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert one == other or not services(one) & services(other)


@pytest.mark.parametrize(("one", "other"), list(combinations(PAIRS, 2)))
def test_no_two_environments_share_a_name_even_if_joined_they_look_alike(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert not services(one) & services(other)


@pytest.mark.parametrize("tail", ["abc123", "facade"])
def test_an_environment_named_like_a_hash_is_not_confused_with_another(tail: str) -> None:
    assert names.base(ref(("a-b-c", tail))) != f"a-b-c-{tail}"  # which `a-b` with `c-…` could have, too


def test_short_names_have_no_hash() -> None:
    assert names.base(ref(("hello", "live"))) == "hello-live"
    assert names.slot_name(ref(("my-app", "live"))) == "my-app-live-blue"


@pytest.mark.parametrize("slot", SLOTS)
def test_a_slot_ref_is_read_from_its_labels(slot: str) -> None:
    where = ref(("hello", "live"), slot)
    labels = {**names.slot_labels("pl", where), names.INDEX: "0"}
    assert names.slot_ref(labels, "kubernetes") == where
