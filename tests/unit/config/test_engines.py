"""A kind of engine is one record, and every engine has one key."""

from __future__ import annotations

import pytest

from pipeline.config.engines import (
    DOCKER,
    KINDS,
    KUBERNETES,
    LOCAL,
    REMOTE_DOCKER,
    EngineKind,
    Where,
    kind_of,
    where_of,
)


@pytest.mark.parametrize(
    ("where", "key", "kind"),
    [
        (Where(), "docker", LOCAL),
        (Where(docker=""), "docker", LOCAL),
        (Where(docker="ssh://u@h"), "docker:ssh://u@h", REMOTE_DOCKER),
        (Where(docker="tcp://h:2376"), "docker:tcp://h:2376", REMOTE_DOCKER),
        (Where(kubernetes=""), "kubernetes", KUBERNETES),
        (Where(namespace="n"), "kubernetes:/n", KUBERNETES),
        (Where(kubernetes="c"), "kubernetes:c/", KUBERNETES),
        (Where(kubernetes="a/b", namespace="n"), "kubernetes:a/b/n", KUBERNETES),
    ],
)
def test_an_engine_has_one_key_that_leads_back_to_it(where: Where, key: str, kind: EngineKind) -> None:
    assert (where.key, where.kind) == (key, kind)
    assert where_of(key) == where
    assert kind_of(key) is kind
    assert [one for one in KINDS if one.fits(where)] == [kind], "exactly one kind fits"


def test_the_ingress_class_is_shown_and_not_part_of_the_key() -> None:
    where = Where(kubernetes="c", ingress="nginx")
    assert (where.key, str(where)) == ("kubernetes:c/", "kubernetes:c/ with ingress nginx")


@pytest.mark.parametrize("key", ["", "podman", "podman:x", "dock", "Docker"])
def test_an_invalid_engine_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="not the key of an engine"):
        where_of(key)


def test_only_the_local_engine_needs_no_registry() -> None:
    assert [kind for kind in KINDS if kind.local] == [LOCAL]
    assert DOCKER == LOCAL.name == Where().key


def test_a_remote_engine_has_more_time_to_start() -> None:
    assert {kind.start_margin for kind in KINDS if not kind.local} == {300.0}
    assert LOCAL.start_margin == 60.0


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("docker", "hello-live on this machine"),
        ("docker:ssh://h", "hello-live on the Docker Engine at ssh://h"),
        ("kubernetes", "Service svc on Kubernetes"),
        ("kubernetes:/shop", "Service svc in the namespace shop"),
        ("kubernetes:prod/shop", "Service svc in the namespace shop of prod"),
        ("kubernetes:prod/", "Service svc on Kubernetes of prod"),
    ],
)
def test_the_place_of_an_environment_is_described(key: str, words: str) -> None:
    where = where_of(key)
    assert where.kind.inside(where, "hello-live", "svc") == words


def test_only_objects_in_a_shared_namespace_are_left_to_a_person() -> None:
    assert [kind for kind in KINDS if kind.cleanup_command] == [KUBERNETES]
    command = KUBERNETES.cleanup_command.format(pipeline="hello", environment="live")
    assert command.endswith("-l pushlive/pipeline=hello,pushlive/environment=live")
