"""What a repository may have in it without being refused: links inside it, modules that no build reads."""

from __future__ import annotations

import pytest

from pipeline.errors import RequestError
from tests.integration.test_git_source import World, git, reading

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def linked(world: World, **links: str) -> None:
    for name, target in links.items():
        path = world.work / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)


def test_links_are_followed_inside_the_repository(world):
    linked(world, Dockerfile="docker/Dockerfile", app="services/app", services__app__deploy="../../docker")
    files = {"docker/Dockerfile": b"FROM a\n", "services/app/main": b"1"}
    commit = world.commit(**files)
    for path in ("Dockerfile", "app/deploy/Dockerfile", "services/app/deploy/Dockerfile"):
        assert world.source.read("hello", world.here, commit, path) == b"FROM a\n", path
        assert world.source.follow("hello", world.here, commit, path) == "docker/Dockerfile"
    assert world.source.follow("hello", world.here, commit, "Dockerfile.none") == "Dockerfile.none"
    assert world.source.read("hello", world.here, commit, "app/none") is None
    assert world.source.tree("hello", world.here, commit, "app") == git(
        world.work, "rev-parse", "HEAD:services/app"
    )
    with world.source.archive("hello", world.here, commit, "app") as stream, reading(stream) as tar:
        assert tar.getnames() == ["deploy", "main"]


@pytest.mark.parametrize("target", ["/etc/passwd", "../passwd", "a/../../passwd", "circle"])
def test_a_link_that_leads_out_or_nowhere_is_refused_with_its_name(world, target):
    linked(world, circle=target, a__x="y")
    commit = world.commit()
    for look in (world.source.read, world.source.follow, world.source.tree):
        with pytest.raises(
            RequestError, match=r"'circle' is a symbolic link.*(out of the repository|circle)"
        ):
            look("hello", world.here, commit, "circle")


def test_an_empty_gitmodules_and_a_submodule_outside_the_context_are_no_reason(world):
    commit = world.commit(**{".gitmodules": b"", "app/main": b"1"})
    assert world.source.unsupported("hello", world.here, commit, ".") == ""
    git(world.work, "update-index", "--add", "--cacheinfo", f"160000,{commit},vendor/other")
    (world.work / "vendor" / "other").mkdir(parents=True)  # as where a submodule was not fetched
    commit = world.commit()
    assert world.source.unsupported("hello", world.here, commit, "app") == ""
    assert "'vendor/other'" in world.source.unsupported("hello", world.here, commit, ".")
    assert "'vendor/other'" in world.source.unsupported("hello", world.here, commit, "vendor")


def test_the_newest_of_some_commits_before_a_head_is_found(world):
    first, second, third = (world.commit(text) for text in ("one", "two", "three [skip ci]"))
    assert world.source.commit("hello", world.here, third).skip
    for given, found in (({first, second}, second), ({first, "f" * 40}, first), (set(), "")):
        assert world.source.newest_of("hello", world.here, third, frozenset(given)) == found


def test_an_lfs_pointer_outside_the_context_is_no_reason(world):
    rules = b"*.psd filter=lfs diff=lfs merge=lfs -text\n"
    commit = world.commit(**{".gitattributes": rules, "design/x.psd": POINTER, "app/main": b"1"})
    assert world.source.unsupported("hello", world.here, commit, "app") == ""
    assert "'design/x.psd' is in Git LFS" in world.source.unsupported("hello", world.here, commit, ".")
