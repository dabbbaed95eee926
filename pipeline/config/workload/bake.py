"""The `bake` key: a release is watched for a while after its switch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from pipeline.config.fields import Duration, Model
from pipeline.lib.units import write_duration

DEFAULT = 120.0  # seconds, in the last environment

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

    def __str__(self) -> str:
        lasts = "the default" if self.lasts is None else write_duration(self.lasts)
        return lasts if self.on_failure == "revert" else f"{lasts}, then {self.on_failure}"
