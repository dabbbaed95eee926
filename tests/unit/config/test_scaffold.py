"""The first pipelines.yaml, for the repository one stands in."""

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.loading import load, problems
from pipeline.config.models import Pipeline
from pipeline.config.repository_hints import exposed_port, health_path, warnings
from pipeline.config.scaffold import pipeline_name, starter
from pipeline.errors import ConfigError

DOCKERFILE = """
ARG PORT=9000
FROM node:20 AS build
EXPOSE 1234
FROM node:20
# EXPOSE 1
ENV PORT=3000 MODE="production"
expose 53/udp ${PORT}/tcp 4000
HEALTHCHECK --interval=5s \\
  CMD curl -fsS "http://localhost:3000/ready?deep=1" || exit 1
"""


BRANCHES = ["on", "1.0", "null", "a:b", "-x", "refs", "\x85"]
FOLDERS = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40
).filter(lambda text: text not in (".", ".."))


def made(folder: Path, name: str | None = None) -> tuple[str, Pipeline]:
    """The only pipeline of the starter's text: its name and what it says."""
    ((key, pipeline),) = load(starter(folder, name)).pipelines.items()
    return key, pipeline


def test_branch_dockerfile_port_and_health_come_from_the_repository(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop_2"
    subprocess.run(["git", "init", "-q", "-b", "release/1.x", str(folder)], check=True)
    (folder / "docker").mkdir()
    (folder / "docker" / "Dockerfile").write_text(DOCKERFILE)
    name, pipeline = made(folder)
    assert name == "my-shop-2"
    assert pipeline.source.branch == "release/1.x"
    assert pipeline.build.dockerfile == "docker/Dockerfile"
    assert pipeline.service.port == 3000
    assert pipeline.service.health.path == "/ready?deep=1"
    assert list(pipeline.environments) == ["dev", "qa", "live"]


def test_without_a_repository_and_a_dockerfile_the_defaults_are_written(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    name, pipeline = made(tmp_path / "x")
    assert (name, pipeline.source.branch, pipeline.build.dockerfile) == ("x", "main", "Dockerfile")
    assert (pipeline.service.port, pipeline.service.health.path) == (8080, "/")
    assert "There is none yet" in starter(tmp_path / "x")


def test_the_branch_of_a_worktree_is_found_and_a_detached_head_is_main(tmp_path: Path) -> None:
    work = tmp_path / "work"
    (tmp_path / "store").mkdir()
    work.mkdir()
    (work / ".git").write_text("gitdir: ../store\n")
    (tmp_path / "store" / "HEAD").write_text("ref: refs/heads/topic\n")
    assert made(work)[1].source.branch == "topic"
    (tmp_path / "store" / "HEAD").write_text("a" * 40 + "\n")
    assert made(work)[1].source.branch == "main"


def test_a_given_name_is_used_and_an_invalid_one_is_refused(tmp_path: Path) -> None:
    assert made(tmp_path, "shop")[0] == "shop"
    with pytest.raises(ConfigError, match="for example my-shop"):
        starter(tmp_path, "My Shop")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("hello", "hello"), ("Hello World", "hello-world"), ("2048", "app-2048"), ("---", "app"),
        ("日本", "app"),
        ("Café", "cafe"), ("a" * 50, "a" * 32), ("a" * 31 + "-b", "a" * 31), ("on", "on"), ("a__b", "a-b"),
    ],
)  # fmt: skip
def test_a_folders_name_becomes_a_valid_pipeline_name(folder: str, name: str) -> None:
    assert pipeline_name(folder) == name


@pytest.mark.parametrize(
    ("dockerfile", "port"),
    [
        ("", None), ("FROM a\nEXPOSE 80", 80), ("FROM a\nEXPOSE 53/udp", None), ("FROM a\nEXPOSE $P", None),
        ("FROM a\nARG P=81\nEXPOSE $P", 81), ("FROM a\nENV P 82\nEXPOSE ${P}", 82),
        ("FROM a\nEXPOSE 99999 83", 83),
        ("FROM a\nEXPOSE 80\nFROM b", None), (DOCKERFILE, 3000),
        ("FROM a\nEXPOSE 3000/TCP", 3000), ('FROM a\nEXPOSE "3000"', 3000), ("FROM a\nEXPOSE 3000-3005", 3000),
        ("FROM a\nENV P='3000' Q=x\nEXPOSE ${P}/tcp", 3000), ("FROM a\nEXPOSE ${P:-${Q:-3000}}", 3000),
        ("ARG P=3000\nFROM a\nARG P\nEXPOSE $P", 3000), ("FROM a\nEXPOSE 127.0.0.1:3000", 3000),
        ("FROM a AS x\nEXPOSE 3000\nFROM x", 3000), ("FROM nginx:1-alpine", 80), ("FROM php:8-fpm", None),
        ("FROM a AS b\nFROM docker.io/nginxinc/nginx-unprivileged AS x\nCOPY --from=b / /\n", 8080),
        ("FROM a\nEXPOSE ${P", None),
    ],
)  # fmt: skip
def test_the_port_comes_from_expose(dockerfile: str, port: int | None) -> None:
    assert exposed_port(dockerfile) == port


@pytest.mark.parametrize(
    ("dockerfile", "path"),
    [
        ("HEALTHCHECK CMD wget -q -O- http://127.0.0.1:8080/up", "/up"),
        ('HEALTHCHECK CMD ["curl", "-f", "http://localhost/a/b"]', "/a/b"),
        ("HEALTHCHECK CMD curl -f http://localhost:1/ || exit 1", "/"),
        ("HEALTHCHECK CMD ./check", ""), ("HEALTHCHECK NONE", ""), ("RUN curl http://h/x", ""),
    ],
)  # fmt: skip
def test_the_health_path_comes_from_healthcheck(dockerfile: str, path: str) -> None:
    assert health_path(dockerfile) == path


@settings(deadline=None, max_examples=25)
@given(
    folder=FOLDERS,
    branch=st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from(BRANCHES),
    dockerfile=st.text(max_size=60) | st.just(DOCKERFILE),
)  # fmt: skip
def test_the_result_loads_for_any_folder_branch_and_dockerfile(
    folder: str, branch: str, dockerfile: str
) -> None:
    with tempfile.TemporaryDirectory() as top:
        place = Path(top) / folder
        (place / ".git").mkdir(parents=True)
        (place / ".git" / "HEAD").write_text(f"ref: refs/heads/{branch}\n", encoding="utf-8")
        (place / "Dockerfile").write_text(dockerfile, encoding="utf-8", errors="replace")
        assert problems(starter(place)) == ()


@given(st.sampled_from(["on", "off", "yes", "no", "true", "false", "null", "y", "n", "x", "a-b"]))
def test_names_that_yaml_reads_as_other_types_are_quoted(name: str) -> None:
    assert made(Path("/nonexistent"), name)[0] == name
    assert made(Path("/nonexistent"), name)[1].source.repository == name


def test_it_names_no_file_that_is_only_in_this_repository(tmp_path: Path) -> None:
    assert "$schema" not in starter(tmp_path)


@pytest.mark.parametrize(
    ("files", "text", "build"),
    [
        (["api/main.py"], "FROM a\nCOPY main.py .\n", ("api", "Dockerfile")),
        (["main.py"], "FROM a\nCOPY main.py .\n", (".", "api/Dockerfile")),
        (["main.py", "api/x"], "FROM a\nCOPY api/ /api\n", (".", "api/Dockerfile")),
        ([], "FROM a\nCOPY . .\n", ("api", "Dockerfile")),
        (["api/x.json"], 'FROM a\nCOPY ["*.json", "./"]\n', ("api", "Dockerfile")),
    ],
)
def test_the_context_of_a_dockerfile_in_a_folder_is_where_its_files_are(
    tmp_path: Path, files: list[str], text: str, build: tuple[str, str]
) -> None:
    (tmp_path / "api").mkdir()
    for file in files:
        (tmp_path / file).write_text("")
    (tmp_path / "api" / "Dockerfile").write_text(text)
    found = made(tmp_path, "shop")[1].build
    assert (found.context, found.dockerfile) == build


def test_dockerfiles_that_were_not_chosen_are_named(tmp_path: Path) -> None:
    for name in ("web", "api"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "Dockerfile").write_text("FROM a\n")
    assert made(tmp_path, "shop")[1].build.context == "api"
    assert "Not used: web/Dockerfile." in starter(tmp_path, "shop")


def test_a_missing_dockerfile_of_the_repository_is_a_warning(tmp_path: Path) -> None:
    config = load(starter(tmp_path, "shop"))
    assert [*warnings(config, tmp_path)] == []  # not a repository: the file may be anywhere
    (tmp_path / ".git").mkdir()
    assert "pipelines.shop.build.dockerfile: there is no Dockerfile in" in str(
        next(warnings(config, tmp_path))
    )
    (tmp_path / "Dockerfile").write_text("FROM a\n")
    assert [*warnings(config, tmp_path)] == []


def test_volumes_of_the_dockerfile_are_a_warning(tmp_path: Path) -> None:
    config = load("pipelines: {shop: {environments: {live: }}}")
    (tmp_path / ".git").mkdir()
    (tmp_path / "Dockerfile").write_text('FROM a AS b\nVOLUME /gone\nFROM c\nVOLUME ["/data", "/more"]\n')
    lines = [str(line) for line in warnings(config, tmp_path)]
    assert [line.partition(";")[0] for line in lines] == [
        f"pipelines.shop.build.dockerfile: Dockerfile declares VOLUME {folder}"
        for folder in ("/data", "/more")
    ]
