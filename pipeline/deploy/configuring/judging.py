"""Whether what is in a repository can be the configuration. Pure."""

from __future__ import annotations

from pipeline.config import loading
from pipeline.config.editing.text import line_feeds
from pipeline.config.models import Config
from pipeline.config.place.repository import ConfigRepository, Place, deployed_from
from pipeline.errors import ConfigError
from pipeline.lib.units import show_size

LIMIT = 1 << 20  # bytes of the file
LFS = "version https://git-lfs.github.com/spec/"  # how the text begins that stands for a file in Git LFS
_KINDS = {"folder": "a folder", "submodule": "a submodule"}


def text_of(raw: bytes, place: ConfigRepository) -> str:
    """The text of a valid configuration. Raises ConfigError with every problem, one a line."""
    if len(raw) > LIMIT:
        raise ConfigError(too_large(place, len(raw)))
    try:
        text = line_feeds(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{place.path} is not text: byte {error.start + 1} is not UTF-8.") from error
    if text.startswith(LFS):
        raise ConfigError(
            f"{place.path} is a Git LFS pointer and not the file: take it out of LFS (`git lfs untrack {place.path}`, "
            "`git add --renormalize .`), and commit it."
        )
    if "\0" in text:
        raise ConfigError(f"{place.path} is not text: it has a NUL byte.")
    config = loading.load(text, place.path)
    if found := own_sources(text, config, place):
        raise ConfigError("\n".join(found))
    return text


def own_sources(text: str, config: Config, place: Place) -> list[str]:
    """A problem for each pipeline that would be deployed from the configuration's own repository."""
    if not isinstance(place, ConfigRepository):
        return []
    where = place.repository or place.url
    return [
        f"{place.path}:{loading.line_at(text, 'pipelines', name, 'source')}: pipelines.{name}.source: {where} has the "
        "configuration (PUSHLIVE_CONFIG), so no application is deployed from it; give the application a repository "
        "of its own"
        for name in deployed_from(config, place)
    ]


def too_large(place: ConfigRepository, size: int) -> str:
    return f"{place.path} is too large ({show_size(size)}): a configuration has at most {show_size(LIMIT)}."


def is_link(place: ConfigRepository) -> str:
    return f"{place.path} is a symbolic link, or in one: commit the file itself."


def missing(place: ConfigRepository, commit: str, kind: str = "") -> str:
    """``kind``: what is there instead, as in ``PushedFile``."""
    if kind in _KINDS:
        return f"{place.path} is {_KINDS[kind]} in {commit[:7]}: commit the file itself, or set PUSHLIVE_CONFIG to it."
    return f"there is no file {place.path} in {commit[:7]}: commit it there, or set PUSHLIVE_CONFIG to its place."
