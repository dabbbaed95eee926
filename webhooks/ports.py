"""What the web side needs from the domain. ``create_app`` is given an implementation."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pipeline.deploy.configuring.wanted import Wanted
from pipeline.deploy.previews.requests import PullRequest
from pipeline.deploy.tools.sessions import Ended
from pipeline.domain.audit_chain import Actor, Entry, Report
from pipeline.domain.events import Event, Said
from pipeline.domain.measuring.measurements import Measurements
from pipeline.domain.run import Push, Run
from pipeline.lib.push_notes import Update
from pipeline.lib.secret import Secret
from pipeline.ports.terminal import SessionRecord
from pipeline.service.tools import Asked as Command

__all__ = ["AcceptedPort", "Command", "Ended", "ServicePort", "SessionPort", "TokenPort", "ToolsPort"]


class AcceptedPort(Protocol):
    """A push that is on disk."""

    @property
    def run(self) -> Run: ...
    @property
    def duplicate(self) -> bool: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


class TokenPort(Protocol):
    """An API token. ``role`` is viewer, developer or maintainer."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...


class SessionPort(Protocol):
    """A command of a person that runs in a container."""

    @property
    def record(self) -> SessionRecord: ...

    def events(self) -> Generator[tuple[int, bytes] | Ended | None]:
        """1 (stdout) or 2 (stderr) with a piece of output, None while there is none, and at last how it ended."""

    def write(self, data: bytes, at: int | None = None) -> None: ...

    def end_input(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    def close(self) -> None:
        """Ends the command. Idempotent."""


class ToolsPort(Protocol):
    """What people do with the containers that serve. Raises as ``ServicePort``, and Forbidden (403)."""

    def run_command(
        self, pipeline: str, by: Actor, asked: Command, *, environment: str = ""
    ) -> SessionPort: ...

    def exec_command(
        self,
        pipeline: str,
        by: Actor,
        asked: Command,
        *,
        environment: str = "",
        replica: int = 1,
        process: str = "",
    ) -> SessionPort: ...

    def exec_accessory(self, name: str, by: Actor, asked: Command, *, environment: str) -> SessionPort: ...

    def session(self, identifier: str, by: Actor) -> SessionPort: ...

    def copy(
        self, pipeline: str, by: Actor, path: str, *, environment: str = "", process: str = ""
    ) -> SessionPort:
        """Its output is a tar archive of that file or folder."""

    def restart(self, pipeline: str, by: Actor, *, environment: str = "") -> Generator[tuple[str, ...]]:
        """What was done, as it comes; () while it goes on."""

    def follow_output(
        self, pipeline: str, *, environment: str, process: str, lines: int, seconds: float, follow: bool
    ) -> Generator[tuple[str, ...]]:
        """Lines of the containers that serve, as they come; () while there is none."""

    def access_log(
        self, pipeline: str, *, environment: str, lines: int, follow: bool
    ) -> Generator[tuple[str, ...]]:
        """Lines of JSON about requests, as they come; () while there is none."""

    def usage(self, pipeline: str, *, environment: str = "") -> list[dict[str, Any]]: ...


class AccessoriesPort(Protocol):
    """Databases, caches and brokers. Raises as ``ServicePort``. What acts returns what it did, for people."""

    def overview(self) -> list[dict[str, Any]]:
        """name, environment, state, why, image, volume, used_by, changes, left"""

    def last_output(self, name: str, *, environment: str, lines: int = 200) -> tuple[str, ...]: ...

    def start(self, name: str, by: Actor, *, environment: str, as_it_is: bool = False) -> tuple[str, ...]: ...

    def stop(self, name: str, by: Actor, *, environment: str) -> tuple[str, ...]: ...

    def restart(self, name: str, by: Actor, *, environment: str) -> tuple[str, ...]: ...

    def apply(self, name: str, by: Actor, *, environment: str) -> tuple[str, ...]: ...

    def remove(self, name: str, by: Actor, *, environment: str) -> tuple[str, ...]: ...

    def upgrade(
        self, name: str, by: Actor, *, environment: str, back: bool = False
    ) -> Iterator[tuple[str, ...]]:
        """Makes it as pipelines.yaml says after a copy of its data, or as it was before; what is done, as it comes."""

    def move(
        self, name: str, by: Actor, *, environment: str, to: str, to_environment: str = ""
    ) -> Iterator[tuple[str, ...]]:
        """Gives it another name; what is done, as it comes."""


class BackupsPort(Protocol):
    """Backups of volumes and accessories. Raises as ``ServicePort``."""

    def overview(self, of: str = "") -> list[dict[str, Any]]:
        """owner, kind, environment, name, every, keep, to, good, kept, failed, problem; of one owner also copies and
        copies_problem"""

    def make(self, owner: str, environment: str, name: str, by: Actor) -> dict[str, Any]:
        """file, at, size, messages"""

    def path(self, owner: str, environment: str, name: str, file: str, by: Actor) -> Path:
        """The file of one that is kept."""

    def restore_accessory(
        self, name: str, environment: str, by: Actor, pieces: Iterable[bytes], kept: str = ""
    ) -> tuple[str, ...]:
        """From the pieces, or from one that is ``kept``."""

    def restore_volume(
        self, owner: str, environment: str, name: str, by: Actor, kept: str, *, stop: bool = False
    ) -> tuple[str, ...]:
        """Replaces its files by those of one that is ``kept``."""


class EvidencePort(Protocol):
    """What is recorded of runs that have ended. Raises as ``ServicePort``."""

    def key(self) -> dict[str, str]:
        """key (PEM), keyid"""

    def record_of(self, pipeline: str, number: int) -> dict[str, Any]: ...

    def listed(self, pipeline: str, limit: int) -> dict[str, Any]:
        """records, acts"""

    def bundle(
        self,
        pipeline: str,
        by: Actor,
        *,
        run: int | None = None,
        release: int | None = None,
        environment: str = "",
    ) -> tuple[int, Generator[bytes]]:
        """The size and the bytes of a ``.tar.gz``. Close it."""


class SleepingPort(Protocol):
    """Environments that sleep. Raises as ``ServicePort``."""

    def put_to_sleep(self, pipeline: str, by: Actor, *, environment: str) -> tuple[str, ...]: ...

    def wake(self, pipeline: str, by: Actor, *, environment: str) -> tuple[str, ...]:
        """Returns once it serves."""


class MaintenancePort(Protocol):
    """Environments in maintenance. Raises as ``ServicePort``."""

    def turn_on(
        self,
        pipeline: str,
        by: Actor,
        *,
        environment: str,
        message: str,
        until: str = "",
        lasting: str = "",
        zone: str = "UTC",
    ) -> tuple[str, ...]: ...

    def turn_off(self, pipeline: str, by: Actor, *, environment: str) -> tuple[str, ...]: ...


class ServicePort(Protocol):
    """Every method may raise StoreUnavailable (503); those that act raise RequestError (409) or NotFound (404)."""

    @property
    def tools(self) -> ToolsPort: ...

    @property
    def accessories(self) -> AccessoriesPort: ...

    @property
    def backups(self) -> BackupsPort: ...

    @property
    def evidence(self) -> EvidencePort: ...

    @property
    def sleeping(self) -> SleepingPort: ...

    @property
    def maintenance(self) -> MaintenancePort: ...

    def accept(self, push: Push, by: Actor) -> AcceptedPort:
        """Returns once the run is on disk. Idempotent for one delivery id and pipeline."""

    def pipelines_of_repository(self, name: str) -> tuple[str, ...]:
        """The pipelines whose source is that repository of the built-in git server."""

    def pipelines_of_url(self, urls: tuple[str, ...]) -> tuple[str, ...]:
        """The pipelines whose source is the repository with any of these URLs."""

    def judge_configuration(
        self, updates: tuple[Update, ...], quarantine: str, by: Actor
    ) -> tuple[str, ...]: ...

    def take_configuration(self, by: Actor) -> dict[str, Any]: ...

    def configuration_pushed(self, urls: tuple[str, ...], ref: str, asked: Wanted) -> str: ...

    def branch_of(self, pipeline: str) -> str: ...

    def preview_takers(self, pipelines: tuple[str, ...], ref: str) -> tuple[str, ...]:
        """Those of the pipelines that make a preview of that branch: ``accept`` takes a push to it for them. Raises
        NoPreview then if there are too many."""

    def close_previews(
        self,
        pipelines: tuple[str, ...],
        branch: str,
        reason: str,
        by: Actor,
        *,
        url: str = "",
        request: int = 0,
    ) -> tuple[str, ...]:
        """Previews of a branch that is gone, or of a pull request from another repository; a line about each."""

    def pull_request(
        self, pipelines: tuple[str, ...], asked: PullRequest, by: Actor
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ids of runs, and notes; nothing if none of the pipelines has previews of it."""

    def previews(self, pipeline: str = "") -> list[dict[str, Any]]: ...

    def add_preview(self, pipeline: str, branch: str, by: Actor) -> Run: ...

    def allow_preview(self, name: str, by: Actor, *, commit: str = "") -> Run: ...

    def remove_preview(self, name: str, by: Actor) -> tuple[str, ...]: ...

    def deploy(
        self,
        pipeline: str,
        by: Actor,
        *,
        commit: str = "",
        release: int | None = None,
        config: str = "",
        rebuild: bool = False,
    ) -> Run: ...

    def revert(
        self,
        pipeline: str,
        by: Actor,
        *,
        environment: str = "",
        to: int | None = None,
        shown: int | None = None,
        run: int | None = None,
        reason: str = "",
        back: bool = False,
        across: int | None = None,
    ) -> Run: ...

    def promote(
        self,
        pipeline: str,
        by: Actor,
        *,
        run: int | None = None,
        environment: str = "",
        release: int | None = None,
        force: bool = False,
        reason: str = "",
    ) -> Run: ...

    def hold(
        self, pipeline: str, by: Actor, *, environment: str = "", reason: str = "", held_by: str = ""
    ) -> tuple[str, ...]: ...

    def resume(
        self, pipeline: str, by: Actor, *, environment: str = "", held_by: str = ""
    ) -> tuple[str, ...]: ...

    def set_values(
        self, pipeline: str, by: Actor, *, values: Mapping[str, str], environment: str = "", seen: str = ""
    ) -> dict[str, Any]:
        """See ``SettingCommands.set_values``."""

    def suggest(
        self, by: Actor, *, pipeline: str = "", without_redundancy: bool = False, seen: str = ""
    ) -> dict[str, Any]:
        """See ``CostCommands.suggest``."""

    def still_waits(self, run: Run) -> str: ...

    def freeze(
        self,
        by: Actor,
        *,
        pipeline: str = "",
        environment: str = "",
        reason: str = "",
        until: str = "",
        lasting: str = "",
        zone: str = "UTC",
    ) -> tuple[str, ...]: ...

    def thaw(
        self, by: Actor, *, pipeline: str = "", environment: str = "", reason: str = ""
    ) -> tuple[str, ...]: ...

    def withdraw(
        self,
        pipeline: str,
        by: Actor,
        *,
        run: int | None = None,
        environment: str = "",
        release: int | None = None,
        reason: str = "",
    ) -> tuple[str, ...]:
        """Takes that person's own approval back."""

    def unquarantine(
        self, pipeline: str, by: Actor, release: int, *, environment: str = "", reason: str = ""
    ) -> tuple[str, ...]: ...

    def cancel(self, pipeline: str, number: int | None, by: Actor) -> Run:
        """``number`` None: the only run that has not ended."""

    def abandon(self, pipeline: str, number: int, by: Actor) -> Run: ...

    def retry(self, pipeline: str, number: int, by: Actor, *, over: int | None = None) -> Run: ...

    def plan(self, text: str) -> dict[str, Any]: ...

    def status(self, pipeline: str = "") -> dict[str, Any]: ...

    def runs(self, pipeline: str = "", limit: int = 50) -> list[dict[str, Any]]: ...

    def show(self, pipeline: str, number: int | None) -> dict[str, Any]:
        """``number`` None: the latest run."""

    def run(self, pipeline: str, number: int) -> Run: ...

    def follow(
        self, pipeline: str, number: int, after: str = "0", idle: float = 10.0
    ) -> Iterator[tuple[str, Event] | None]:
        """Event ids and events; None after ``idle`` seconds without one. Ends with the run, or at a gate."""

    def log(self, pipeline: str, number: int, stage: str = "") -> Iterator[str]: ...

    def output(self, pipeline: str, *, environment: str = "", lines: int = 200) -> tuple[str, ...]:
        """The application's own latest output there."""

    def cron(self, pipeline: str, *, environment: str = "") -> list[dict[str, Any]]:
        """Its processes with a schedule there, with their last runs."""

    def timings(self, pipeline: str, *, seconds: float) -> dict[str, Any]:
        """See ``Queries.timings``."""

    def cost(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> dict[str, Any]:
        """See ``Queries.cost``."""

    def cost_history(self, pipeline: str = "", *, months: int = 12, zone: str = "UTC") -> dict[str, Any]:
        """See ``Queries.cost_history``."""

    def cost_rows(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> Iterator[str]:
        """See ``Queries.cost_rows``."""

    def parity(self, pipeline: str) -> dict[str, Any]:
        """See ``Queries.parity``."""

    def capacity(self) -> dict[str, Any]:
        """See ``Queries.capacity``."""

    def report(self, pipeline: str = "", *, month: str = "", zone: str = "UTC") -> dict[str, Any]:
        """See ``Queries.report``."""

    def set_secret(
        self, pipeline: str, by: Actor, name: str, value: Secret, *, environment: str = ""
    ) -> dict[str, Any]:
        """``{"name", "environment", "version", "messages"}``; never the value."""

    def remove_secret(
        self, pipeline: str, by: Actor, name: str, *, environment: str = "", version: int | None = None
    ) -> tuple[str, ...]: ...

    def secrets(self, pipeline: str) -> list[dict[str, Any]]:
        """The newest version of each secret; never a value."""

    def secret(self, pipeline: str, name: str, environment: str = "") -> list[dict[str, Any]]:
        """Every stored version of one secret, newest first; never a value."""

    def create_token(self, name: str, role: str, by: Actor, *, lasts: float = 0.0) -> str:
        """The token's text. ``lasts``: seconds; 0: it does not expire."""

    def token(self, text: str) -> TokenPort | None:
        """The token with that text, or None. Raises TokenExpired."""

    def end_session(self, identifier: str, seconds: float) -> None:
        """From now on that session of the pages has ended; this is remembered for ``seconds``."""

    def has_session_ended(self, identifier: str) -> bool: ...

    def tokens(self) -> list[dict[str, Any]]:
        """name, role, created, expires, used, expired"""

    def revoke_token(self, name: str, by: Actor) -> None: ...

    def record(self, by: Actor, act: str, **what: Any) -> None:
        """Adds to the audit log what no other method records."""

    def audit_log(self, pipeline: str = "", limit: int = 50) -> list[Entry]:
        """Newest first."""

    def verify_audit(self, noted: str = "") -> Report: ...

    def count(self, what: str, times: int = 1) -> None:
        """Adds ``times`` to that counter."""

    def measurements(self) -> Measurements:
        """What one scrape of ``/metrics`` shows. Answers, or raises StoreUnavailable, within a few seconds."""

    def volumes(self, pipeline: str = "", *, sizes: bool = False) -> dict[str, list[dict[str, Any]]]:
        """Every volume on the engines in use, and the engines that did not answer. ``sizes``: in bytes, which may take
        long."""

    def volume_files(self, owner: str, environment: str, name: str, by: Actor) -> Generator[bytes]:
        """Its files as a tar stream. Close it."""

    def restore_volume(
        self, owner: str, environment: str, name: str, by: Actor, tar: Iterable[bytes], *, stop: bool = False
    ) -> tuple[str, ...]:
        """Replaces its files. ``stop``: what serves is stopped meanwhile."""

    def remove_volume(self, owner: str, environment: str, name: str, by: Actor) -> tuple[str, ...]: ...

    def move_volume(
        self, owner: str, environment: str, name: str, by: Actor, *, to: str
    ) -> Iterator[tuple[str, ...]]:
        """Gives it another name; what is done, as it comes."""

    def doctor(self) -> list[dict[str, Any]]: ...

    def gc(self, by: Actor, serving: frozenset[str] | None = None) -> tuple[Said, ...]: ...

    def adopt(self, by: Actor) -> tuple[str, ...]:
        """Takes up what runs into a store that was lost; what was done, and what is lost."""

    def fix(self, by: Actor) -> tuple[str, ...]:
        """Reconciles Engine and proxy with the store; what was done."""

    def healthy(self) -> bool: ...

    def unknown_store(self) -> str:
        """What is wrong and what to do if the store has no records although the installation is not new; else ""."""

    def insist_on_store(self) -> None:
        """Raises StoreUnknown (503) in that case."""
