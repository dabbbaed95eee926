"""Accessories for a run: made and ready before anything of a release starts, and their values in its variables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from pipeline.config.diff import accessory_differences
from pipeline.config.models import Config, Rendered
from pipeline.config.workload.accessory import Accessory
from pipeline.config.workload.references import HOST, PORT, Reference, fill, referring
from pipeline.deploy.data import accessory_acts as acts
from pipeline.deploy.data.accessory_users import FILE, used_by, users
from pipeline.deploy.data.unfinished import refusal, refuse, to_be_copied
from pipeline.deploy.heartbeat import HeldLease, holding
from pipeline.deploy.services import Services
from pipeline.domain import accessories
from pipeline.domain.accessories import AccessoryRecord, AccessoryRef, AccessorySpec
from pipeline.domain.engine_types import SlotRef
from pipeline.domain.environment import SLOTS
from pipeline.domain.slots import slot_ref
from pipeline.errors import (
    AccessoryFailed,
    Busy,
    ConfigError,
    DamagedRecord,
    EngineFailed,
    NotFound,
    PushliveError,
    StoreUnavailable,
    TryAgain,
)
from pipeline.lib.retry import poll
from pipeline.lib.secret import Secret
from pipeline.lib.units import write_duration
from pipeline.ports.clock import Clock, Watch
from pipeline.ports.engine import Engines
from pipeline.secrets.vault import Vault
from pipeline.store import Lease, Store

LEASE_TIMEOUT = 30.0  # seconds: another run or the keeper may be making it
ASK_EVERY = 0.25  # seconds
GIVEN_UP = 3  # restarts by the engine after which it will not become ready
LATER = "Try again once it has ended."
LINES = 20  # of output that a failure shows


class AccessoryCare:
    """All that is done to accessories, under the lease of each."""

    def __init__(self, services: Services, engines: Engines, clock: Clock) -> None:
        self._store, self._vault = services.store, services.vault
        self._configurations = services.configurations
        self._places = len(services.settings.port_range)
        self._engines, self._clock = engines, clock

    # ── for a run ────────────────────────────────────────────────────────────

    def ensure(self, ref: SlotRef, config: Rendered, watch: Watch) -> tuple[AccessoryRecord, ...]:
        """Every accessory that this environment uses is there, started, and reachable under its names. Raises
        EngineFailed if one cannot be, or was stopped by a person."""
        found = []
        self._free_addresses(ref)
        for used_as in used(config):
            names = [host for host, use in config.uses.items() if use.accessory == used_as]
            name = self._name_now(used_as, ref.environment)
            with self.lease(f"{name}/{ref.environment}", watch, "accessory") as lease:
                refuse(self._store, [AccessoryRef(name, ref.environment).volume], AccessoryFailed)
                self._refuse_left_data(name, ref, config)
                record = self._attached(name, ref, names, self._store.accessories.get(name, ref.environment))
                if record.stopped:
                    raise stopped(self._store, record)
                self._store.accessories.put(record, lease)
                engine = lease.fenced(self._engines.of(record.engine))
                engine.accessories.keep_accessory(self.spec(record), watch)
                found.append(record)
        return tuple(found)

    def _name_now(self, name: str, environment: str) -> str:
        """A release from before a rename knows it by a former name, unless pipelines.yaml has another one of that."""
        if name in self._configurations.current()[1].accessories:
            return name
        found = self._store.accessories.known_as(name, environment)
        return found.name if found else name

    def _refuse_left_data(self, name: str, ref: SlotRef, config: Rendered) -> None:
        """Raises ConfigError if one that no one has made would take the place of one with data that the file no longer
        has: the deploy would go on without these data, and no one would know."""
        new = self._configurations.current()[1].accessories.get(name)
        if new is None or not new.volume or self._store.accessories.get(name, ref.environment):
            return
        for old in self._store.accessories.of(ref.pipeline):
            if (
                old.environment == ref.environment
                and self._is_left(old)
                and self._replaces(new, name, config, old)
            ):
                raise _left_data(
                    old, AccessoryRef(name, ref.environment), f"{ref.pipeline}/{ref.environment}"
                )

    def _is_left(self, record: AccessoryRecord) -> bool:
        return bool(record.config.volume) and record.name not in self._configurations.current()[1].accessories

    def _replaces(self, new: Accessory, name: str, config: Rendered, old: AccessoryRecord) -> bool:
        """Under the same host name, or from the same image."""
        hosts = {host for host, use in config.uses.items() if use.accessory == name}
        had = {host for one in old.attached.values() for host in one.names}
        return bool(hosts & had) or _without_tag(new.image) == _without_tag(old.config.image)

    def await_ready(self, record: AccessoryRecord, watch: Watch) -> None:
        """Raises EngineFailed, with its last output, if it does not become ready in its time."""
        engine, spec = self._engines.of(record.engine).accessories, self.spec(record)
        until = self._clock.monotonic() + record.config.ready
        while why := engine.accessory_unready(spec):
            over = self._clock.monotonic() >= until
            if over or engine.accessory_state(spec.ref).restarts >= GIVEN_UP:
                waited = f" within {write_duration(record.config.ready)}" if over else ""
                raise AccessoryFailed(
                    f"the accessory {record.id} did not become ready{waited}: {why}.",
                    advice=f"`pushlive accessory logs {record.name} {record.environment}` shows its output. If "
                    f"accessories.{record.name} in pipelines.yaml is wrong, such as its `port`, `health` or `ready`, "
                    f"correct it; `pushlive accessory apply {record.name} {record.environment}` takes that over.",
                    again=True,
                    evidence=engine.accessory_output(spec.ref, LINES),
                )
            watch.wait(ASK_EVERY)
        problem = f"accessory-problem:{record.id}"  # the keeper may have looked while it started
        if self._store.facts.get(problem):
            self._store.facts.set(problem, "")

    def away(self, ref: SlotRef, config: Rendered) -> tuple[str, ...]:
        """Why accessories that this environment uses are not ready now, one sentence each."""
        found = []
        for name in used(config):
            record = self._store.accessories.known_as(name, ref.environment)
            why = self.why_away(record) if record else "it does not exist"
            found += [f"the accessory {name}/{ref.environment} is away: {why}"] if why else []
        return tuple(found)

    def why_away(self, record: AccessoryRecord) -> str:
        try:
            return self._engines.of(record.engine).accessories.accessory_unready(self.spec(record))
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return error.message

    # ── records ──────────────────────────────────────────────────────────────

    @contextmanager
    def lease(self, accessory: str, watch: Watch, holder: str = acts.HOLDER) -> Iterator[HeldLease]:
        """The accessory's lease, by default for an act of a person, which may stop it. Raises Busy if another process
        keeps it, TryAgain if one takes it over, and what the watch raises."""

        def take() -> Lease | None:
            watch.check()
            return self._store.leases.take(f"accessory:{accessory}", holder)

        lease = poll(take, 0.05, self._clock, timeout=LEASE_TIMEOUT)
        if lease is None:
            raise Busy(f"another process is at work on the accessory {accessory}.", advice=LATER)
        with holding(self._store, lease) as held:
            yield held
            if holder == acts.HOLDER:
                acts.acted(self._store, accessory, self._clock.now())

    def _attached(
        self, name: str, ref: SlotRef, names: Iterable[str], record: AccessoryRecord | None
    ) -> AccessoryRecord:
        """The record, new from the configuration in force if there is none, attached to that environment. What was
        never made, such as after a mistake in the name of its image, is made from the configuration in force as
        well."""
        if record and self._is_outdated(record) and not self._from_before(record.ref):
            record = self.renewed(record)
        if record is None:
            config = self._definition(name, ref)
            self._refuse_new_values(AccessoryRef(name, ref.environment, ref.engine), config)
            versions = self._vault.provide(name, ref.environment, config.secrets, self._clock.now())
            record = AccessoryRecord(
                name, ref.environment, ref.engine, config, self._clock.now(), secrets=versions
            )
        if record.engine != ref.engine:
            raise ConfigError(
                f"the accessory {record.id} is on {record.engine}, and {ref.pipeline}/{ref.environment} on "
                f"{ref.engine}, which does not reach it.",
                advice="Keep the environment on that engine, or give it an accessory of another name.",
            )
        others = [
            one for one in self._store.accessories.of(ref.pipeline) if one.environment == ref.environment
        ]
        return accessories.attached(record, ref.pipeline, ref.index, names, others)

    def _is_outdated(self, record: AccessoryRecord) -> bool:
        """The configuration in force has another definition, and may replace the one that was stored."""
        now = self._configurations.current()[1].accessories.get(record.name)
        return now not in (None, record.config) and not (record.upgrade or record.moved_from)

    def _refuse_new_values(self, ref: AccessoryRef, config: Accessory) -> None:
        """Data from before the store was lost knows other values than those that would be generated now."""
        known = self._store.secrets(ref.name)
        lost = [
            name
            for name, origin in config.secrets.items()
            if origin == "generate" and not (name in known and known[name].ever(ref.environment))
        ]
        found = self._from_before(ref) if lost else ""
        if not found:
            return
        names, verb = ", ".join(lost), "is" if len(lost) == 1 else "are"
        commands = " and ".join(
            f"`pushlive secret set {ref.name} {name} --env {ref.environment}`" for name in lost
        )
        raise ConfigError(
            f"the accessory {ref.id} has data that was made with another {names} than would be generated now: {found}, "
            f"and {names} {verb} not in this store.",
            advice=f"Set what its data was made with: {commands}. Without that data: "
            f"`pushlive volume rm {ref.volume}` removes it with every file.",
            again=True,
        )

    def _from_before(self, ref: AccessoryRef) -> str:
        """What an engine has of an accessory that the store does not know, in words."""
        engine = self._engines.of(ref.engine)
        if any(one.ref == ref.volume for one in engine.volumes.volumes()):
            return f"its volume {ref.volume} exists"
        return "its container exists" if ref in engine.accessories.accessories() else ""

    def _definition(self, name: str, ref: SlotRef) -> Accessory:
        _, config = self._configurations.current()
        if name not in config.accessories:
            raise ConfigError(
                f"the accessory {name}, which {ref.pipeline}/{ref.environment} uses, is not in pipelines.yaml.",
                advice=self._how_to_have(AccessoryRef(name, ref.environment, ref.engine), ref.pipeline),
                again=True,
            )
        return config.accessories[name]

    def _how_to_have(self, ref: AccessoryRef, pipeline: str) -> str:
        if self._from_before(ref):
            return "Add it under `accessories`: its data are still there."
        found = [one for one in self._store.accessories.of(pipeline) if one.environment == ref.environment]
        others = [
            f"`pushlive accessory mv {one.name} {one.environment} {ref.name}`"
            for one in found
            if one.config.volume
        ]
        if not others:
            return "Add it under `accessories`."
        return (
            f"Under `accessories` a new one is made, without data. If one that is there is meant, under another name: "
            f"write {ref.name} in its place in pipelines.yaml, then {' or '.join(others)} gives it that name."
        )

    def _free_addresses(self, ref: SlotRef) -> None:
        """Those of accessories that this environment has used and does not any more."""
        _, config = self._configurations.current()
        for one in self._store.accessories.of(ref.pipeline):
            if one.environment == ref.environment and not used_by(self._store, config, one.ref, ref.pipeline):
                with suppress(TryAgain):  # one at which another process is at work is left to the keeper
                    self.release_unused(one.ref)

    def release_unused(self, ref: AccessoryRef) -> None:
        """Disconnects the accessory from environments that do not use it any more. Raises TryAgain."""
        lease = self._store.leases.take(f"accessory:{ref.id}", "accessory")
        if lease is None:
            raise Busy(f"another process is at work on the accessory {ref.id}.", advice=LATER)
        with holding(self._store, lease) as held:
            if record := self._store.accessories.get(ref.name, ref.environment):
                self.pruned(record, held)

    def pruned(self, record: AccessoryRecord, lease: HeldLease) -> AccessoryRecord:
        """The same for one whose lease is held; returns the record as it is then."""
        _, config = self._configurations.current()
        users = {name: used_by(self._store, config, record.ref, name) for name in record.attached}
        if all(users.values()):
            return record
        engine = lease.fenced(self._engines.of(record.engine))
        for name, one in record.attached.items():
            if not users[name]:
                engine.accessories.detach_accessory(record.ref, one)
        left = {name: one for name, one in record.attached.items() if users[name]}
        record = replace(record, attached=left)
        self._store.accessories.put(record, lease)
        return record

    def users(self, record: AccessoryRecord) -> dict[str, str]:
        """See ``accessory_users.users``."""
        return users(self._store, self._configurations.current()[1], record.ref, record.attached)

    def configured(self, name: str, environment: str) -> AccessoryRecord:
        """The record, attached to every environment that uses it by the configuration in force; new if there is none.
        Raises NotFound if nothing uses it there."""
        _, config = self._configurations.current()
        record = self._store.accessories.get(name, environment)
        for pipeline, one in config.pipelines.items():
            rendered = one.render(environment) if environment in one.environments else None
            names = [host for host, use in rendered.uses.items() if use.accessory == name] if rendered else []
            if rendered is None or not names:
                continue
            found = self._store.ensure_environment(pipeline, environment, self._places, rendered.engine.key)
            record = self._attached(name, slot_ref(found, SLOTS[0]), names, record)
        if record is None:
            raise _unused(name, environment)
        return record

    def insist_on_use(self, name: str, environment: str) -> None:
        """Raises NotFound unless a pipeline uses it there by the configuration in force."""
        _, config = self._configurations.current()
        if FILE not in users(self._store, config, AccessoryRef(name, environment)).values():
            raise _unused(name, environment)

    def renewed(self, record: AccessoryRecord) -> AccessoryRecord:
        """The record with the definition in force and the newest secrets. Raises ConfigError if it is not in the
        file."""
        _, config = self._configurations.current()
        if record.name not in config.accessories:
            raise ConfigError(
                f"the accessory {record.name} is not in pipelines.yaml.", advice="Add it under `accessories`."
            )
        new = config.accessories[record.name]
        versions = self._vault.provide(record.name, record.environment, new.secrets, self._clock.now())
        return replace(record, config=new, secrets=versions)

    def keep(self, record: AccessoryRecord, lease: HeldLease, watch: Watch) -> bool:
        """For the keeper: starts what should run and does not; True if it did anything. Raises AccessoryFailed if it
        does not have all its data yet."""
        spec = self.spec(record)
        if record.stopped or not spec.attached:
            return False
        refuse(self._store, [record.ref.volume], AccessoryFailed)
        return lease.fenced(self._engines.of(record.engine)).accessories.keep_accessory(spec, watch)

    def spec(self, record: AccessoryRecord) -> AccessorySpec:
        """Attached to those environments that still exist: the network of another one may have their index by now."""
        there = {
            pipeline: one
            for pipeline, one in record.attached.items()
            if (found := self._store.environment(pipeline, record.environment))
            and (found.index, found.engine) == (one.index, record.engine)
        }
        record = replace(record, attached=there)
        reveal = partial(self._vault.reveal, record.name, record.environment, record.secrets)
        return accessories.spec_of(record, reveal)


def planned(store: Store, config: Config) -> Iterator[tuple[str, str, str]]:
    """(pipeline, environment, line) for each difference between an accessory as it was made and that configuration: no
    push makes it so."""
    for record in store.accessories.all():
        after = config.accessories.get(record.name)
        name, where = record.name, record.environment
        if after:
            how = f"only `pushlive accessory apply {name} {where}` does it"
            if not _has_served(store, record):
                how = f"the next run does it if there is none yet, otherwise {how}"
            texts = [f"{line}; {how}" for line in accessory_differences(record.config, after)]
        else:
            texts = [
                f"it is not in the file any more, and stays as it is; `pushlive accessory mv {name} {where} NEW` gives "
                "it the name that the file has now, with its data"
            ]
        for pipeline in record.attached:
            yield from ((pipeline, where, f"accessory {name}: {text}") for text in texts)


def _has_served(store: Store, record: AccessoryRecord) -> bool:
    """Whether a release that uses it was ever verified, so that it was made."""
    for pipeline in record.attached:
        environment = store.environment(pipeline, record.environment)
        for number in environment.good if environment else ():
            try:
                rendered = store.release(pipeline, number).environments.get(record.environment)
            except (NotFound, DamagedRecord):
                continue
            if rendered and record.name in used(rendered):
                return True
    return False


def used(config: Rendered) -> tuple[str, ...]:
    """The accessories that are named under ``uses``."""
    return tuple(dict.fromkeys(use.accessory for use in config.uses.values() if use.accessory))


def revealing(
    reveal: Callable[[], dict[str, Secret]], store: Store, vault: Vault, ref: SlotRef, config: Rendered
) -> Callable[[], dict[str, Secret]]:
    """What containers are given of ``reveal``, and the variables with references, filled in. Raises ConfigError or
    EngineFailed if a value is not there."""
    names = referring(config.service.env, config.uses)

    apart = config.service.proxys_secrets

    def given() -> dict[str, Secret]:
        return {name: value for name, value in reveal().items() if name not in apart}

    if not names:
        return given if apart else reveal

    def whole() -> dict[str, Secret]:
        values = partial(_value, store, vault, ref, config)
        filled = {name: Secret(fill(config.service.env[name], config.uses, values)) for name in names}
        return {**given(), **filled}

    return whole


def admitting(reveal: Callable[[], dict[str, Secret]], config: Rendered) -> Callable[[], dict[str, Secret]]:
    """What a proxy needs of ``reveal`` to know whom it lets in."""
    names = set(config.service.http.basic.values())

    def passwords() -> dict[str, Secret]:
        return {name: value for name, value in reveal().items() if name in names} if names else {}

    return passwords


def _value(store: Store, vault: Vault, ref: SlotRef, config: Rendered, one: Reference) -> str:
    use = config.uses[one.use]
    if not use.accessory:
        parts = {HOST: use.host, PORT: use.port}
        return (
            parts[one.name]
            if one.name in parts
            else vault.newest(ref.pipeline, ref.environment, one.name).reveal()
        )
    record = store.accessories.known_as(use.accessory, ref.environment)
    if record is None:
        raise EngineFailed(f"{one.text}: the accessory {use.accessory}/{ref.environment} does not exist.")
    if one.name in record.secrets:
        versions = {one.name: record.secrets[one.name]}
        return vault.reveal(record.name, record.environment, versions)[one.name].reveal()
    plain = {HOST: one.use, PORT: str(record.config.port or ""), **record.config.env}
    if not plain.get(one.name):
        raise ConfigError(
            f"{one.text}: the accessory {record.id} was made without {one.name}.",
            advice=f"`pushlive accessory apply {record.name} {record.environment}` makes it as pipelines.yaml says "
            "now.",
            again=True,
        )
    return plain[one.name]


def _unused(name: str, environment: str) -> NotFound:
    return NotFound(
        f"no pipeline uses an accessory {name[:60]} in {environment[:60]}.",
        advice="Name it under `uses` of a pipeline in pipelines.yaml.",
    )


def _without_tag(image: str) -> str:
    path, slash, name = image.partition("@")[0].rpartition("/")
    return f"{path}{slash}{name.partition(':')[0]}"


def _left_data(old: AccessoryRecord, new: AccessoryRef, where: str) -> ConfigError:
    move = f"pushlive accessory mv {old.name} {old.environment} {new.name}"
    return ConfigError(
        f"{where} uses {new.id}, which was never made, and {old.id}, whose data it has now, is not in pipelines.yaml "
        "any more: it would go on without them.",
        advice=f"`{move}` gives {old.id} that name, with its data. To begin without these data: "
        f"`pushlive accessory start {new.name} {new.environment}`.",
        again=True,
    )


def stopped(store: Store, record: AccessoryRecord) -> PushliveError:
    """Why it does not run, and what starts it again: a person, or a move to another name that was broken off. Raises
    DamagedRecord."""
    if waits := to_be_copied(store, str(record.ref.volume)):
        return refusal(store, waits, AccessoryFailed)
    return AccessoryFailed(
        f"the accessory {record.id} was stopped by {record.stopped}.",
        advice=f"`pushlive accessory start {record.name} {record.environment}` starts it.",
        again=True,
    )
