"""The `previews` key of a pipeline."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pipeline.config import validators
from pipeline.config.cost.prices import Price
from pipeline.config.fields import Argv, Limit, Model, Several, StageName, Words
from pipeline.lib.units import write_duration

_ANY = "*"
_PATTERN = "a branch, or a pattern such as feature/*, in which * stands for any characters"
_HOST = re.compile(r"\*(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")


def _pattern(text: str) -> str:
    """A branch's name with ``*`` anywhere in it."""
    if problem := validators.branch_problem(text.replace(_ANY, "x")):
        raise ValueError(f"{text[:80]!r} {problem}; write {_PATTERN}")
    if len(text) > 200 or text.count(_ANY) > 4:  # each * multiplies the work of a name that does not match
        raise ValueError("is too long: at most 200 characters, and four *")
    return text


def _host(text: str) -> str:
    if text and (not _HOST.fullmatch(text) or len(text) > 180):
        raise ValueError(
            f"{text[:80]!r} is not a name for every preview; write *.preview.example.com: the name of the "
            "preview takes the place of the *"
        )
    return text


Pattern = Annotated[str, AfterValidator(_pattern), Words(_PATTERN)]


class Branches(Several):
    """Which branches get a preview: a pattern, or a list of patterns."""

    SHORT = "a pattern such as feature/*, or a list of patterns"

    names: Annotated[tuple[Pattern, ...], Field(max_length=20)] = ()
    """Patterns, in which `*` stands for any characters, `/` as well."""

    def __str__(self) -> str:
        return ", ".join(self.names) or "none"

    def matching(self, branch: str) -> str | None:
        """The first pattern that the branch matches, None if it matches none."""
        return next((one for one in self.names if _regex(one).fullmatch(branch)), None)


def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", pattern))), re.DOTALL)


class Previews(Model):
    """Branches and pull requests of which each gets an environment of its own. See the guide
    [previews](guides/previews.md)."""

    branches: Branches = Branches()
    """The branches whose pushes make a preview, by patterns: `feature/*`."""
    pull_requests: bool = False
    """`true`: pull requests of GitHub and Gitea get one as well. One from another repository only when a person allows
    it, for each of its commits."""
    from_: StageName = Field(alias="from")
    """The environment whose definition a preview has: its service, checks, accessories and engine. Not its host names,
    secrets and data, and neither gates nor freezes."""
    max: int = Field(default=5, ge=1, le=50)
    """How many previews the pipeline may have at once. A push to one more branch makes none, and says so."""
    age: Limit = 7 * 86400.0
    """How long a preview stays without a push."""
    cost: Annotated[Price | None, Words("a price such as 5.00")] = None
    """How much a preview may cost in a calendar month (UTC), in the currency of `costs`; then it is removed. Default:
    any sum."""
    data: Argv = ()
    """A command that fills the data of a new preview, such as `[./seed.sh]`. It runs once, in a container of the first
    release, after that one's `release` command. Default: a preview begins with empty data."""
    host: Annotated[
        str, StringConstraints(max_length=180), AfterValidator(_host), Words("*.preview.example.com")
    ] = ""
    """Host names of previews: with `*.preview.example.com` that of `hello--login` is `login.preview.example.com`.
    Default: only `hello--login.localhost`."""

    @model_validator(mode="after")
    def _for_something(self) -> Previews:
        if not self.branches.names and not self.pull_requests:
            raise ValueError("is for nothing: write `branches: feature/*`, or `pull_requests: true`")
        return self

    def __str__(self) -> str:
        what = [*self.branches.names, *(["pull requests"] if self.pull_requests else [])]
        return f"of {', '.join(what)} from {self.from_}, at most {self.max}, for {write_duration(self.age)}"

    def text_of(self, branch: str) -> str:
        """What tells the branch from others that match: ``login`` of ``feature/login`` for ``feature/*``."""
        pattern = self.branches.matching(branch) or ""
        return branch[pattern.partition(_ANY)[0].rfind("/") + 1 :]
