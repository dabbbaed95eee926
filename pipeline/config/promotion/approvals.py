"""The `promote` key of an environment: whether runs wait for people before it, and for how many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.config.fields import Duration, Model
from pipeline.lib.units import write_duration

_SHORTEST = 60.0  # seconds in which a run can be relied on to enter after it was promoted
_SHORT = "auto, manual, or {manual: true, approvals: 2, not_by_pusher: true, expires: 24h}"


class Promote(Model):
    """Who lets a run into an environment. `auto`: no one has to; `manual`: one person."""

    SHORT = _SHORT
    CHOICES = ("auto", "manual")

    manual: bool = False
    """`true`: a run waits before this environment until people promote it."""
    approvals: int = Field(default=1, ge=1, le=10)
    """How many people have to promote it, each with a token of their own."""
    not_by_pusher: bool = False
    """`true`: who pushed the commit, or asked for the deploy, is not one of them."""
    expires: Duration = 0.0
    """How long a promotion counts until the run enters, such as `24h`. 0: for ever."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given not in cls.CHOICES:
                raise ValueError(f"{given[:40]!r} is not allowed; write {_SHORT}")
            return {"manual": given == "manual"}
        return given

    @model_validator(mode="after")
    def _not_without_manual(self) -> Promote:
        if not self.manual and (self.approvals > 1 or self.not_by_pusher or self.expires):
            raise ValueError("`approvals`, `not_by_pusher` and `expires` need `manual: true`")
        return self

    def unwise(self) -> Iterator[tuple[str, str]]:
        """The key, and the text of a warning. Not an error: files with it are stored with releases."""
        if 0 < self.expires < _SHORTEST:
            text = f"{write_duration(self.expires)} may be over before the run enters, so no promotion counts"
            yield "expires", f"{text}; write a minute or more, or leave it out"

    @model_serializer(mode="wrap")
    def _as_short(self, whole: SerializerFunctionWrapHandler) -> Any:
        return whole(self) if self.approvals > 1 or self.not_by_pusher or self.expires else str(self)

    def __str__(self) -> str:
        more = [
            f"{self.approvals} approvals" * (self.approvals > 1),
            "not by the pusher" * self.not_by_pusher,
            f"within {write_duration(self.expires)}" if self.expires else "",
        ]
        return ", ".join(filter(None, ("manual" if self.manual else "auto", *more)))
