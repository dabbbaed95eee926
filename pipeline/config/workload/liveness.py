"""The `liveness` key: a web container that hangs is started again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pipeline.config.fields import Duration, Model
from pipeline.lib.units import write_duration

USUAL = 60.0  # seconds, for `liveness: restart`

Silent = Annotated[Duration, Field(ge=10, le=3600)]


class Liveness(Model):
    """What is done with a web container that runs and does not answer its `health` page. `restart` is
    `{restart: 1m}`."""

    SHORT = "restart, or {restart: 2m}"

    restart: Silent | None = None
    """After how long without a good answer it is started again. If that does not help, it is started again less and
    less often. Default: never."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given != "restart":
            raise ValueError(f"{given[:40]!r} is not allowed; write {cls.SHORT}")
        return {"restart": USUAL}

    @model_serializer(mode="wrap")
    def _plain(self, whole: SerializerFunctionWrapHandler) -> Any:
        return whole(self) if self.restart else {}

    def __str__(self) -> str:
        return f"restart after {write_duration(self.restart)}" if self.restart else "none"
