"""What the data folder has of an earlier store: routes of the proxy, and repositories with commits."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config.settings import Settings
from pipeline.errors import PushliveError


def of(settings: Settings) -> Iterator[str]:
    """Each in words. Read-only: no process is needed."""
    yield from _routes(settings)
    yield from _repositories(settings)


def _routes(settings: Settings) -> Iterator[str]:
    from pipeline.adapters.haproxy.files import Folder

    folder = Folder(settings)
    try:
        routes = folder.load().environments.values()
    except PushliveError as error:
        yield error.message.rstrip(".")
        return
    yield from (f"the proxy serves {one.name} ({one.active})" for one in routes if one.active)


def _repositories(settings: Settings) -> Iterator[str]:
    from pipeline.adapters.git.source import heads

    for folder in sorted((settings.data / "git").glob("*.git")):
        if heads(folder):
            yield f"the repository {folder.stem} has commits"
