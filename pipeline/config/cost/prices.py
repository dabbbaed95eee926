"""The `costs` key: what machines cost, by the month. Nothing is guessed: a machine without a price has none."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from pipeline.config import validators
from pipeline.config.cost.cap import Caps
from pipeline.config.engines import Where, machines_of
from pipeline.config.fields import Empty, Model, Name, Words
from pipeline.config.promotion.shift import Percent
from pipeline.config.workload.kubernetes import NodeLabel, NodeValue

INSTANCE_TYPE = "node.kubernetes.io/instance-type"  # the label that every cloud gives its nodes


def _currency(text: str) -> str:
    if len(text) != 3 or not (text.isascii() and text.isalpha() and text.isupper()):
        raise ValueError(f"{text[:20]!r} is not a currency; write its code of three letters: EUR, USD, GBP")
    return text


Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), Words("a price such as 12.50")]
Currency = Annotated[str, AfterValidator(_currency), Words("a currency such as EUR")]


class Machine(Model):
    """What a machine costs, or each node of a cluster. A number is `monthly` alone."""

    SHORT = "a price such as 12.50, or {monthly: 12.50, docker: ssh://user@host}"
    NUMBER = True

    monthly: Price
    """By the calendar month, in the currency of `costs`. Of a cluster: for each node, by the time for which it was
    there."""
    docker: Annotated[
        str, AfterValidator(validators.docker_host), Words("ssh://user@host or tcp://host:port")
    ] = ""
    """The Docker Engine on it, as in an environment's `engine`. Default: this machine's."""
    kubernetes: (
        Annotated[str, Empty(""), AfterValidator(validators.context), Words("the name of a context")] | None
    ) = None
    """The context of the cluster whose nodes these are, as in an environment's `engine`, empty for the current one."""
    type: Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$")] = (
        ""
    )
    """The instance type of these nodes, as the cloud calls it (`cx22`, `m7g.large`): their label
    `node.kubernetes.io/instance-type`. Default: nodes of each type."""
    nodes: Annotated[dict[NodeLabel, NodeValue], Field(max_length=8)] = {}
    """The labels of these nodes. A node that several machines fit has the price of the one with most labels, `type`
    counted as one."""

    storage: Price = 0.0
    """By the GiB and calendar month, of volumes and of accessories' data: what files take on a Docker Engine, and what
    claims have on a cluster. Default: it is in `monthly`."""
    traffic: Price = 0.0
    """By the GiB, of answers that the proxy sends. A cluster does not count them. Default: it is in `monthly`."""

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, given: Any) -> Any:
        return given if isinstance(given, dict) else {"monthly": given}

    @model_validator(mode="after")
    def _of_one_engine(self) -> Machine:
        if self.docker and self.kubernetes is not None:
            raise ValueError("give either `docker` or `kubernetes`, not both")
        if self.kubernetes is None and (self.type or self.nodes):
            key = "type" if self.type else "nodes"
            raise ValueError(f"`{key}` tells nodes of a cluster apart; write which one: kubernetes: CONTEXT")
        if self.traffic and self.kubernetes is not None:
            raise ValueError("`traffic` is not counted on a cluster; remove it")
        if self.type and INSTANCE_TYPE in self.nodes:
            raise ValueError(f"`type` is the label {INSTANCE_TYPE}; give it once")
        return self

    @model_serializer(mode="wrap")
    def _as_number(self, whole: SerializerFunctionWrapHandler) -> Any:
        found = whole(self)
        return self.monthly if Machine(monthly=self.monthly) == self else found

    @property
    def engine(self) -> str:
        """The key of its machines: see ``engines.machines_of``."""
        return machines_of(Where(docker=self.docker or None, kubernetes=self.kubernetes).key)

    @property
    def labels(self) -> dict[str, str]:
        """Those that a node has to have; {} for every one."""
        return {**self.nodes, **({INSTANCE_TYPE: self.type} if self.type else {})}


class Costs(Caps):
    """What the machines cost on which pipelines run, for `pushlive cost`, and how much that may be."""

    currency: Currency = "EUR"
    """The currency of all prices, by its code of three letters."""
    machines: Annotated[dict[Name, Machine], Field(max_length=256)] = {}
    """The machines by names of your choice: `{vps: 12.50}` is this one."""
    headroom: Percent = 30.0
    """How much more than the load of the last week the replicas of an environment have to bear, for `pushlive cost` to
    call the others redundant. Default: 30%."""

    @model_validator(mode="after")
    def _each_once(self) -> Costs:
        seen = dict[tuple[str, frozenset[tuple[str, str]]], str]()
        for name, machine in self.machines.items():
            which = (machine.engine, frozenset(machine.labels.items()))
            if other := seen.get(which):
                same = "engine" if machine.kubernetes is None else "nodes"
                raise ValueError(
                    f"the machines {other} and {name} have the same {same}; give one price for it"
                )
            seen[which] = name
        stored = dict[str, str]()
        for name, machine in self.machines.items():
            if machine.storage and (other := stored.setdefault(machine.engine, name)) != name:
                raise ValueError(
                    f"the machines {other} and {name} are of one cluster; give `storage` at one of them"
                )
        return self

    def per_use(self, engine: str) -> tuple[float, float]:
        """The prices of a GiB that is stored for a month, and of one that is sent, on that engine (``Where.key``)."""
        own = [one for one in self.machines.values() if one.engine == machines_of(engine)]
        return max((one.storage for one in own), default=0.0), max((one.traffic for one in own), default=0.0)

    def machine_of(self, engine: str, labels: dict[str, str] | None = None) -> tuple[str, Machine] | None:
        """The machine with that engine (``Where.key``) and its name, None if it has no price. ``labels``: of one of the
        cluster's nodes; None for any of them."""
        key = machines_of(engine)
        fits = [
            (name, one)
            for name, one in self.machines.items()
            if one.engine == key and (labels is None or one.labels.items() <= labels.items())
        ]
        return max(fits, key=lambda one: len(one[1].labels), default=None)

    @property
    def labels(self) -> frozenset[str]:
        """The labels of nodes that a price depends on, the instance type as well."""
        return frozenset({INSTANCE_TYPE, *(key for one in self.machines.values() for key in one.labels)})
