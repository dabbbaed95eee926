"""Tells a new installation from one whose store was lost: an empty store alone does not say which."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pipeline.config.engines import kind_of
from pipeline.config.models import Config
from pipeline.deploy.services import Services
from pipeline.domain.engine_types import SlotRef
from pipeline.errors import ConfigError, PushliveError
from pipeline.maintenance.job import Changes, Job
from pipeline.ports.engine import Engines
from pipeline.store.origin import Beside


class Recognition(Job):
    """``traces``: what the data folder has of an earlier store, in words."""

    def __init__(self, services: Services, engines: Engines, traces: Callable[[], Iterable[str]]) -> None:
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
        return self._problems.report(str(beside.error()))

    def look(self) -> Beside:
        """What is there. An engine that does not answer may run anything."""
        found, unseen = list(self._traces()), []
        for key in sorted(self._engines.in_use()):
            try:
                slots = tuple(self._engines.of(key).slots.slots())
            except PushliveError as error:
                unseen.append(f"what runs on {key} is unknown ({error.message.rstrip('.')})")
                continue
            found += self._running(key, slots)
        return Beside(tuple(found), tuple(unseen))

    def _running(self, key: str, slots: tuple[SlotRef, ...]) -> list[str]:
        own = [ref for ref in slots if self._ours(ref)]
        return [f"{ref.pipeline}/{ref.environment} ({ref.slot}) is on {key}" for ref in own]

    def _ours(self, ref: SlotRef) -> bool:
        """An Engine belongs to one installation. A namespace may belong to several, so there only what pipelines.yaml
        names counts."""
        if not kind_of(ref.engine).cleanup_command:
            return True
        try:
            _, config = self._configurations.current()
        except ConfigError:
            return True
        return _names(config, ref)


def _names(config: Config, ref: SlotRef) -> bool:
    pipeline = config.pipelines.get(ref.pipeline)
    if pipeline is None or ref.environment not in pipeline.environments:
        return False
    return pipeline.environment(ref.environment).engine.key == ref.engine
