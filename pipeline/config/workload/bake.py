"""The `bake` key: a release is watched for a while after its switch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from pipeline.config.fields import Duration, Model
from pipeline.lib.units import write_duration

DEFAULT = 120.0  # seconds, in the last environment

SHORTEST = 8.0  # seconds without an answer after which a release is down
_LONGEST = 86400.0  # seconds

OnFailure = Literal["revert", "hold", "tell"]


class Bake(Model):
    """How long a release is watched after its switch, and what is done if it fails meanwhile: it stops answering,
    restarts again and again, or is killed because it ran out of memory. A duration is `for` alone."""

    SHORT = "a duration such as 2m, 0 for not at all, or {for: 10m, on_failure: hold}"

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    lasts: Duration | None = Field(default=None, alias="for")
    """How long. Default: `2m` in the last environment, `0` in the others."""
    on_failure: OnFailure = "revert"
    """`revert`: the release before it is put back, the environment is held, and the release goes into quarantine, as
    by `pushlive revert`. `hold`: only the hold. `tell`: only the message."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        return given if isinstance(given, dict | Bake) else {"for": given}

    def unwise(self, lasts: float, acts: bool = False) -> Iterator[tuple[str, str]]:
        """The key, "" for `bake` itself, and the text of a warning. ``lasts``: seconds, the default if none are
        written; ``acts``: `judge: act` does as ``on_failure`` says as well.
        No errors: files with it were taken before, and are stored with releases."""
        if not lasts and not acts and "on_failure" in self.model_fields_set:
            yield "on_failure", "has no effect; for a time of 0 no release is watched"
        if 0 < lasts < SHORTEST:
            text = f"{write_duration(lasts)} is too short: a release is down after {write_duration(SHORTEST)} without"
            yield "", f"{text} an answer; write 30s or more, or 0 for not at all"
        if lasts > _LONGEST:
            text = (
                f"{write_duration(lasts)} is longer than a day; a release that fails until then is taken back"
            )
            yield "", f"{text} without a person, however long it has served"

    def __str__(self) -> str:
        lasts = "the default" if self.lasts is None else write_duration(self.lasts)
        return lasts if self.on_failure == "revert" else f"{lasts}, then {self.on_failure}"
