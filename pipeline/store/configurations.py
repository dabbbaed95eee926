"""The maintainers' file as the service sees it: taken up when it changes, the last good one kept when it is wrong."""

from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

from pipeline.config import loading
from pipeline.config.models import Config
from pipeline.domain import audit_chain
from pipeline.errors import ConfigError
from pipeline.store import Store

CURRENT, _ERROR = "config", "config-error"


@lru_cache(maxsize=64)
def parsed(text: str) -> Config:
    """The configuration in a text that was found good once. Raises ConfigError."""
    return loading.load(text)


def _entry(before: str, after: str) -> audit_chain.Entry:
    """Who saved the file is not known here: its folder's access says who could."""
    who = audit_chain.Actor("pipelines.yaml", way="file")
    return audit_chain.entry(who, "configuration", time.time(), detail=f"{before or 'none'} → {after}")


class Configurations:
    """``file`` is looked at on every call of ``current``; what it says is kept in the store by its hash."""

    def __init__(self, store: Store, file: Path) -> None:
        self._store, self._file = store, file
        self._seen: tuple[int, int] | None = None

    def current(self) -> tuple[str, Config]:
        """The hash and the configuration in force. Raises ConfigError where there never was a good one."""
        self.refresh()
        digest = self._store.facts.get(CURRENT)
        if not digest:
            raise ConfigError(
                self.problem() or f"{self._file}: there is no such file.", advice="`pushlive init`."
            )
        return digest, self.by_hash(digest)

    def by_hash(self, digest: str) -> Config:
        return parsed(self._store.config(digest))

    def problem(self) -> str:
        """What is wrong with the file now, or ""."""
        return self._store.facts.get(_ERROR)

    def refresh(self) -> bool:
        """Takes up a changed file; True where it did. A wrong or missing file changes nothing but ``problem``."""
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._seen:
                return False
            text = self._file.read_text(encoding="utf-8")
            loading.load(text, str(self._file))
        except (OSError, UnicodeDecodeError) as error:
            self._seen = None
            self._store.facts.set(_ERROR, f"{self._file} cannot be read: {error}")
            return False
        except ConfigError as error:
            self._seen = stamp
            self._store.facts.set(_ERROR, str(error))
            return False
        digest = self._store.put_config(text)
        changed = self._store.facts.change(CURRENT, digest, lambda before: _entry(before, digest))
        self._store.facts.set(_ERROR, "")
        self._seen = stamp  # last: another thread that finds it seen must find it stored
        return changed
