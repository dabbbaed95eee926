"""The `shift` key of an environment: a release takes the traffic over step by step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from pipeline.config import validators
from pipeline.config.fields import Duration, Model, Words
from pipeline.lib.units import write_duration

LASTS = 300.0  # seconds of a step
SOUND = 60.0  # seconds of a step in which a release that fails shows
SHORTEST, LONGEST = 1.0, 3600.0  # seconds of a step: it keeps a worker


def _percent(given: object) -> float:
    """As JSON from the store a number, in the file a text with `%`."""
    if isinstance(given, float):
        return given
    text = str(given).strip()
    number = text.removesuffix("%").strip()
    parts = number.split(".")
    digits = len(parts) <= 2 and all(one.isascii() and one.isdigit() and len(one) <= 3 for one in parts)
    if not text.endswith("%") or not digits:
        raise ValueError(f"{text[:40]!r} is not a share; write a percentage such as 5% or 0.5%")
    value = float(number)
    if not 0.1 <= value <= 99.9 or len(parts[-1]) > (1 if len(parts) > 1 else 3):
        raise ValueError(
            f"{text[:40]!r} is not between 0.1% and 99.9%, in steps of 0.1; all of it is the switch"
        )
    return value


Percent = Annotated[
    float,
    BeforeValidator(_percent),
    PlainSerializer(float, return_type=float),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,2}(\.[0-9])?\s*%$"}),
    Words("a percentage such as 5% or 0.5%"),
]


class Shift(Model):
    """A release gets these shares of the new visitors, one after the other, before it gets all. At each step its errors
    are compared with those of the release that serves, over the same time; if it answers worse or fails, all visitors
    are back on that one at once. A list is `steps` alone."""

    SHORT = "a list such as [5%, 25%], or {steps: [5%, 25%], for: 5m, requests: 1000}"
    LISTED = "steps"

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    steps: tuple[Percent, ...] = Field(default=(), max_length=10)
    """The shares, each larger than the one before. None: all visitors are moved at once."""
    lasts: Duration = Field(default=LASTS, alias="for")
    """How long each step lasts, 1s to 1h."""
    requests: int = Field(default=0, ge=0, le=10**9)
    """A step ends before that once the new release has answered so many requests in it. 0: it does not."""
    route: Annotated[str, AfterValidator(validators.http_route), Words("the name of an HTTPRoute")] = ""
    """On a cluster: the HTTPRoute in the environment's namespace by which its visitors come. Pushlive changes the
    weights of its backends for the time of a shift, and nothing else of it."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, given: Any) -> Any:
        return {"steps": given} if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _makes_sense(self) -> Shift:
        if not self.steps and (self.lasts != LASTS or self.requests or self.route):
            raise ValueError("has no `steps`; write {steps: [5%, 25%], for: 5m}")
        if any(after <= before for before, after in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError("each of the `steps` has to be larger than the one before")
        if not SHORTEST <= self.lasts <= LONGEST:
            raise ValueError(f"`for` is {write_duration(self.lasts)}; write 1s to 1h, for each step")
        return self

    def unwise(self) -> Iterator[tuple[str, str]]:
        """The key, and the text of a warning."""
        if self.steps and self.lasts < SOUND:
            yield (
                "for",
                f"{write_duration(self.lasts)} is short for a step: a release is down after 8s without an answer or "
                f"three restarts, and is compared after 200 requests; write {write_duration(SOUND)} or more",
            )

    @model_serializer(mode="wrap")
    def _as_list(self, whole: SerializerFunctionWrapHandler) -> Any:
        if not (self.lasts != LASTS or self.requests or self.route):
            return list(self.steps)
        found = whole(self)
        if not self.route:  # as an earlier version wrote it
            del found["route"]
        return found

    def __str__(self) -> str:
        if not self.steps:
            return "none"
        more = [f"for {write_duration(self.lasts)}"] if self.lasts != LASTS else []
        more += [f"or {self.requests} requests"] if self.requests else []
        more += [f"by the HTTPRoute {self.route}"] if self.route else []
        return " ".join([", ".join(f"{one:g}%" for one in self.steps), *more])
