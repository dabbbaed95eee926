"""The service's view of pipelines.yaml: a changed file is adopted, and the last valid one stays in force while the file
is wrong."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from pipeline.config import loading
from pipeline.config.editing.text import line_feeds, with_line_ends_of
from pipeline.config.models import Config
from pipeline.domain import audit_chain
from pipeline.errors import ConfigError
from pipeline.store import Store

CURRENT, _ERROR = "config", "config-error"


KEPT = 64  # configurations in a process's memory


@lru_cache(maxsize=KEPT)
def parsed(text: str) -> Config:
    """The configuration in a text that was valid when it was stored. Raises ConfigError."""
    return loading.load(text)


def _entry(before: str, after: str) -> audit_chain.Entry:
    """The audit entry of a change. Who saved the file is not known."""
    who = audit_chain.Actor("pipelines.yaml", way="file")
    return audit_chain.entry(who, "configuration", time.time(), detail=f"{before or 'none'} → {after}")


class Configurations:
    """``file``: checked on every call of ``current``. The store keeps each configuration's text by its hash."""

    def __init__(self, store: Store, file: Path) -> None:
        self._store, self._file = store, file
        self._seen: tuple[int, int] | None = None
        self._by_hash: dict[str, Config] = {}  # a hash stands for one text, so these never change

    def current(self) -> tuple[str, Config]:
        """The hash and the configuration in force. Raises ConfigError if there has never been a valid one."""
        self.refresh()
        digest = self._store.facts.get(CURRENT)
        if not digest:  # a store that was lost since this process read the file
            self._seen = None
            self.refresh()
            digest = self._store.facts.get(CURRENT)
        if not digest:
            problem = self.problem()
            if problem and self._file.exists():
                raise ConfigError(problem, advice="Correct it; `pushlive check` shows whether that is all.")
            raise ConfigError(f"there is no file {self._file}.", advice="`pushlive init` writes one.")
        return digest, self.by_hash(digest)

    def by_hash(self, digest: str) -> Config:
        """A stored configuration. Raises ConfigError."""
        known = self._by_hash.get(digest)
        if known is None:
            known = parsed(self._store.config(digest))
            if len(self._by_hash) >= KEPT:
                self._by_hash.clear()
            self._by_hash[digest] = known
        return known

    def problem(self) -> str:
        """What is wrong with the file now, "" if nothing is."""
        return self._store.facts.get(_ERROR)

    def writable(self) -> bool:
        """True if the file can be replaced. One that is mounted alone, as in a container, or that belongs to others
        cannot."""
        file = self._file.resolve()
        return not file.is_mount() and os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)

    def replace(self, before: str, text: str) -> None:
        """Replaces the file's text atomically, synced to disk first, with the same mode and owner. Raises ConfigError
        if it does not have the text ``before``, or cannot be written."""
        file = self._file.resolve()
        temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            raw = file.read_bytes().decode()
            if line_feeds(raw) != before:
                raise ConfigError(
                    f"{self._file} has changed since.", advice="Look at the change once more, and repeat it."
                )
            content, stat = with_line_ends_of(raw, text).encode(), file.stat()
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as opened:
                opened.write(content)
                opened.flush()
                os.fchmod(handle, stat.st_mode & 0o7777)
                with suppress(PermissionError):  # it belongs to others, and the group lets us write
                    os.fchown(handle, stat.st_uid, stat.st_gid)
                os.fsync(handle)
            temporary.replace(file)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise ConfigError(
                f"cannot write {self._file}: {error.strerror}.",
                advice="Check its owner and the free disk space.",
            ) from error
        self.refresh()

    def refresh(self) -> bool:
        """Adopts the file if it has changed; True if it did. A wrong or missing file changes only ``problem``."""
        try:
            stat = self._file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._seen:
                return False
            text = self._file.read_text(encoding="utf-8")
            loading.load(text, str(self._file))
        except FileNotFoundError:
            self._seen = None
            self._store.facts.set(_ERROR, f"there is no file {self._file}.")
            return False
        except (OSError, UnicodeDecodeError) as error:
            self._seen = None
            self._store.facts.set(_ERROR, f"cannot read {self._file}: {error}.")
            return False
        except ConfigError as error:
            self._seen = stamp
            self._store.facts.set(_ERROR, str(error))
            return False
        digest = self._store.put_config(text)
        changed = self._store.facts.change(CURRENT, digest, lambda before: _entry(before, digest))
        self._store.facts.set(_ERROR, "")
        self._seen = stamp  # last: a thread that sees it relies on the store having it
        return changed
