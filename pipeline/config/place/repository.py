"""``PUSHLIVE_CONFIG=git:…``: the configuration is a file in a repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config import validators
from pipeline.config.models import Config, Source

PREFIX = "git:"
FILE, BRANCH = "pipelines.yaml", "main"
_HOW = "write git:NAME/PATH for the built-in git server, e.g. git:ops/pipelines.yaml, or git:URL#BRANCH:PATH"


@dataclass(frozen=True)
class ConfigRepository:
    """``repository``: its name on the built-in git server, "" for one elsewhere, which has a ``url``."""

    repository: str
    url: str = ""
    branch: str = BRANCH
    path: str = FILE

    def __str__(self) -> str:
        """As it is written in ``PUSHLIVE_CONFIG``."""
        if self.repository and self.branch == BRANCH:
            return f"{PREFIX}{self.repository}/{self.path}"
        return f"{PREFIX}{self.repository or self.url}#{self.branch}:{self.path}"

    @property
    def source(self) -> Source:
        return Source(repository=self.repository, url=self.url, branch=self.branch)

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"


Place = Path | ConfigRepository


def place(text: str) -> Place:
    """The place that ``text`` names. Raises ValueError."""
    if not text.startswith(PREFIX):
        return Path(text).expanduser()
    where, marked, rest = text.removeprefix(PREFIX).partition("#")
    branch, _, path = rest.partition(":")
    if "://" in where or re.match(r"[\w.-]+@", where):
        found = ConfigRepository("", validators.url(where), branch or BRANCH, path or FILE)
    elif marked:
        found = ConfigRepository(validators.repository(where), "", branch or BRANCH, path or FILE)
    else:
        name, _, path = where.partition("/")
        found = ConfigRepository(validators.repository(name), "", BRANCH, path or FILE)
    if not (found.repository or found.url):
        raise ValueError(f"{text[:80]!r} names no repository; {_HOW}")
    if problem := validators.branch_problem(found.branch):
        raise ValueError(f"the branch {found.branch[:80]!r} {problem}; {_HOW}")
    validators.path(found.path)
    return found


def hosted(found: Place) -> str:
    """The name of the configuration's repository on the built-in git server; "" if it is not there."""
    return found.repository if isinstance(found, ConfigRepository) else ""


def deployed_from(config: Config, found: Place) -> Iterator[str]:
    """The pipelines whose source is the configuration's own repository: a push to it is no push of an application."""
    if not isinstance(found, ConfigRepository):
        return
    for name, pipeline in config.pipelines.items():
        url, repository = pipeline.source.url, config.repository_of(name)
        if found.repository and repository == found.repository:
            yield name
        if found.url and url and same_repository(url) == same_repository(found.url):
            yield name


def same_repository(url: str) -> str:
    """The URL in a form that is equal for https, ssh and scp-like URLs of one repository."""
    text = re.sub(r"^[a-z+]+://", "", url.strip().lower())
    text = re.sub(r"^[^@/]*@", "", text)
    text = re.sub(r"^([^/:]+):(?!\d+/)", r"\1/", text)
    return re.sub(r"(\.git)?/*$", "", text)
