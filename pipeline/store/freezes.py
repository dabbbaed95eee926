"""What froze and thawed environments by hand, and what is frozen with the windows of pipelines.yaml."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.models import Config
from pipeline.domain.audit_chain import Entry
from pipeline.domain.promotion import freezing
from pipeline.domain.promotion.freezing import FreezeAct, Frozen, Opened, Thawed
from pipeline.errors import ConfigError
from pipeline.lib import codec
from pipeline.store.configurations import Configurations
from pipeline.store.connection import read
from pipeline.store.store import Store

FACT = "freezes"


@dataclass(frozen=True)
class FreezeLook:
    """The windows and the acts as they are at one moment, for many questions."""

    config: Config
    acts: tuple[FreezeAct, ...]

    def frozen(self, pipeline: str, environment: str, now: float) -> Frozen | None:
        """What keeps runs out of that environment at ``now``, seconds since the epoch."""
        windows = self.config.freeze_of(pipeline)
        return freezing.frozen(windows, self.acts, pipeline, environment, now)

    def thawed(self, pipeline: str, environment: str, now: float) -> Thawed | None:
        """The thaw but for which a window would freeze that environment now."""
        return freezing.thawed(self.config.freeze_of(pipeline), self.acts, pipeline, environment, now)

    def opened(self, pipeline: str, environment: str, now: float) -> tuple[Opened, ...]:
        """The windows of the file that a thaw opens ``now``."""
        return freezing.opened(self.config.freeze_of(pipeline), pipeline, environment, now)

    def following(self, pipeline: str, environment: str, now: float) -> Frozen | None:
        """The next window of the file after ``now``."""
        return freezing.following(self.config.freeze_of(pipeline), environment, now)


class Freezes:
    """``configurations``: the windows of the file in force count, whatever file a run began with: a window that was
    taken out keeps no run waiting."""

    def __init__(self, store: Store, configurations: Configurations) -> None:
        self._store, self._configurations = store, configurations

    def look(self) -> FreezeLook:
        """Raises DamagedRecord: what may be frozen is not open."""
        return FreezeLook(self._config(), self._read(self._store.facts.get(FACT)))

    def add(self, act: FreezeAct, entry: Entry) -> None:
        """Records the act, with its audit entry."""
        self._store.facts.replace(FACT, lambda text: self._with(text, act), entry)

    def frozen(self, pipeline: str, environment: str, now: float) -> Frozen | None:
        """What keeps runs out of that environment at ``now``. Raises DamagedRecord."""
        return self.look().frozen(pipeline, environment, now)

    def _config(self) -> Config:
        try:
            return self._configurations.current()[1]
        except ConfigError:
            return Config()

    def _with(self, text: str, act: FreezeAct) -> str:
        acts = freezing.with_act(self._read(text), act)
        return codec.dump_as(tuple[FreezeAct, ...], acts)

    def _read(self, text: str) -> tuple[FreezeAct, ...]:
        return read(tuple[FreezeAct, ...], text or "[]", self._store.key("fact", FACT))
