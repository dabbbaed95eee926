"""What a person may ask of the engines and of the maintenance."""

from __future__ import annotations

from typing import Any, Protocol

from pipeline.config.models import Config
from pipeline.deploy.configuring.taking import Taking
from pipeline.deploy.data.moves import VolumeMoves
from pipeline.deploy.parity.looking import Looked
from pipeline.domain.audit_chain import Who
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.events import Said
from pipeline.domain.parity.by_hand import ByHand


class Operations(Protocol):
    """Needs adapters, so it is made in ``pipeline.runtime.bootstrap`` and passed on."""

    def doctor(self) -> list[dict[str, Any]]:
        """The checks of ``maintenance.doctor``."""

    def replaced(self) -> str:
        """That the code of the service was replaced while it runs, and what to do; "" if it was not."""

    def gc(self, serving: frozenset[str] | None = None) -> tuple[Said, ...]:
        """Removes what nothing needs any more; what it did, and what it could not do. ``serving``: which environments
        it may remove although they still serve; None: all."""

    def fix(self) -> tuple[str, ...]:
        """Brings engines and proxy to what the store says; what it did."""

    def adopt(self, by: Who) -> tuple[str, ...]:
        """Takes up what runs into a store that was lost; what it did, and what is lost."""

    def message(self, repository: str, commit: str) -> str:
        """The whole message of a commit on the built-in git server; "" if it cannot be read."""

    def head(self, repository: str, branch: str) -> str:
        """The commit of a branch on the built-in git server; "" if there is none. Raises EngineFailed."""

    def output(self, ref: SlotRef, lines: int) -> tuple[str, ...]:
        """The last lines that a slot printed."""

    def insist_on_commit(self, pipeline: str, commit: str) -> None:
        """Raises NotFound if the pipeline's repository is on this machine and has no commit whose id begins so. What a
        repository elsewhere has is known only once it was fetched."""

    def scaled(self, ref: SlotRef) -> int:
        """How many replicas a slot is set to have; 0 if it has none, or none but us scales it there."""

    def compare(self, spec: SlotSpec) -> tuple[ByHand, ...]:
        """What on the engine differs from that specification."""

    def look(self, config: Config, pipeline: str, environment: str) -> Looked:
        """What is declared for that environment, and what its engine says of it."""

    def taking(self) -> Taking:
        """Puts the head of the configuration's repository into force. Raises ConfigError if it is in a file."""

    def volumes(self) -> VolumeMoves:
        """What may be done with volumes."""
