"""The keeper: rings for what nobody carries, and brings the Engine and the proxy to what the store says.

``tick`` is called about once a second by every worker process; a lease lets one of them act.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pipeline.config.engines import where_of
from pipeline.config.models import Config
from pipeline.config.settings import Settings
from pipeline.deploy.admission import Accepted
from pipeline.deploy.build_stage import repository
from pipeline.deploy.heartbeat import LeaseHeartbeat
from pipeline.deploy.reconciler import Reconciler
from pipeline.domain import slots
from pipeline.domain.environment import Environment
from pipeline.domain.release import Release
from pipeline.domain.run import Kind, Push
from pipeline.errors import ConfigError, DamagedRecord, EngineAway, LeaseLost, PushliveError, TryAgain
from pipeline.lib.retry import poll
from pipeline.maintenance import clock_jumps
from pipeline.ports.adapters import Adapters
from pipeline.secrets.vault import Vault
from pipeline.store import Lease, LeaseReaper, Store
from pipeline.store.audit_head import AuditHead
from pipeline.store.configurations import Configurations

T = TypeVar("T")
RECONCILE_EVERY = 5.0  # seconds
HEADS_EVERY = 3.0
TIDY_EVERY = 300.0
LEASE_TIMEOUT = 5.0  # seconds
RING_AGAIN = 5.0  # seconds: a ring that woke nobody is repeated no faster
RECENT = 100  # releases whose images are looked for


@dataclass
class _Due:
    """When something was last done, on the monotonic clock."""

    at: float = -1e9

    def now(self, monotonic: float, every: float) -> bool:
        if monotonic - self.at < every:
            return False
        self.at = monotonic
        return True


class Keeper:
    """``heads`` tells the branch heads of a repository on the built-in git server; ``accept`` takes a push;
    ``ensure`` makes sure that the proxy runs, and says what it did."""

    def __init__(
        self,
        store: Store,
        parts: Adapters,
        settings: Settings,
        accept: Callable[[Push], Accepted],
        heads: Callable[[str], dict[str, str]],
        ensure: Callable[[], list[str]],
    ) -> None:
        self._store, self._adapters, self._settings = store, parts, settings
        self._accept, self._heads, self._ensure = accept, heads, ensure
        self._configs = Configurations(store, settings.config)
        self._vault = Vault(store, settings.secrets_key)
        self._chainer, self._chain_problem = AuditHead(store, settings.data), ""
        self._lease: Lease | None = None
        self._watchman = LeaseReaper(store.leases)
        self._jumps = clock_jumps.JumpWatch(parts.clock)
        self._unmoved = 0.0  # seconds of a jump that the records do not know yet
        self._pace = RECONCILE_EVERY
        self._waited = 0.0  # seconds of this round in which an engine did not answer
        self._rung: dict[str, float] = {}  # when this keeper last rang for a run
        self._seen: dict[str, str] = {}  # heads that no run knew at the last look
        self._config_problem, self._proxy_problem = "", ""
        self._damage: dict[str, bool | None] = {}  # messages of damaged records; True once they were said
        self._reconciled, self._looked, self._tidied = _Due(), _Due(), _Due()

    def tick(self) -> list[str]:
        """One round; returns what it did that a person may want to know."""
        self.sweep()  # by every keeper: ringing twice is harmless, ringing late is not
        self._unmoved += self._jumps.moved()  # every keeper sees a jump, the one that acts heeds it
        if not self._ours():
            self._unmoved = 0.0
            return []
        now = self._adapters.clock.monotonic()
        said: list[str] = self._heed_the_clock() + self._damage_news()
        said += self._take_up_config()
        said += self._chain()
        if self._looked.now(now, HEADS_EVERY):
            said += self._find_heads()
        if self._reconciled.now(now, self._pace):
            self._waited = 0.0
            said += self._ensured()
            said += self.reconcile()
            took = self._adapters.clock.monotonic() - now
            if (
                self._look_for_images()
            ):  # else it waited for a builder that does not answer: that costs nothing
                took = self._adapters.clock.monotonic() - now
            took -= self._waited  # for engines that do not answer, which costs nothing either
            # With many environments a round takes longer; it never takes more than a fifth of a processor.
            self._pace = max(RECONCILE_EVERY, 5 * took)
        if self._tidied.now(now, TIDY_EVERY):
            said += self.tidy()
        return said

    def _ensured(self) -> list[str]:
        """The proxy; where its Engine is away, the environments on other engines are looked after all the same."""
        before = self._proxy_problem
        try:
            self._proxy_problem, said = "", self._ensure()
        except TryAgain as error:
            self._proxy_problem, said = str(error), []
        return said if self._proxy_problem in ("", before) else [*said, self._proxy_problem]

    def _take_up_config(self) -> list[str]:
        """Looks at pipelines.yaml; says what is wrong with it once for each change."""
        self._configs.refresh()
        before, self._config_problem = self._config_problem, self._configs.problem()
        if self._config_problem == before:
            return []
        if not self._config_problem:
            return ["pipelines.yaml is right again and in force"]
        return [f"{self._config_problem}\nThe last good configuration stays in force until it is corrected."]

    def _chain(self) -> list[str]:
        """Moves what was done into the audit log; says what is wrong with it once."""
        before, self._chain_problem = self._chain_problem, self._chainer.move()
        return [self._chain_problem] if self._chain_problem not in ("", before) else []

    def _ours(self) -> bool:
        leases = self._store.leases
        if self._lease is None or not leases.renew(self._lease):
            self._lease = leases.take("keeper", "keeper")
        return self._lease is not None

    def _heed_the_clock(self) -> list[str]:
        moved = self._unmoved
        if not moved:
            return []

        def move(pipeline: str) -> tuple[str, ...]:
            names = tuple(self._store.environments(pipeline))
            self._store.transact(pipeline, lambda tx: clock_jumps.move(tx, names, moved))
            return ()

        self._each(move)
        self._unmoved = 0.0
        way = "forward" if moved > 0 else "back"
        return [
            f"the clock was set {way} by {abs(moved):.0f} s; what is kept for a while is kept for as long as before"
        ]

    # ── what cannot be read ──────────────────────────────────────────────────

    def _each(self, look: Callable[[str], Iterable[T]]) -> list[T]:
        """What ``look`` finds for each pipeline; one with a damaged record is passed over, the others go on."""
        found: list[T] = []
        for pipeline in self._store.pipelines():
            try:
                found += look(pipeline)
            except DamagedRecord as error:
                self._damage.setdefault(str(error))
        return found

    def _damage_news(self) -> list[str]:
        """What was found damaged, each once."""
        news = [text for text, said in self._damage.items() if not said]
        self._damage.update(dict.fromkeys(news, True))
        return news

    # ── the sweep ────────────────────────────────────────────────────────────

    def sweep(self) -> None:
        """Frees the leases of the dead, and rings for every run that is due and in nobody's hands; again for the same
        one only after a while."""
        now = self._adapters.clock.monotonic()
        self._watchman.look(now)
        self._rung = {run: at for run, at in self._rung.items() if now - at < RING_AGAIN}
        self._each(lambda pipeline: self._ring_for(pipeline, now))

    def _ring_for(self, pipeline: str, now: float) -> Iterator[str]:
        """The runs that were rung for."""
        for number in self._store.due(pipeline):
            run = f"{pipeline}#{number}"
            if run not in self._rung and self._store.leases.free(f"run:{run}"):
                self._rung[run] = now
                urgent = self._store.run(pipeline, number).kind == Kind.REVERT
                self._adapters.queue.notify(pipeline, urgent=urgent)
                yield run

    def stop(self) -> None:
        """Lets another keeper begin at once."""
        if self._lease:
            self._store.leases.drop(self._lease)

    def _find_heads(self) -> list[str]:
        """Branch heads on the built-in server that no run knows: the crash came between ref and record."""
        try:
            _, config = self._configs.current()
        except ConfigError:
            return []
        found = []
        for name in config.pipelines:
            head = self._unknown_head(config, name)
            if head:
                try:
                    accepted = self._accept(head)
                except DamagedRecord as error:
                    self._damage.setdefault(str(error))
                    continue
                if not accepted.duplicate:
                    found.append(
                        f"{accepted.run.id}: {head.commit[:7]} was pushed, but not recorded; taken up now"
                    )
        return found

    def _unknown_head(self, config: Config, name: str) -> Push | None:
        repository_name = config.repository_of(name)
        branch = config.pipelines[name].source.branch
        head = self._heads(repository_name).get(branch) if repository_name else None
        if head is None:
            return None
        ref = f"refs/heads/{branch}"
        known = self._store.head(name, ref)
        if known == head:
            return None
        # The hook tells of a push within milliseconds: a head is taken for forgotten at the second look.
        if self._seen.get(name) != head:
            self._seen[name] = head
            return None
        return Push(name, repository_name, ref, head, f"sweep:{known}:{head}")

    # ── reconciliation ───────────────────────────────────────────────────────

    def reconcile(
        self, busy: Callable[[Environment], list[str]] = lambda _: [], *, by_hand: bool = False
    ) -> list[str]:
        """Every environment that nobody works in is brought to what the store says; what was done. ``busy`` says what
        there is to say of the others; ``by_hand``: what somebody changed is taken back, too."""
        said: list[str] = []
        away: dict[str, str] = {}  # engines that do not answer, with what was said of it: asked once a round
        for environment in self._each(lambda name: self._store.environments(name).values()):
            if environment.engine in away:
                self._problem(environment, away[environment.engine])
                continue
            lease = self._store.leases.take(f"env:{environment.id}", "keeper")
            if lease is None:
                said += busy(environment)
                continue
            with LeaseHeartbeat(self._store) as heartbeat:
                heartbeat.hold(lease)
                began = self._adapters.clock.monotonic()
                try:
                    done, problem = self._reconcile_one(
                        environment.pipeline, environment.name, lease, by_hand
                    )
                    said += done
                    self._problem(environment, self._masked(environment.pipeline, problem))
                except LeaseLost:
                    continue
                except PushliveError as error:
                    said_of_it = self._masked(environment.pipeline, str(error))
                    self._problem(environment, said_of_it)
                    if isinstance(error, EngineAway):
                        away[environment.engine] = said_of_it
                        self._waited += self._adapters.clock.monotonic() - began
            self.sweep()
        return said

    def fix(self) -> tuple[str, ...]:
        """What a round of the keeper does, at once and for a person: what was done, and what could not be."""
        said = self._ensured()
        said += self.reconcile(
            lambda e: [f"{e.id}: a run, or the service itself, is at work there; look again in a moment"],
            by_hand=True,
        )
        self._look_for_images()
        problems = ((e.id, self._store.facts.get(f"problem:{e.id}")) for e in self._environments())
        return (*said, *(f"{name}: {text}" for name, text in problems if text))

    def _masked(self, pipeline: str, text: str) -> str:
        try:
            mask, _ = self._vault.mask(pipeline)
        except PushliveError as error:
            return str(error)  # what cannot be masked is not told; this is to be mended first
        return mask.text(text)

    def _environments(self) -> Iterator[Environment]:
        for pipeline in self._store.pipelines():
            yield from self._store.environments(pipeline).values()

    def _reconcile_one(self, pipeline: str, name: str, lease: Lease, by_hand: bool) -> tuple[list[str], str]:
        """What was done, and what is left as it is."""
        environment = self._store.environment(pipeline, name)  # again: the lease is ours only now
        if environment is None:
            return [], ""
        failed_for = self._settings.failed_for
        one = Reconciler(self._store, self._adapters, environment, failed_for, lease, self._vault)
        done = one.mend(by_hand)
        left = "; ".join(one.left)
        by_hands = "; ".join(drift.found for drift in one.drift())
        changed = f"{by_hands}. `pushlive doctor --fix` takes it back." if by_hands else ""
        return done, " ".join(text for text in (left and f"{left}.", changed) if text)

    def _strangers(self) -> list[str]:
        """Containers of ours in environments that have no record. Only `gc` removes them: a store that was lost
        must not take down what still serves."""
        said = []
        known = {(e.pipeline, e.name) for e in self._environments()}
        try:
            every = self._adapters.engines
            found = (ref for key in every.in_use() for ref in every.of(key).slots.slots())
            strangers = [p for p in found if (p.pipeline, p.environment) not in known]
        except TryAgain as error:
            return [f"what no record knows was not looked for: {error}"]
        for place in strangers:
            name = f"{place.pipeline}/{place.environment}"
            if where_of(place.engine).kind == "kubernetes":
                # A machine is one installation's, a namespace may be several ones'.
                said.append(
                    f"{name} ({place.slot}) on {place.engine} is unknown here and was left: if it is nobody else's, "
                    f"`kubectl delete deployment,service,ingress,pdb,configmap,secret -l "
                    f"pushlive/pipeline={place.pipeline},pushlive/environment={place.environment}`"
                )
                continue
            self._adapters.engines.of(place.engine).slots.remove(place)
            said.append(f"{name} is unknown; its {place.slot} containers were removed")
        return said

    # ── tidying ──────────────────────────────────────────────────────────────

    def tidy(self) -> list[str]:
        """Images beyond the releases kept for a revert, where the builder answers."""
        try:
            return self._each(self._tidy_images)
        except TryAgain as error:
            return [f"images were not tidied: {error}"]

    def gc(self) -> tuple[str, ...]:
        """``tidy``, and what belongs to pipelines and environments that are in pipelines.yaml no more."""
        _, config = self._configs.current()
        said = self.tidy() + self._strangers()
        for environment in tuple(self._environments()):
            pipeline = config.pipelines.get(environment.pipeline)
            if pipeline is None or environment.name not in pipeline.environments:
                try:
                    said.append(self._give_up(environment))
                except TryAgain as error:
                    said.append(f"{environment.id} is not in pipelines.yaml any more, but stays: {error}")
        return tuple(said) or ("nothing to clean up",)

    def _give_up(self, environment: Environment) -> str:
        """Removes the environment under its lease, or a round of reconciliation would start again what was removed."""
        lease = None if self._awaited(environment) else self._lease_of(environment)
        if lease is None:
            return f"{environment.id} is not in pipelines.yaml any more, but a run is at work there"
        with LeaseHeartbeat(self._store) as heartbeat:
            heartbeat.hold(lease)
            self._adapters.engines.of(environment.engine).slots.remove(
                slots.slot_ref(environment, environment.active or "blue")
            )
            self._store.forget_environment(environment.pipeline, environment.name)
        return f"{environment.id} is not in pipelines.yaml any more and was removed"

    def _lease_of(self, environment: Environment) -> Lease | None:
        """Waited for as long as a round of reconciliation may take; a run takes longer."""
        return poll(
            lambda: self._store.leases.take(f"env:{environment.id}", "gc"),
            0.1,
            self._adapters.clock,
            timeout=LEASE_TIMEOUT,
        )

    def _awaited(self, environment: Environment) -> bool:
        """True while a run that has not ended goes there."""
        return any(environment.name in run.stages for run in self._store.open_runs(environment.pipeline))

    def _tidy_images(self, pipeline: str) -> list[str]:
        name = repository(self._settings.instance, pipeline)
        releases = self._store.releases(pipeline)
        keep = self._kept(pipeline, releases)
        here = self._adapters.builder.images(name)
        said = []
        for release in releases:
            if release.number in keep or release.image not in here:
                continue
            self._adapters.builder.untag(name, release.name)
            if not any(r.commit == release.commit and r.number in keep for r in releases):
                self._adapters.builder.untag(name, release.commit[:7])
            said.append(f"{release.tag}: the image is kept no longer")
        return said

    def _look_for_images(self) -> bool:
        """Which releases have no image any more: `status` knows before a revert asks. False where the builder
        does not answer; what was known stays."""
        try:
            self._each(self._look_for_images_of)
        except TryAgain:
            return False
        return True

    def _look_for_images_of(self, pipeline: str) -> tuple[str, ...]:
        here = self._adapters.builder.images(repository(self._settings.instance, pipeline))
        recent = self._store.releases(pipeline)[-RECENT:]
        missing = json.dumps([r.number for r in recent if r.image not in here])
        if self._store.facts.get(f"missing:{pipeline}") != missing:
            self._store.facts.set(f"missing:{pipeline}", missing)
        return ()

    def _kept(self, pipeline: str, releases: tuple[Release, ...]) -> set[int]:
        """The newest releases, all that is in a slot or that a revert would need, and what open runs carry."""
        keep = {release.number for release in releases[-self._settings.keep_releases :]}
        for environment in self._store.environments(pipeline).values():
            keep |= {record.release for record in environment.slots.values()}
            keep |= set(environment.good[-self._settings.keep_releases :])
        for run in self._store.open_runs(pipeline):
            keep |= {number for number in (run.release, run.from_release) if number}
        return keep

    # ── small helpers ────────────────────────────────────────────────────────

    def _problem(self, environment: Environment, text: str) -> None:
        if self._store.facts.get(f"problem:{environment.id}") != text:
            self._store.facts.set(f"problem:{environment.id}", text)
