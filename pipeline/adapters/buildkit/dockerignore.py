"""A build's context without what its ``.dockerignore`` leaves out."""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Callable, Iterator
from typing import IO

from pipeline.adapters.tar_stream import chunks, rewrite
from pipeline.errors import AppFailed
from pipeline.lib.dockerignore import Rule, ignored, parse

PATH_LIMIT = 4096  # characters; Linux does not open a longer path


def filtered(stream: IO[bytes], dockerignore: str, dockerfile: str, text: str = "") -> Iterator[bytes]:
    """The context without the ignored files; unchanged if there are no rules.

    The Dockerfile and ``.dockerignore`` are always sent, because the Engine reads them from the context. ``text``: what
    to send as the Dockerfile in place of a link, which the Engine could not follow.
    """
    rules = parse(dockerignore)
    links = {posixpath.normpath(dockerfile): text.encode("utf-8", "surrogateescape")} if text else {}
    return rewrite(stream, _change(rules, dockerfile), links) if rules or links else chunks(stream)


def _change(rules: tuple[Rule, ...], dockerfile: str) -> Callable[[tarfile.TarInfo], tarfile.TarInfo | None]:
    always = {".dockerignore", posixpath.normpath(dockerfile)}

    def change(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if len(member.name) > PATH_LIMIT:
            raise AppFailed(
                f"The path {member.name[:80]!r}… has {len(member.name)} characters, more than {PATH_LIMIT}.",
                advice="Shorten it, or remove it from the repository.",
            )
        path = posixpath.normpath(member.name)
        keep = path in always or path == "." or not ignored(rules, path)
        return member if keep else None

    return change
