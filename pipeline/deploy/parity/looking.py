"""An environment as a column of ``domain.parity.matrix``: what is declared, and what its engine says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pipeline.config.models import Config, Pipeline, Rendered
from pipeline.config.parity.properties import IMAGE, OUTSIDE, Value, plain, properties
from pipeline.deploy.services import Services
from pipeline.deploy.slot.serving import spec_in
from pipeline.domain import slots
from pipeline.domain.accessories import AccessoryRecord
from pipeline.domain.environment import SLOTS, Environment, other
from pipeline.domain.parity import seen
from pipeline.domain.parity.matrix import Column
from pipeline.domain.parity.seen import Seen
from pipeline.domain.release import Release
from pipeline.errors import PushliveError, StoreUnavailable
from pipeline.ports.adapters import Adapters


@dataclass(frozen=True)
class Looked:
    """``by_hand``: what was changed or is missing on the engine, a line each; ``problem``: why the engine was not asked
    or did not say; then the column is what Pushlive started."""

    column: Column
    by_hand: tuple[str, ...] = ()
    problem: str = ""


class Looking:
    """Read-only."""

    def __init__(self, services: Services, adapters: Adapters) -> None:
        self._services, self._adapters, self._store = services, adapters, services.store

    def now(self, config: Config, name: str, environment: str) -> Looked:
        """That environment of the pipeline ``name``, compared with the configuration in force."""
        pipeline = config.pipelines[name]
        wanted, differs = (
            properties(pipeline.render(environment), config.accessories, pipeline.keeps_warm(environment)),
            pipeline.environment(environment).differs,
        )
        record = self._store.environment(name, environment)
        if record is None or record.active is None or record.serving is None:
            return Looked(Column(environment, wanted, differs=differs))
        release = self._store.release(name, record.serving)
        if environment not in release.environments:
            return Looked(Column(environment, wanted, differs=differs))
        found, by_hand, problem = self._served(record)
        made = self._made(release, pipeline, record, found)
        runs = {**made, **self._accessories_now(record, release.environments[environment])}
        runs = _over(runs, found.inside)
        later = {**{key: value for key, value in made.items() if _outside(key)}, **wanted}
        column = Column(environment, later, runs, made, differs, record.serving)
        return Looked(column, by_hand, problem)

    def to_come(self, release: Release, record: Environment, pipeline: Pipeline) -> Column:
        """The environment with that release. Raises what the engine raises."""
        name = record.name
        slot = other(record.active) if record.active else SLOTS[0]
        spec = slots.spec_of(slots.slot_ref(record, slot), release, 0)
        around = self._adapters.engines.of(record.engine).drift.seen(spec)
        made = self._made(release, pipeline, record, Seen({}, around.around))
        return Column(name, made, made, made, pipeline.environment(name).differs, release.number)

    def tested(self, release: Release, record: Environment, pipeline: Pipeline) -> Column:
        """The environment in which the release was before. What was changed by hand counts while the release serves
        there. Raises what the engine raises."""
        if record.serving != release.number or record.active is None:
            return self.to_come(release, record, pipeline)
        spec = spec_in(self._services, record, record.active)
        found = self._adapters.engines.of(record.engine).drift.seen(spec)
        name = record.name
        made = self._made(release, pipeline, record, found)
        runs = {**made, **self._accessories_now(record, release.environments[name])}
        inside = {} if record.asleep else found.inside
        differs = pipeline.environment(name).differs
        return Column(name, made, _over(runs, inside), made, differs, release.number)

    # ── parts ────────────────────────────────────────────────────────────────

    def _served(self, record: Environment) -> tuple[Seen, tuple[str, ...], str]:
        """What the engine says of the slot that serves, what was changed there by hand, and why it says nothing."""
        try:
            spec = spec_in(self._services, record, record.active or "")
            drift = self._adapters.engines.of(record.engine).drift
            if record.asleep:  # its containers have ended, as they should
                return Seen({}, drift.seen(spec).around), (), ""
            return drift.seen(spec), (*drift.missing(spec), *drift.drift(spec)), ""
        except StoreUnavailable:
            raise
        except PushliveError as error:
            return Seen(), (), str(error)

    def _made(
        self, release: Release, pipeline: Pipeline, record: Environment, found: Seen
    ) -> dict[str, Value]:
        """As the release has it; `keep_warm` as the configuration in force has it hold there."""
        config = release.environments[record.name]
        known = {one.name: one for one in self._records(config, record)}
        used = {
            use.accessory: known[use.accessory].config
            for use in config.uses.values()
            if use.accessory in known
        }
        warm = record.name in pipeline.environments and pipeline.keeps_warm(record.name)
        return {IMAGE: seen.image(release.image), **properties(config, used, warm), **found.around}

    def _records(self, config: Rendered, record: Environment) -> Iterable[AccessoryRecord]:
        """By the names that the release uses."""
        for name in sorted({use.accessory for use in config.uses.values()} - {""}):
            if found := self._store.accessories.known_as(name, record.name):
                yield replace(found, name=name) if found.name != name else found

    def _accessories_now(self, record: Environment, config: Rendered) -> dict[str, Value]:
        """The images that their containers really have."""
        images: dict[str, Value] = {}
        for one in self._records(config, record):
            try:
                state = self._adapters.engines.of(one.engine).accessories.accessory_state(one.ref)
            except StoreUnavailable:
                raise
            except PushliveError:  # the keeper reports it
                continue
            if state.image and state.image != one.config.image:
                images[f"accessories.{one.name}.image"] = plain(state.image)
        return images


def _over(values: dict[str, Value], found: dict[str, Value | None]) -> dict[str, Value]:
    """The values with what was seen instead; None: there is none."""
    both: dict[str, Value | None] = {**values, **found}
    return {name: value for name, value in both.items() if value is not None}


def _outside(name: str) -> bool:
    """Whether the file alone does not say it."""
    return name in OUTSIDE
