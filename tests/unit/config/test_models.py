"""The models of the configuration: what an environment inherits, and what is accepted at all."""

import subprocess

import pytest

from pipeline.config import validators
from pipeline.config.checks import HttpCheck, TcpCheck
from pipeline.config.loading import load
from pipeline.config.models import (
    Config,
    Environment,
    Pipeline,
    Registry,
    Rendered,
    Service,
    Where,
    safe_path,
)
from pipeline.lib import codec

TEXT = """
budget: {deploy: 4m}
pipelines:
  hello:
    service: {port: 9000, env: {A: pipeline, B: pipeline}, replicas: 2}
    smoke: [{get: /healthz}]
    environments:
      dev:
      qa: {env: {B: qa, C: qa}, replicas: 1, smoke: []}
      live: {host: a.example, hosts: [b.example, a.example], promote: manual}
  other:
    source: {url: "https://git.example.com/other.git"}
    environments: {live: {}}
    budget: {deploy: 1m}
"""


@pytest.fixture(scope="module")
def config() -> Config:
    return load(TEXT)


def test_an_environment_differs_only_by_its_own_keys(config: Config) -> None:
    pipeline = config.pipelines["hello"]
    assert pipeline.render("dev").service == pipeline.service
    assert pipeline.render("qa").service == Service(
        port=9000, replicas=1, env={"A": "pipeline", "B": "qa", "C": "qa"}
    )


def test_an_environments_smoke_checks_replace_those_of_the_pipeline(config: Config) -> None:
    pipeline = config.pipelines["hello"]
    assert pipeline.render("dev").smoke == (HttpCheck(get="/healthz"),)
    assert pipeline.render("qa").smoke == ()


def test_host_and_hosts_are_one_list_without_repetition(config: Config) -> None:
    assert config.pipelines["hello"].render("live").hosts == ("a.example", "b.example")


def test_stages_budget_and_repository_have_defaults(config: Config) -> None:
    assert config.pipelines["hello"].stages == ("build", "dev", "qa", "live")
    assert (config.budget_of("hello").deploy, config.budget_of("other").deploy) == (240, 60)
    assert (config.repository_of("hello"), config.repository_of("other")) == ("hello", "")


def test_equal_configuration_has_an_equal_fingerprint_whatever_the_order() -> None:
    one = Rendered(service=Service(env={"A": "1", "B": "2"}))
    two = Rendered(service=Service(env={"B": "2", "A": "1"}, port=8080))
    other = Rendered(service=Service(env={"A": "1", "B": "3"}))
    assert one.fingerprint() == two.fingerprint()
    assert one.fingerprint() != other.fingerprint()
    assert len(one.fingerprint()) == 16


def test_the_engine_changes_the_fingerprint_and_the_registry_does_not() -> None:
    plain = Rendered(service=Service())
    assert plain.fingerprint() == "b4f69f46f7314f41"  # as before there were engines
    others = [
        Rendered(service=Service(), engine=Where(kubernetes="a")),
        Rendered(service=Service(), engine=Where(kubernetes="a", ingress="nginx")),
        Rendered(service=Service(), engine=Where(kubernetes="a", namespace="b")),
        Rendered(service=Service(), engine=Where(docker="ssh://h")),
        Rendered(service=Service(security="strict")),
    ]
    assert len({one.fingerprint() for one in [plain, *others]}) == 6
    elsewhere = Rendered(service=Service(), registry=Registry(repository="r.example/x"))
    assert elsewhere.fingerprint() == plain.fingerprint()
    assert [codec.load(Rendered, codec.dump(one)) for one in [*others, elsewhere]] == [*others, elsewhere]


def test_rendered_configuration_survives_the_store(config: Config) -> None:
    rendered = Rendered(
        service=config.pipelines["hello"].render("qa").service,
        hosts=("a.example",),
        smoke=(HttpCheck(get="/", json_path={"a.0": 1, "b": None}), TcpCheck(tcp=80)),
    )
    again = codec.load(Rendered, codec.dump(rendered))
    assert again == rendered
    assert again.fingerprint() == rendered.fingerprint()


def test_models_are_frozen(config: Config) -> None:
    with pytest.raises(ValueError, match="frozen"):
        config.pipelines["hello"].service.port = 1  # type: ignore[misc]


def test_the_models_refuse_what_the_loader_refuses() -> None:
    with pytest.raises(ValueError, match="first stage"):
        Pipeline(environments={"build": Environment()})
    with pytest.raises(ValueError, match="not a path inside"):
        Pipeline.model_validate({"build": {"dockerfile": "../x"}, "environments": {"dev": None}})
    with pytest.raises(ValueError, match="not both"):
        Pipeline.model_validate(
            {"source": {"repository": "a", "url": "https://h/a"}, "environments": {"dev": None}}
        )


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        (".", True), ("a/b", True), ("./a", True), ("a..b", True), ("..a/b", True), (".docker/x", True),
        ("..", False), ("../a", False), ("a/..", False), ("a/../b", False), ("/a", False), ("", False),
        ("a\nb", False), ("a\0b", False), ("a\\..\\b", False), ("..\n", False), ("\u00e9/\u4e2d", True),
    ],
)  # fmt: skip
def test_fault_18_only_paths_inside_the_repository_are_safe(path: str, safe: bool) -> None:
    assert safe_path(path) is safe


BRANCHES = """
main|a/b|release/2.x|feature#1|a.b|a-b|é|日本|a@b|@a|a{b|a}b|a+b|a,b|x.lockx|a!b|a$b|a'b|(a)|a=b
a..b|a b|a~b|a^b|a:b|a?b|a*b|a[b|a\\b|/a|a/|a//b|.a|a/.b|a.|a.lock|a.lock/b|a@{b|@|-a|--upload-pack=x|HEAD
"""


@pytest.mark.parametrize("line", [0, 1])
def test_branch_names_are_valid_as_in_git(line: int) -> None:
    names = BRANCHES.strip().splitlines()[line].split("|")
    script = 'for n; do git check-ref-format --branch "$n" >/dev/null 2>&1 && echo y || echo n; done'
    said = subprocess.run(["sh", "-c", script, "sh", *names], capture_output=True, text=True, check=True)
    ours = ["y" if _accepted(name) else "n" for name in names]
    theirs = said.stdout.split()
    different = {name for name, us, git in zip(names, ours, theirs, strict=True) if us != git}
    assert different <= {"@", "HEAD"}  # where git's versions differ, we refuse
    assert set(ours) == {"yn"[line]}


def _accepted(name: str) -> bool:
    try:
        return validators.branch(name) == name
    except ValueError:
        return False


@pytest.mark.parametrize(
    "name", ["", "a\nb", "a\x7fb", "refs/heads/main", "x/" * 500 + "x", "x" * 241, "é" * 121, "a\udcff"]
)
def test_fault_13_unsafe_branch_names_are_refused(name: str) -> None:
    assert not _accepted(name)


def test_fault_15_long_and_foreign_branch_names_are_accepted() -> None:
    assert _accepted("x" * 240)
    assert _accepted("/".join(["x" * 240] * 4))
    assert _accepted("feature/🚀")
