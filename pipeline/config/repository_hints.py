"""What a Dockerfile and the files beside it say about an application: its port, its health path, its context."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipeline.config.dockerfile import Instruction, instructions
from pipeline.config.fields import UrlPath
from pipeline.config.image_hints import declared, unwise
from pipeline.config.lint import DOCKERFILE, Warned
from pipeline.config.models import Config, Pipeline
from pipeline.config.shell_words import expand, split

_PORT = re.compile(r"(?:[0-9.]*:)?([0-9]{1,5})(?:-[0-9]{1,5})?(?:/tcp)?", re.IGNORECASE)
_BASES = {"nginx": 80, "httpd": 80, "caddy": 80, "php": 80, "wordpress": 80, "nginx-unprivileged": 8080}
_HOSTED = re.compile(r"^\s*url\s*=\s*https?://\S+/git/([a-z0-9._-]+?)(?:\.git)?/?\s*$", re.MULTILINE)
_APART = ("docker", ".docker", "build", "deploy")  # folders that hold a Dockerfile for the whole repository


@dataclass
class _Stage:
    base: str
    port: int | None = None
    variables: dict[str, str] = field(default_factory=dict)


def exposed_port(dockerfile: str) -> int | None:
    """The first TCP port of the last stage's EXPOSE, or of a stage that it starts from; else the one of a well-known
    base image. A variable is looked up among ENV and ARG."""
    stages: dict[str, _Stage] = {}
    top: dict[str, str] = {}
    last: _Stage | None = None
    for one in instructions(dockerfile):
        if one.word == "FROM":
            last = _from(one, stages, top)
        elif one.word in ("ENV", "ARG"):
            found = _variables(one, {**top, **last.variables} if last else top)
            (last.variables if last else top).update(found)
        elif one.word == "EXPOSE" and last and last.port is None:
            last.port = _first_port(one, last.variables)
    return (last.port or _base_port(last.base)) if last else None


def _from(one: Instruction, stages: dict[str, _Stage], top: Mapping[str, str]) -> _Stage:
    words = [*one.rest.split(), ""]
    base = _expanded(words[0], top)
    parent = stages.get(base.lower())
    made = _Stage(parent.base, parent.port, dict(parent.variables)) if parent else _Stage(base)
    if len(words) > 3:
        stages[words[2].lower()] = made
    return made


def _variables(one: Instruction, known: Mapping[str, str]) -> dict[str, str]:
    words = split(one.rest)
    if one.word == "ENV" and words and "=" not in words[0]:  # ENV PORT 3000
        return {words[0]: _expanded(" ".join(words[1:]), known)}
    pairs = (word.partition("=") for word in words)
    given = {name: _expanded(value, known) for name, sign, value in pairs if sign}
    again = {word: known[word] for word in words if one.word == "ARG" and word in known}
    return given | again


def _expanded(text: str, known: Mapping[str, str]) -> str:
    with suppress(ValueError):
        return expand(text, known)
    return ""


def _first_port(one: Instruction, known: Mapping[str, str]) -> int | None:
    for word in split(one.rest):
        for part in _expanded(word, known).split():
            match = _PORT.fullmatch(part)
            if match and 0 < int(match[1]) < 65536:
                return int(match[1])
    return None


def _base_port(base: str) -> int | None:
    name = base.partition("@")[0].rpartition("/")[2]
    name, _, tag = name.partition(":")
    return None if name == "php" and "apache" not in tag else _BASES.get(name)


def health_path(dockerfile: str) -> str:
    """The path of the URL in the last HEALTHCHECK, "" if none can be read."""
    found = ""
    for one in instructions(dockerfile):
        if one.word == "FROM":
            found = ""
        elif one.word == "HEALTHCHECK":
            match = re.search(r"https?://[^/\s\"']+(/[^\s\"'|;,)\]#$]*)", one.rest)
            if match and _is_path(match[1]):
                found = match[1]
    return found


def _is_path(text: str) -> bool:
    try:
        TypeAdapter(UrlPath).validate_python(text)
    except ValidationError:
        return False
    return True


def context_of(folder: Path, dockerfile: str, text: str) -> str:
    """The folder that a Dockerfile copies from, relative to ``folder``: its own if more of what it copies is there,
    else ``.``."""
    place = dockerfile.rpartition("/")[0]
    if not place:
        return "."
    sources = list(_sources(text))
    here = sum(_exists(folder, source) for source in sources)
    there = sum(_exists(folder / place, source) for source in sources)
    if here == there:
        return "." if place.rpartition("/")[2] in _APART else place
    return place if there > here else "."


def missing_dockerfile(config: Config, folder: Path) -> tuple[str, str]:
    """The pipeline whose Dockerfile is not in the repository in that folder, and the file; ("", "") without one."""
    name, pipeline, path = _here(config, folder)
    return (name, path) if pipeline and not (folder / path).is_file() else ("", "")


def is_named(pipeline: Pipeline) -> bool:
    """Whether pipelines.yaml says which Dockerfile it is."""
    return bool({"dockerfile", "context"} & pipeline.build.model_fields_set)


def warnings(config: Config, folder: Path) -> Iterator[Warned]:
    """What is unwise about the only pipeline's Dockerfile, in the repository whose folder this is."""
    name, pipeline, path = _here(config, folder)
    key = f"pipelines.{name}{DOCKERFILE}"
    if pipeline and not (folder / path).is_file():
        yield Warned(
            key, f"there is no {path} in {folder}. Commit one, or correct `context` and `dockerfile`"
        )
    elif pipeline:
        with suppress(OSError, UnicodeDecodeError):
            image = declared((folder / path).read_text(encoding="utf-8"))
            yield from (Warned(key, f"{path} {text}") for text in unwise(image, pipeline))


def _is_another(folder: Path, repository: str) -> bool:
    """Whether it is a clone of another repository of a built-in git server, such as the configuration's."""
    try:
        text = (folder / ".git" / "config").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    names = _HOSTED.findall(text)
    return bool(names) and repository not in names


def _here(config: Config, folder: Path) -> tuple[str, Pipeline | None, str]:
    """The only pipeline, if the folder is its repository: its name, itself, and its Dockerfile. With several pipelines,
    or elsewhere, nothing says which repository is whose."""
    if len(config.pipelines) != 1 or not (folder / ".git").exists():
        return "", None, ""
    ((name, pipeline),) = config.pipelines.items()
    if _is_another(folder, config.repository_of(name)):
        return "", None, ""
    path = posixpath.normpath(posixpath.join(pipeline.build.context, pipeline.build.dockerfile))
    return (name, pipeline, path) if not pipeline.source.url else ("", None, "")


def _sources(text: str) -> Iterator[str]:
    for one in instructions(text):
        if one.word in ("COPY", "ADD") and not any(flag.startswith("--from=") for flag in one.flags):
            words = [word.strip("\"',[]") for word in split(one.rest)]
            yield from (word for word in words[:-1] if word and "$" not in word and "://" not in word)


def _exists(folder: Path, source: str) -> bool:
    path = source.lstrip("/") or "."
    try:
        if any(char in path for char in "*?["):
            return any(True for _ in folder.glob(path))
        return (folder / path).exists()
    except (OSError, ValueError, NotImplementedError):
        return False
