"""Branch heads on the built-in git server that no run knows: a crash came between the ref and the record."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config.models import Config
from pipeline.deploy.admission import Accepted
from pipeline.domain.run import Push
from pipeline.errors import ConfigError, DamagedRecord
from pipeline.maintenance.damage import Damage
from pipeline.maintenance.job import Job
from pipeline.store import Store
from pipeline.store.configurations import Configurations


class UnrecordedHeads(Job):
    """``heads``: the branch heads of a repository on the built-in git server; ``accept``: takes a push."""

    def __init__(
        self,
        store: Store,
        configurations: Configurations,
        damage: Damage,
        accept: Callable[[Push], Accepted],
        heads: Callable[[str], dict[str, str]],
    ) -> None:
        self._store, self._configurations, self._damage = store, configurations, damage
        self._accept, self.heads_of = accept, heads
        self._seen: dict[str, str] = {}  # heads that no run knew in the last round

    def run(self) -> list[str]:
        try:
            _, config = self._configurations.current()
        except ConfigError:
            return []
        found: list[str] = []
        for name in config.pipelines:
            head = self._unknown_head(config, name)
            if head:
                try:
                    found += self._take(head)
                except DamagedRecord as error:
                    self._damage.add(error)
        return found

    def _take(self, head: Push) -> list[str]:
        accepted = self._accept(head)
        if accepted.duplicate:
            return []
        return [f"{accepted.run.id}: {head.commit[:7]} was pushed but not recorded; its run starts now"]

    def _unknown_head(self, config: Config, name: str) -> Push | None:
        repository = config.repository_of(name)
        branch = config.pipelines[name].source.branch
        head = self.heads_of(repository).get(branch) if repository else None
        if head is None:
            return None
        ref = f"refs/heads/{branch}"
        known = self._store.head(name, ref)
        if known == head:
            return None
        # The hook reports a push within milliseconds: only a head that is still unknown in the next round was lost.
        if self._seen.get(name) != head:
            self._seen[name] = head
            return None
        return Push(name, repository, ref, head, f"sweep:{known}:{head}")
