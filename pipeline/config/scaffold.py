"""A first ``pipelines.yaml`` for a repository, filled in with what can be read there."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from string import Template
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.config import validators
from pipeline.config.fields import Name
from pipeline.config.repository_hints import context_of, exposed_port, health_path
from pipeline.errors import ConfigError

_TEMPLATE = Path(__file__).parent / "templates" / "pipelines.yaml"
_LARGEST = 1 << 20
_PLACES = (".", "docker", "build", "deploy", "app", "src")
_PLAIN = re.compile(r"/?[A-Za-z][A-Za-z0-9_./-]*|/")
_YAML_WORDS = {"on", "off", "yes", "no", "true", "false", "null", "y", "n"}


def starter(folder: Path, name: str | None = None) -> str:
    """The text of a commented ``pipelines.yaml`` without any problem.

    ``name``: the pipeline's name; by default it is derived from the folder's. Raises ConfigError if it is not valid.
    """
    folder = folder.resolve()
    branch = current_branch(folder)
    dockerfile, *others = [*find_dockerfiles(folder), ""]
    text = _read(folder / dockerfile) if dockerfile else ""
    build = context_of(folder, dockerfile, text)
    port, health = exposed_port(text), health_path(text)
    pipeline = pipeline_name(folder.name) if name is None else _given(name)
    values = {
        "name": _scalar(pipeline),
        "host": pipeline,
        "branch": _scalar(branch or "main"),
        "context": _scalar(build),
        "dockerfile": _scalar(
            (dockerfile if build == "." else dockerfile.rpartition("/")[2]) or "Dockerfile"
        ),
        "dockerfile_note": _note(dockerfile, [other for other in others if other]),
        "port": str(port or 8080),
        "port_note": "from the Dockerfile: its EXPOSE, or its base image"
        if port
        else "on which the application listens, on 0.0.0.0",
        "health": _scalar(health or "/"),
        "health_note": "from the HEALTHCHECK"
        if health
        else "a path that answers 2xx or 3xx once the application is ready",
    }
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(values)


def _note(dockerfile: str, others: list[str]) -> str:
    if not dockerfile:
        return " There is none yet."
    more = f", and {len(others) - 5} more" if len(others) > 5 else ""
    return f" Not used: {', '.join(others[:5])}{more}." if others else ""


def pipeline_name(text: str) -> str:
    """The text made a valid name: ``My Shop_2`` → ``my-shop-2``; "app" if nothing of it is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if words and not words[0].isalpha():
        words = f"app-{words}"
    return words[:32].strip("-") or "app"


def current_branch(folder: Path) -> str:
    """The branch that is checked out; "" outside a repository, with a detached HEAD, or if the name is not valid."""
    git = next((place / ".git" for place in (folder, *folder.parents) if (place / ".git").exists()), None)
    if git is None:
        return ""
    if git.is_file():  # a worktree or a submodule: the file names the git folder
        where = _read(git).partition("gitdir:")[2].strip()
        git = git.parent / where
    head = _read(git / "HEAD").strip()
    name = head.removeprefix("ref: refs/heads/")
    try:
        return validators.branch(name) if name != head and name.isprintable() else ""
    except ValueError:
        return ""


def is_application(folder: Path) -> bool:
    """Whether there is anything that a configuration could be read from: a Dockerfile, or a git repository."""
    folder = folder.resolve()
    in_repository = any((place / ".git").exists() for place in (folder, *folder.parents))
    return in_repository or bool(find_dockerfiles(folder))


def find_dockerfiles(folder: Path) -> tuple[str, ...]:
    """The paths of the Dockerfiles relative to the folder, the topmost first."""
    found: dict[str, None] = {}
    for place in _PLACES:
        for name in ("Dockerfile", "Containerfile"):
            if (folder / place / name).is_file():
                found[name if place == "." else f"{place}/{name}"] = None
    others = sorted(path for path in folder.glob("*/Dockerfile") if path.is_file())
    for path in (*others, *sorted(folder.glob("Dockerfile.*"))):
        relative = path.relative_to(folder).as_posix()
        usable = validators.is_safe_path(relative) and relative.isprintable() and len(relative) < 200
        if usable and not relative.endswith(".dockerignore"):
            found[relative] = None
    return tuple(found)


def _given(name: str) -> str:
    if not _is(Name, name):
        raise ConfigError(
            f"{name[:80]!r} is not a valid pipeline name.",
            advice=f"Use at most 32 lower-case letters, digits and hyphens, for example {pipeline_name(name)}.",
        )
    return name


def _is(kind: Any, text: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True


def _scalar(text: str) -> str:
    """The text as YAML: plain if every reader takes it for text, quoted otherwise."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def _read(path: Path) -> str:
    """The file's text, "" if it cannot be read, is not a file, or is too large."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size <= _LARGEST else ""
    except OSError:
        return ""
