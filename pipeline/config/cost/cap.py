"""The keys of `costs` that say how much a month may cost, and what gives way before it costs more."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from pipeline.config.fields import Model, Name, Words

PREVIEWS = "previews"
_PREVIEW = "--"  # no name in the file has two hyphens in a row

Cap = Annotated[
    float, Field(ge=0.01, le=1e9, allow_inf_nan=False), Words("a sum of at least 0.01, such as 60")
]
Yielding = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*(/[a-z][a-z0-9]*(-[a-z0-9]+)*)?$", max_length=80),
    Words("an environment such as dev or shop/dev, or previews"),
]


class Caps(Model):
    """How much a month may cost."""

    cap: Cap | None = None
    """The most that a calendar month is to cost in all. What would make the bill higher is refused once the sum by the
    end of the month is above it, see [cost](guides/cost.md#a-cap)."""
    pipelines: dict[Name, Cap] = {}
    """The same for single pipelines: `{shop: 20}`. What counts is their part of the machines."""
    give_way: tuple[Yielding, ...] = Field(default=(), max_length=50)
    """Which environments are put to sleep before something is refused, the first one first: `[previews, dev, shop/qa]`.
    One without `sleep_after` is only named. The last environment of a pipeline never gives way."""

    @property
    def capped(self) -> bool:
        return self.cap is not None or bool(self.pipelines)

    def cap_of(self, pipeline: str) -> float | None:
        """``pipeline``: "" for the month in all."""
        return self.pipelines.get(pipeline) if pipeline else self.cap


def is_preview(pipeline: str) -> bool:
    """Whether that pipeline is a preview of another one."""
    return _PREVIEW in pipeline


def pays(pipeline: str) -> str:
    """The pipeline whose sum it is in: ``shop`` of its preview ``shop--login``; every other one is its own."""
    return pipeline.partition(_PREVIEW)[0]
