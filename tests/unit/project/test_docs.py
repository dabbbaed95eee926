"""The documents say what is: links lead somewhere, commands, settings and dependencies are those of the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli.main import COMMANDS
from pipeline.config import loading
from pipeline.config.settings import _FOREIGN, Secret, Settings
from pipeline.runtime.embedded_store import _command
from tests.support.paths import ROOT

TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCS = [*TOP, *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = {f"PUSHLIVE_{name.upper()}": spec for name, spec in Settings.model_fields.items()}
SENDING = {"PUSHLIVE_NOTIFY_SECRET"}
BACKUPS = {"PUSHLIVE_S3_SECRET_KEY"}  # made by the keeper, and by the web process when a person asks
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    return found


@pytest.mark.parametrize("path", DOCS, ids=names)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_the_files_to_touch_exist() -> None:
    named = re.findall(r"`([\w.-]+/[\w./-]*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 40
    assert [one for one in named if not any((ROOT / top / one).exists() for top in ("", "pipeline"))] == []


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=names)
def test_commands_and_scripts_exist(path: Path) -> None:
    text = path.read_text()
    words = re.findall(r"(?:`|\$ |^)pushlive ([a-z]+)\b", "\n".join(code(text)), re.M)
    assert [word for word in words if word not in COMMANDS] == []
    for script in re.findall(r"`scripts/([a-z]+)", text):
        assert (ROOT / "scripts" / script).exists(), script


def code(text: str) -> list[str]:
    """What stands in backticks or in blocks."""
    return re.findall(r"```.*?```|`[^`\n]+`", text, re.S)


def test_the_readme_names_every_command() -> None:
    text = " ".join(code((ROOT / "README.md").read_text()))
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", text)] == []


ON_CLUSTER = sorted((ROOT / "docker" / "kubernetes").rglob("*.yaml"))
SAMPLES = [
    ROOT / "docker" / "compose.yaml",
    *ON_CLUSTER,
    ROOT / "docker" / "kubernetes" / "example" / "pushlive" / "settings.env",
]


@pytest.mark.parametrize("path", [*DOCS, *SAMPLES], ids=names)
def test_documents_name_only_settings_that_exist(path: Path) -> None:
    found = set(re.findall(r"PUSHLIVE_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9_…])", path.read_text()))
    plain = {name.removesuffix("_FILE") for name in found if not _FOREIGN.fullmatch(name)}
    assert plain <= set(SETTINGS)


def test_the_composition_hands_every_setting_on(compose: dict[str, Any]) -> None:
    secrets = {name for name, field in SETTINGS.items() if field.annotation is Secret}
    web, worker = (
        {name.removesuffix("_FILE") for name in compose["services"][one]["environment"]}
        for one in ("web", "worker")
    )
    traces = {name for name in [*web] if name.startswith("OTEL_")}
    named = re.findall(r"`(OTEL_[A-Z_]+)", (ROOT / "docs" / "guides" / "logs.md").read_text())
    assert {*named} <= traces
    assert traces <= worker
    web, worker = web - traces, worker - traces
    # Each side gets the secrets that it needs, and no others.
    assert worker == set(SETTINGS) - (secrets - SENDING - BACKUPS)
    assert web == set(SETTINGS) - SENDING


def test_secrets_reach_the_composition_as_files_alone(compose: dict[str, Any]) -> None:
    secrets = {name for name, field in SETTINGS.items() if field.annotation is Secret}
    for service in compose["services"].values():
        assert not secrets & set(service["environment"])


def test_the_compositions_store_keeps_what_the_embedded_one_keeps(compose: dict[str, Any]) -> None:
    words = _command(Path("/var/lib/pushlive"), Path("valkey-server"))[1:]
    wanted = dict(zip(words[::2], words[1::2], strict=True))
    said = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in compose["services"]["store"]["command"]]
    del wanted["--logfile"]  # Docker keeps the container's output
    assert dict(zip(said[::2], said[1::2], strict=True)) == wanted


def test_the_clusters_store_keeps_what_the_embedded_one_keeps() -> None:
    words = _command(Path("/var/lib/pushlive"), Path("valkey-server"))[1:]
    wanted = dict(zip(words[::2], words[1::2], strict=True))
    _, store = yaml.safe_load_all((ROOT / "docker" / "kubernetes" / "base" / "store.yaml").read_text())
    _, *said = store["spec"]["template"]["spec"]["containers"][0]["args"]
    del wanted["--logfile"]
    # Over the network, with a password: web and workers are elsewhere.
    assert dict(zip(said[::2], said[1::2], strict=True)) == {**wanted, "--port": "6379"}


def test_the_example_of_a_cluster_is_a_configuration() -> None:
    folder = ROOT / "docker" / "kubernetes" / "example"
    config = loading.load((folder / "pushlive" / "pipelines.yaml").read_text(), "pipelines.yaml")
    where = {config.pipelines["hello"].environment(name).engine.namespace for name in ("dev", "live")}
    given = {
        yaml.safe_load((folder / name / "kustomization.yaml").read_text())["namespace"]
        for name in ("dev", "live")
    }
    assert where == given


def test_the_image_has_the_projects_version(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["image"].endswith(f":-pushlive:{PROJECT['version']}}}")


def test_the_base_image_is_the_one_that_can_be_made() -> None:
    base = re.search(r"^ARG PYTHON=(\S+)", (ROOT / "docker" / "Dockerfile").read_text(), re.M)
    assert base
    assert f'PYTHON = "{base[1]}"' in (ROOT / "scripts" / "images").read_text()


def test_every_dependency_is_explained() -> None:
    text = (ROOT / "docs" / "decisions" / "0006-dependencies.md").read_text()
    explained = set(re.findall(r"^\| ([a-z][a-z0-9-]*) \|", text, re.M)) - {"package"}
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *extras["s3"], *extras["otel"]]
    assert explained == {re.split(r"[<>=]", one)[0] for one in needed}


def test_files_and_tests_in_the_threat_model_exist() -> None:
    """Every test and file that stands for a defence."""
    text = (ROOT / "docs" / "security.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    missing = [name for name in set(re.findall(r"`(test_\w+)`", text)) if f"def {name}(" not in sources]
    files = {path.name for folder in ("pipeline", "webhooks") for path in (ROOT / folder).rglob("*.py")}
    missing += [name for name in set(re.findall(r"`[\w/]*?(\w+\.py)`", text)) if name not in files]
    assert missing == []
