"""What all kinds of smoke checks have in common, and how they reach a release."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from pipeline.config.fields import Model


class Answer(Protocol):
    """An HTTP answer. Header names are in lower case; ``seconds`` is how long it took."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def seconds(self) -> float: ...


class Ended(Protocol):
    """A command that ended."""

    @property
    def exit_code(self) -> int: ...
    @property
    def output(self) -> str: ...


class Asker(Protocol):
    """The way to the new release. Each method raises TryAgain while there is no answer: the check is repeated."""

    def get(self, path: str, headers: Mapping[str, str], within: float) -> Answer:
        """One GET through the proxy, with these headers instead of a visitor's. Only answers of this very release are
        returned."""

    def connect(self, port: int, within: float) -> float:
        """Opens a TCP connection to every replica; returns the seconds of the last one."""

    def command(self, words: tuple[str, ...], within: float) -> Ended | None:
        """Runs a command in a container of the image, once; None if it did not end within that many seconds."""

    def without_secrets(self, text: str) -> str:
        """The text with its secrets redacted, to be done before it is cut."""


@dataclass(frozen=True)
class Verdict:
    """What one try found. ``answer``: what came back, or what is wrong with it."""

    ok: bool
    answer: str


class CheckModel(Model):
    """A smoke check. The required key of its model names its kind in ``pipelines.yaml``."""

    KEY: ClassVar[str]
    """The key that only this kind has."""
    EXAMPLE: ClassVar[str]
    """The shortest check of this kind, as it is written."""
    MEANT: ClassVar[tuple[str, ...]] = ()
    """Other keys by which people mean this kind."""

    @abstractmethod
    def show(self) -> str:
        """The check in a few words, on one line. Two checks of one environment may share them."""

    @abstractmethod
    def perform(self, asker: Asker) -> Verdict:
        """Checks once. Raises what the asker does."""

    @property
    @abstractmethod
    def repeat_for(self) -> float | None:
        """Seconds for which a failing check is repeated; None: it is performed once, whatever happens."""

    @property
    @abstractmethod
    def allowance(self) -> float:
        """Seconds that the check may take with its repetitions."""

    def unwise(self, service_port: int, alone: bool) -> Iterator[str]:
        """What is allowed but unwise, to go after ``smoke[0]``. ``alone``: it is the environment's only check."""
        del service_port, alone
        yield from ()


class RepeatedCheck(CheckModel):
    """A check that is repeated while it fails, until ``retry`` seconds have passed."""

    if TYPE_CHECKING:  # each kind declares them itself, among its keys in their order
        within: float
        retry: float

    @property
    def repeat_for(self) -> float | None:
        return self.retry

    @property
    def allowance(self) -> float:
        return self.within + self.retry
