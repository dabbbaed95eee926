"""Taking up what runs into a store that knows nothing of it. Plain data and pure rules.

What is found on an engine says which release is in which slot. A slot can be taken up if the specification that is put
together from it leads to the very containers that are there: then nothing has to be started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from pipeline.config.models import Rendered
from pipeline.domain import gates
from pipeline.domain.engine_types import SlotRef, SlotSpec
from pipeline.domain.environment import Environment, Slot, SlotRecord, SlotState, other
from pipeline.domain.release import Release
from pipeline.lib import codec

BY = "adopt"  # who set a hold


@dataclass(frozen=True)
class Made:
    """What a slot was made from, as its containers remember it; never a secret's value."""

    config: Rendered
    image: str
    remote: str = ""
    secrets: dict[str, int] = field(default_factory=dict)
    form: int = 0


def remembered(spec: SlotSpec) -> str:
    """What the containers of that spec are to remember, as one line of text."""
    return codec.dump(Made(spec.config, spec.image, spec.remote, spec.secrets, spec.form))


def made_of(text: str | None) -> Made | None:
    """What containers remember; None for those of an earlier version, or a later one with another form."""
    try:
        return codec.load(Made, text) if text else None
    except ValidationError:
        return None


def runs_by_schedule_alone(config: Rendered) -> bool:
    """True if nothing of it runs all the time, so that only the last run by a schedule tells which release serves."""
    service = config.service
    return not service.web and not service.processes_in_use and bool(service.cron_in_use)


@dataclass(frozen=True)
class FoundSlot:
    """A slot with containers. ``spec``: the hash that the engine made from their specification (on Docker that of the
    ``replica`` of this number); ``well``: they run and have been ready. Without a web process, its other processes are
    meant, and ``replicas`` is 1."""

    ref: SlotRef
    release: int
    run: int
    commit: str
    spec: str
    replicas: int
    well: bool
    created: float  # seconds since the epoch
    image: str = ""  # its id, "" if the engine does not know the one of the build machine
    remote: str = ""  # its name in a registry
    replica: int = 1
    made: Made | None = None


@dataclass(frozen=True)
class FoundEnvironment:
    """An environment as its engine knows it. ``routed``: the proxy knows it, so ``serving`` is the whole truth."""

    pipeline: str
    name: str
    index: int
    engine: str
    routed: bool
    serving: Slot | None
    slots: tuple[FoundSlot, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.pipeline}/{self.name}"

    @property
    def active(self) -> Slot | None:
        """The slot that takes the traffic. If the proxy's routes are lost: the only one that runs."""
        there = [one.ref.slot for one in self.slots]
        if self.routed:
            return self.serving if self.serving in there else None
        well = [one.ref.slot for one in self.slots if one.well]
        return well[0] if len(well) == 1 else None

    @property
    def ambiguous(self) -> bool:
        """True if two slots run and nothing says which one serves."""
        return not self.routed and sum(one.well for one in self.slots) > 1


def environment_of(
    found: FoundEnvironment,
    specs: Mapping[Slot, SlotSpec],
    releases: Mapping[int, Release],
    now: float,
    failed_for: float,
) -> Environment:
    """The record of an environment. ``specs``: those of the slots that can be taken up; ``releases``: of these. A slot
    that cannot, or that is not well, is kept for ``failed_for`` seconds and then cleared."""
    active = found.active
    records = {one.ref.slot: _record(one, specs, active, now, failed_for) for one in found.slots}
    environment = Environment(found.pipeline, found.name, found.index, found.engine, active, records)
    if active is None:
        return environment
    good = _good(environment, active)
    pairs = {number: (releases[number].image, releases[number].fingerprint(found.name)) for number in good}
    environment = replace(environment, good=good, pairs=pairs, newest_run=records[active].run)
    return _held(environment, specs[active], releases, now)


def _record(
    one: FoundSlot, specs: Mapping[Slot, SlotSpec], active: Slot | None, now: float, failed_for: float
) -> SlotRecord:
    spec = specs.get(one.ref.slot)
    versions = spec.secrets if spec else {}
    if one.ref.slot == active:
        return SlotRecord(one.release, one.run, SlotState.SERVING, one.created, secrets=versions)
    if spec and one.well and active:
        until = now + spec.config.service.keep_warm
        return SlotRecord(one.release, one.run, SlotState.WARM, now, until, versions)
    return SlotRecord(one.release, one.run, SlotState.FAILED, now, now + failed_for, versions)


def _good(environment: Environment, active: Slot) -> tuple[int, ...]:
    """A warm slot has the release from before; a higher number in it means that the traffic was taken back."""
    serving, warm = environment.slots[active], environment.slots.get(other(active))
    before = warm is not None and warm.state == SlotState.WARM and warm.release < serving.release
    return (warm.release, serving.release) if warm and before else (serving.release,)


def _held(
    environment: Environment, spec: SlotSpec, releases: Mapping[int, Release], now: float
) -> Environment:
    """Held if it needs a secret that is lost, or if a newer release than the one that serves was there."""
    reasons: list[str] = []
    if secrets := spec.config.service.all_secrets:
        commands = " and ".join(f"`pushlive secret set {environment.pipeline} {name}`" for name in secrets)
        option = f"(`--env {environment.name}`: for it alone)"
        reasons.append(f"lost with the store: {', '.join(secrets)}; set again with {commands} {option}")
    newer = environment.slots.get(other(spec.ref.slot))
    if newer and newer.release > spec.release:
        why = f"r{newer.release} was there beside r{spec.release}, which serves: it was reverted or not finished"
        reasons.append(why)
        if newer.release in releases and newer.state == SlotState.WARM:
            environment = gates.with_quarantine(environment, releases[newer.release], why, now)
    return gates.hold(environment, "; ".join(reasons), BY, now) if reasons else environment


def with_replicas(config: Rendered, count: int) -> Rendered:
    """The configuration with as many replicas as there are."""
    return config.model_copy(update={"service": config.service.model_copy(update={"replicas": count})})


def spec_from(one: FoundSlot, made: Made) -> SlotSpec:
    """The specification of a slot that was made from that."""
    return SlotSpec(
        one.ref,
        one.release,
        one.run,
        one.commit,
        made.image,
        made.config,
        made.secrets,
        remote=made.remote,
        form=made.form,
    )
