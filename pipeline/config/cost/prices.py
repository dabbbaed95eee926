"""The `costs` key: what machines cost, by the month. Nothing is guessed: a machine without a price has none."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from pipeline.config import validators
from pipeline.config.engines import Where
from pipeline.config.fields import Model, Name, Words


def _currency(text: str) -> str:
    if len(text) != 3 or not (text.isascii() and text.isalpha() and text.isupper()):
        raise ValueError(f"{text[:20]!r} is not a currency; write its code of three letters: EUR, USD, GBP")
    return text


Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), Words("a price such as 12.50")]
Currency = Annotated[str, AfterValidator(_currency), Words("a currency such as EUR")]


class Machine(Model):
    """What a machine costs. A number is `monthly` alone."""

    SHORT = "a price such as 12.50, or {monthly: 12.50, docker: ssh://user@host}"
    NUMBER = True

    monthly: Price
    """By the calendar month, in the currency of `costs`."""
    docker: Annotated[
        str, AfterValidator(validators.docker_host), Words("ssh://user@host or tcp://host:port")
    ] = ""
    """The Docker Engine on it, as in an environment's `engine`. Default: this machine's. Nodes of clusters have no
    price yet."""

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, given: Any) -> Any:
        return given if isinstance(given, dict) else {"monthly": given}

    @model_serializer(mode="wrap")
    def _as_number(self, whole: SerializerFunctionWrapHandler) -> Any:
        return whole(self) if self.docker else self.monthly

    @property
    def engine(self) -> str:
        """The ``Where.key`` of its engine."""
        return Where(docker=self.docker).key


class Costs(Model):
    """What the machines cost on which pipelines run, for `pushlive cost`."""

    currency: Currency = "EUR"
    """The currency of all prices, by its code of three letters."""
    machines: dict[Name, Machine] = {}
    """The machines by names of your choice: `{vps: 12.50}` is this one."""

    @model_validator(mode="after")
    def _each_once(self) -> Costs:
        seen = dict[str, str]()
        for name, machine in self.machines.items():
            if other := seen.get(machine.engine):
                raise ValueError(
                    f"the machines {other} and {name} have the same engine; give one price for it"
                )
            seen[machine.engine] = name
        return self

    def machine_of(self, engine: str) -> tuple[str, Machine] | None:
        """The machine with that engine (``Where.key``) and its name, None if it has no price."""
        return next(((n, one) for n, one in self.machines.items() if one.engine == engine), None)
