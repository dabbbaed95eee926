"""Tells a new installation from one whose store was lost: an empty store alone does not say which."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.config.engines import kind_of
from pipeline.config.models import Config
from pipeline.deploy.services import Services
from pipeline.domain.adoption import FoundEnvironment
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import ConfigError, PushliveError
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.engine import Engines
from pipeline.store.origin import Beside


class Recognition(Job):
    """``traces``: what the data folder has of an earlier store, in words; ``ensure_token``: makes a token for the
    person who decides, since the store has lost all of them."""

    def __init__(
        self,
        services: Services,
        engines: Engines,
        traces: Callable[[], Iterable[str]],
        ensure_token: Callable[[], object],
    ) -> None:
        self._ensure_token = ensure_token
        self._configurations, self._origin = services.configurations, services.store.origin
        self._engines, self._traces, self._problems = engines, traces, Changes()

    def known(self) -> bool:
        """True if the store is this installation's. Asks the store alone."""
        return self._origin.known()

    def run(self) -> list[str]:
        """Marks the store of a new installation; otherwise reports what is there, once for each change."""
        if self._origin.known():
            return []
        beside = self.look()
        if beside.new:
            self._origin.mark()
            return []
        self._origin.note(beside)
        self._ensure_token()
        return self._problems.report(str(beside.error()))

    def look(self) -> Beside:
        """What is there. An engine that does not answer may run anything."""
        found, unseen = list(self._traces()), []
        for key in sorted(self._engines.in_use()):
            try:
                slots = tuple(self._engines.of(key).slots.slots())
                accessories = tuple(self._engines.of(key).accessories.accessories())
            except PushliveError as error:
                unseen.append(f"what runs on {key} is unknown ({error.message.rstrip('.')})")
                continue
            found += self._running(key, slots)
            found += [f"the accessory {ref.id} is on {key}" for ref in accessories]
        return Beside(tuple(found), tuple(unseen))

    def _running(self, key: str, slots: tuple[SlotRef, ...]) -> list[str]:
        try:
            _, config = self._configurations.current()
        except ConfigError:
            config = None
        own = [ref for ref in slots if config is None or not is_shared_with_others(config, ref)]
        return [f"{ref.pipeline}/{ref.environment} ({ref.slot}) is on {key}" for ref in own]


def is_shared_with_others(config: Config, one: SlotRef | FoundEnvironment) -> bool:
    """True if it may belong to another installation. An Engine belongs to one; a namespace may belong to several, so
    there only what pipelines.yaml names counts as ours."""
    if not kind_of(one.engine).cleanup_command:
        return False
    name = one.environment if isinstance(one, SlotRef) else one.name
    pipeline = config.pipelines.get(one.pipeline)
    if pipeline is None or name not in pipeline.environments:
        return True
    return pipeline.environment(name).engine.key != one.engine
