"""The service's view of pipelines.yaml: a changed file is adopted, and the last valid one stays in force while the file
is wrong. One in a repository is put into force by ``take``: nothing here reads repositories."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.config import loading
from pipeline.config.editing.text import line_feeds, with_line_ends_of
from pipeline.config.models import Config
from pipeline.config.place.origin import NO_COMMIT, Origin
from pipeline.config.place.repository import ConfigRepository, Place
from pipeline.config.previews.derived import Wanted, with_previews
from pipeline.domain import audit_chain
from pipeline.domain.audit_chain import Who
from pipeline.domain.run import Run
from pipeline.errors import ConfigError, NotFound
from pipeline.lib import codec
from pipeline.lib.files.whole import replacing
from pipeline.store import Store, Transaction
from pipeline.store.previews.kept import FACT as PREVIEWS
from pipeline.store.previews.kept import readable

CURRENT, _ERROR, _REFUSED = "config", "config-error", "config-refused"
_SEEN, _ORIGIN = "config-seen", "config-origin"  # of a configuration in a repository

KEPT = 64  # configurations in a process's memory
DERIVED = 8  # of them with previews


@lru_cache(maxsize=KEPT)
def parsed(text: str) -> Config:
    """The configuration in a text that was valid when it was stored. Raises ConfigError."""
    return loading.load(text)


def _has_previews(config: Config) -> bool:
    return any(one.previews for one in config.pipelines.values())


def _wanted(known: str, *, alive: bool) -> list[Wanted]:
    found = readable(known).values()
    return [Wanted(one.name, one.branch, one.url) for one in found if one.alive or not alive]


def _check(text: str, name: str) -> None:
    """Raises ConfigError, with the file's name, if the text is not valid; else it is in memory for ``parsed``."""
    try:
        parsed(text)
    except ConfigError:
        loading.load(text, name)


_FILE = audit_chain.Actor("pipelines.yaml", way="file")  # who saved the file is not known


def _entry(before: str, after: str, who: Who = _FILE, origin: Origin | None = None) -> audit_chain.Entry:
    """The audit entry of a change."""
    detail = f"{before or 'none'} → {after}" + (f": {origin}" if origin else "")
    return audit_chain.entry(
        who, "configuration", time.time(), detail=detail, before=before or "none", after=after
    )


@dataclass(frozen=True)
class Refused:
    """A configuration that is not in force because it is wrong. ``commit``, ``by``: "" if it is a file; ``at``: seconds
    since the epoch."""

    problem: str
    commit: str = ""
    by: str = ""
    at: float = 0.0


def origin_in(tx: Transaction, digest: str, *, sent: bool) -> Origin:
    """The commit that a configuration comes from now, or NO_COMMIT. ``sent``: a person sent its text, so it is that of
    a commit only if it is in force."""
    found = tx.shared_fact(f"{_ORIGIN}:{digest}")
    if not found or (sent and tx.shared_fact(CURRENT) != digest):
        return NO_COMMIT
    return codec.load(Origin, found)


class Configurations:
    """``place``: a file is checked on every call of ``current``. The store keeps each configuration's text by its
    hash."""

    def __init__(self, store: Store, place: Place) -> None:
        self._store, self.place = store, place
        self._seen: tuple[int, int] | None = None
        self._by_hash: dict[str, Config] = {}  # a hash stands for one text, so these never change
        self._derived: dict[tuple[str, str, bool], Config] = {}

    def current(self) -> tuple[str, Config]:
        """The hash and the configuration in force. Raises ConfigError if there has never been a valid one."""
        self.refresh()
        digest, known = self._store.facts.several([CURRENT, PREVIEWS])
        if not digest:  # a store that was lost since this process read the file
            self._seen = None
            self.refresh()
            digest, known = self._store.facts.several([CURRENT, PREVIEWS])
        if not digest:
            return self._none_yet()
        return digest, self._with_previews(digest, known, alive=True)

    def _none_yet(self) -> tuple[str, Config]:
        problem = self.problem()
        if isinstance(self.place, Path):
            if problem and self.place.exists():
                raise ConfigError(problem, advice="Correct it; `pushlive check` shows whether that is all.")
            raise ConfigError(f"there is no file {self.place}.", advice="`pushlive init` writes one.")
        if self._store.pipelines():  # no environment is taken for one that was removed from the configuration
            raise ConfigError(f"no configuration is in force. {problem}".rstrip())
        return self._store.put_config(""), Config()

    def in_force(self) -> str:
        """The hash alone, "" if there has never been a valid one."""
        return self._store.facts.get(CURRENT)

    def by_hash(self, digest: str) -> Config:
        """A stored configuration, with a pipeline for each preview that is known. Raises ConfigError."""
        if not _has_previews(self.as_written(digest)):
            return self.as_written(digest)
        return self._with_previews(digest, self._store.facts.get(PREVIEWS), alive=False)

    def beside_previews(self, config: Config) -> Config:
        """Any configuration with a pipeline for each preview that is there now."""
        return with_previews(config, _wanted(self._store.facts.get(PREVIEWS), alive=True))

    def _with_previews(self, digest: str, known: str, *, alive: bool) -> Config:
        """``known``: the text of the previews; ``alive``: only those that may have runs."""
        config = self.as_written(digest)
        if not known or not _has_previews(config):
            return config
        key = (digest, known, alive)
        found = self._derived.get(key)
        if found is None:
            found = with_previews(config, _wanted(known, alive=alive))
            if len(self._derived) >= DERIVED:
                self._derived.clear()
            self._derived[key] = found
        return found

    def as_written(self, digest: str) -> Config:
        """A stored configuration as its text says. Raises ConfigError."""
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

    # ── in a repository ──────────────────────────────────────────────────────

    def take(self, text: str, origin: Origin, by: Who) -> bool:
        """Puts a valid text into force; True if it was not. Idempotent, and the commit counts as seen at last."""
        digest = self._store.put_config(text)
        known, value = f"{_ORIGIN}:{digest}", codec.dump(origin)
        if self._store.facts.get(CURRENT) != digest:
            self._store.facts.set(known, value)
        elif not self._store.facts.get(known):  # the text was in force before it came from a commit
            self._store.facts.change(known, value, lambda _: _entry(digest, digest, by, origin))
        changed = self._store.facts.change(CURRENT, digest, lambda before: _entry(before, digest, by, origin))
        self._store.facts.set(_ERROR, "")
        self._see(origin.commit)
        return changed

    def refuse(self, problem: str, commit: str, by: Who) -> None:
        """The configuration in that commit is wrong: what is in force stays."""

        kept = self.in_force() or "none"

        def entry(_: str) -> audit_chain.Entry:
            return audit_chain.entry(
                by, "configuration-refused", time.time(), why=problem, detail=commit[:7],
                before=kept, after=kept,  # the last good one stays in force
            )  # fmt: skip

        refused = Refused(problem, commit, audit_chain.actor(by).name, time.time())
        self._store.facts.set(_REFUSED, codec.dump(refused))
        self._store.facts.change(_ERROR, problem, entry)
        self._see(commit)

    def refused(self) -> Refused | None:
        """What is wrong now, and whose push it was; None if nothing is wrong, or a repository cannot be read."""
        problem = self.problem()
        if not problem or isinstance(self.place, Path):
            return Refused(problem, at=time.time()) if problem else None
        found = self._store.facts.get(_REFUSED)
        known = codec.load(Refused, found) if found else None
        return known if known and known.problem == problem else None

    def trouble(self, problem: str) -> None:
        """The repository cannot be read, or has no such branch: what is in force stays, and the head is judged as soon
        as it can be."""
        self._store.facts.set(_ERROR, problem)
        self._see("")

    def _see(self, commit: str) -> None:
        self._store.facts.set(_SEEN, f"{self.place} {commit}")

    def seen(self, commit: str) -> bool:
        """Whether that commit of this place was taken or refused."""
        return self._store.facts.get(_SEEN) == f"{self.place} {commit}"

    def origin(self, digest: str) -> Origin | None:
        """The commit that a configuration came from last; None for one that was in a file, or was sent."""
        found = self._store.facts.get(f"{_ORIGIN}:{digest}")
        return codec.load(Origin, found) if found else None

    def made_with(self, run: Run) -> tuple[str, Origin | None]:
        """The hash of the configuration that the run's release was made with, its own if it has none; and the commit
        that it came from then, None if it was in a file, was sent, or came from a later commit as well and an earlier
        version made the run."""
        made = run
        with suppress(NotFound):
            if run.release is not None:
                made = self._store.run(run.pipeline, self._store.release(run.pipeline, run.release).run)
        found = self.origin(made.config) if made.origin is None else made.origin
        if found == NO_COMMIT or (made.origin is None and found and found.at > made.accepted):
            found = None
        return made.config, found

    # ── in a file ────────────────────────────────────────────────────────────

    def writable(self) -> bool:
        """True if the file can be replaced. One that is mounted alone, as in a container, or that belongs to others
        cannot, and neither can one in a repository elsewhere."""
        if isinstance(self.place, ConfigRepository):
            return bool(self.place.repository)
        file = self.place.resolve()
        return not file.is_mount() and os.access(file, os.W_OK) and os.access(file.parent, os.W_OK)

    def replace(self, before: str, text: str) -> None:
        """Replaces the file's text atomically, synced to disk first, with the same mode and owner. Raises ConfigError
        if it does not have the text ``before``, or cannot be written."""
        if isinstance(self.place, ConfigRepository):
            raise ConfigError(f"{self.place} is in a repository.", advice="Push the change there.")
        file = self.place.resolve()
        try:
            raw = file.read_bytes().decode()
            if line_feeds(raw) != before:
                raise ConfigError(
                    f"{self.place} has changed since.", advice="Look at the change once more, and repeat it."
                )
            content, stat = with_line_ends_of(raw, text).encode(), file.stat()
            with replacing(file, draft=secrets.token_hex(4)) as opened:
                opened.write(content)
                os.fchmod(opened.fileno(), stat.st_mode & 0o7777)
                with suppress(PermissionError):  # it belongs to others, and the group lets us write
                    os.fchown(opened.fileno(), stat.st_uid, stat.st_gid)
        except OSError as error:
            raise ConfigError(
                f"cannot write {self.place}: {error.strerror}.",
                advice="Check its owner and the free disk space.",
            ) from error
        self.refresh()

    def refresh(self) -> bool:
        """Adopts the file if it has changed; True if it did. A wrong or missing file changes only ``problem``. One
        in a repository is not read here."""
        if isinstance(self.place, ConfigRepository):
            return False
        try:
            stat = self.place.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._seen:
                return False
            text = self.place.read_text(encoding="utf-8")
            _check(text, str(self.place))
        except FileNotFoundError:
            self._seen = None
            self._store.facts.set(_ERROR, f"there is no file {self.place}.")
            return False
        except (OSError, UnicodeDecodeError) as error:
            self._seen = None
            self._store.facts.set(_ERROR, f"cannot read {self.place}: {error}.")
            return False
        except ConfigError as error:
            self._seen = stamp
            self._store.facts.set(_ERROR, str(error))
            return False
        digest = self._store.put_config(text)
        if self._store.facts.get(f"{_ORIGIN}:{digest}"):
            self._store.facts.remove(
                f"{_ORIGIN}:{digest}"
            )  # that commit brought the same text into force before
        changed = self._store.facts.change(CURRENT, digest, lambda before: _entry(before, digest))
        self._store.facts.set(_ERROR, "")
        self._seen = stamp  # last: a thread that sees it relies on the store having it
        return changed
