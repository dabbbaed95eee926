"""Whatever is asked, in whatever order, and whatever dies in between: the rules hold in every state."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.adapters.fake import Killed
from pipeline.deploy.services import services_on
from pipeline.domain import gates
from pipeline.domain import slots as slots_rules
from pipeline.domain.audit_chain import Actor
from pipeline.domain.engine_types import Route
from pipeline.domain.environment import Environment
from pipeline.domain.run import Push, Run, State
from pipeline.errors import AppFailed, RequestError
from pipeline.maintenance.jobs import Jobs
from pipeline.maintenance.loop import Keeper
from tests.faults import checker
from tests.faults.histories import history
from tests.faults.picture import at_rest, still_serves
from tests.faults.points import Points, carry, leases_end, pointed_adapters, pointed_store, worker
from tests.story.conftest import World

CONFIG = """\
pipelines:
  hello:
    service: {health: /healthz}
    smoke: [{get: /, contains: r}]
    environments: {dev: {keep_warm: 10m}, live: }
"""
MANUAL = CONFIG.replace("live: ", "live: {promote: manual}")
KINDS = ("good", "good", "good", "smoke", "live", "verify")  # what an application does; how a bad one is bad
POINTS = st.integers(0, 110)
WHICH = st.integers(0, 5)  # counted from the newest
SHRINK = "PUSHLIVE_TEST_SHRINK" in os.environ  # how a failure came about, at the cost of minutes
EXAMPLES = os.environ.get("PUSHLIVE_TEST_EXAMPLES", "")


class Machine(RuleBasedStateMachine):
    """``url`` and ``folder`` are set by the test. ``disturbed``: somebody took away what only the keeper puts back."""

    url = ""
    folder = Path()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.url, self.folder, CONFIG)
        self.sent: list[dict[str, Any]] = []
        self.kinds: dict[str, str] = {}  # by commit
        self.disturbed = False
        self._spoil()

    def _spoil(self) -> None:
        engine = self.world.engine
        healthy, public = engine.answers, engine.public

        def answers(spec: Any, path: str) -> Any:
            kind, answer = self.kinds.get(spec.commit, "good"), healthy(spec, path)
            bad = path == "/" and (kind == "smoke" or (kind, spec.ref.environment) == ("live", "live"))
            return replace(answer, status=500, body=b"oops") if bad else answer

        def wrong(spec: Any) -> Route:
            route = public(spec)
            bad = self.kinds.get(spec.commit) == "verify" and spec.ref.environment == "live"
            return replace(route, expect=("nobody",)) if bad else route

        engine.answers, engine.public = answers, wrong  # type: ignore[method-assign]

    # ── pushes ───────────────────────────────────────────────────────────────

    def _commit(self, kind: str) -> str:
        commit = self.world.commit(f"{kind} {len(self.kinds)}")
        self.kinds[commit] = kind
        return commit

    def _send(self, commit: str, delivery: str = "", forced: bool = False) -> None:
        delivery = delivery or f"d{len(self.sent)}"
        push = Push("hello", "hello", "refs/heads/main", commit, delivery, "ann", forced=forced)
        answer = self.world.commands.accept(push)
        row = {"pipeline": "hello", "commit": commit, "delivery": delivery, "status": 202}
        self.sent.append({**row, "run": answer.run.number, "duplicate": answer.duplicate})

    @rule(kind=st.sampled_from(KINDS))
    def push(self, kind: str) -> None:
        self._send(self._commit(kind))

    @rule(kind=st.sampled_from(KINDS))
    def push_and_work(self, kind: str) -> None:
        self._send(self._commit(kind))
        self.world.work()

    @rule()
    def pushes_out_of_order(self) -> None:
        first, second = self._commit("good"), self._commit("good")
        self._send(second)
        self._send(first)

    @precondition(lambda self: self.kinds)
    @rule(which=WHICH)
    def forced_push(self, which: int) -> None:
        commit = self._choose(list(self.kinds), which)
        self.world.source.repositories["hello"].heads["main"] = commit
        self._send(commit, forced=True)

    @precondition(lambda self: self.sent)
    @rule(which=WHICH)
    def deliver_again(self, which: int) -> None:
        row = self._choose(self.sent, which)
        self._send(row["commit"], row["delivery"])

    # ── what a person asks for ───────────────────────────────────────────────

    def _ask(self, act: Callable[[], object]) -> None:
        with suppress(RequestError):  # what cannot be done now is refused, and nothing has happened
            act()

    def _choose(self, found: Any, which: int) -> Any:
        return found[-1 - which % len(found)]

    def _number(self, which: int) -> int:
        return max(1, self.world.store.last_run("hello") - which)

    @rule(environment=st.sampled_from(["", "dev"]))
    def revert(self, environment: str) -> None:
        self._ask(lambda: self.world.commands.revert("hello", "ann", environment=environment))

    @rule(to=st.integers(1, 4))
    def revert_to(self, to: int) -> None:
        who = Actor("ann", "maintainer")  # a developer may not revert to what was never good there
        self._ask(lambda: self.world.commands.revert("hello", who, to=to))

    @rule(environment=st.sampled_from(["", "dev"]))
    def hold(self, environment: str) -> None:
        self._ask(lambda: self.world.commands.hold("hello", "bo", environment=environment))

    @rule(environment=st.sampled_from(["", "dev"]))
    def resume(self, environment: str) -> None:
        self._ask(lambda: self.world.commands.resume("hello", "bo", environment=environment))

    @rule()
    def promote(self) -> None:
        self._ask(lambda: self.world.commands.promote("hello", "bo"))

    @rule(which=WHICH)
    def cancel(self, which: int) -> None:
        self._ask(lambda: self.world.commands.cancel("hello", self._number(which), "bo"))

    @rule(which=WHICH)
    def retry(self, which: int) -> None:
        self._ask(lambda: self.world.commands.retry("hello", self._number(which), "bo"))

    @rule(release=st.integers(1, 4))
    def deploy_a_release(self, release: int) -> None:
        self._ask(lambda: self.world.commands.deploy("hello", "bo", release=release))

    @rule(release=st.integers(1, 4))
    def unquarantine(self, release: int) -> None:
        self._ask(lambda: self.world.commands.unquarantine("hello", "bo", release))

    @rule(manual=st.booleans())
    def configure(self, manual: bool) -> None:
        self.world.configure(MANUAL if manual else CONFIG)

    # ── workers and the keeper, and what happens to them ─────────────────────

    @rule()
    def work(self) -> None:
        self.world.runner.work("hello")

    @rule()
    def work_all(self) -> None:
        self.world.work()

    @rule(at=POINTS)
    def worker_dies(self, at: int) -> None:
        points = Points(at)
        points.act = points.die
        carry(worker(self.world, self.url, points), points)
        leases_end(self.world)

    @rule(at=POINTS)
    def worker_sleeps_while_another_works(self, at: int) -> None:
        def others() -> None:
            leases_end(self.world)
            self.world.work()

        points = Points(at, others)
        carry(worker(self.world, self.url, points), points)
        self.disturbed = True

    @rule(at=POINTS, kind=st.sampled_from(KINDS))
    def worker_works_while_a_push_comes(self, at: int, kind: str) -> None:
        points = Points(at, lambda: self._send(self._commit(kind)))
        carry(worker(self.world, self.url, points), points)

    @rule(at=POINTS)
    def worker_works_while_somebody_reverts(self, at: int) -> None:
        points = Points(at, lambda: self._ask(lambda: self.world.commands.revert("hello", "ann")))
        carry(worker(self.world, self.url, points), points)

    @rule(at=POINTS, which=WHICH)
    def worker_works_while_somebody_cancels(self, at: int, which: int) -> None:
        points = Points(at, lambda: self.cancel(which))
        carry(worker(self.world, self.url, points), points)

    @rule(at=POINTS)
    def worker_works_while_somebody_holds(self, at: int) -> None:
        points = Points(at, lambda: self._ask(lambda: self.world.commands.hold("hello", "bo")))
        carry(worker(self.world, self.url, points), points)

    @rule(at=POINTS)
    def worker_works_while_somebody_resumes(self, at: int) -> None:
        points = Points(at, lambda: self._ask(lambda: self.world.commands.resume("hello", "bo")))
        carry(worker(self.world, self.url, points), points)

    @rule(at=POINTS)
    def worker_works_while_the_keeper_ticks(self, at: int) -> None:
        def tick() -> None:
            self.world.reconcile()

        points = Points(at, tick)
        carry(worker(self.world, self.url, points), points)

    @rule(seconds=st.sampled_from([1.0, 6.0]))
    def tick(self, seconds: float) -> None:
        self.world.clock.sleep(seconds)
        self.world.keeper.tick()

    @rule(at=st.integers(0, 40))
    def keeper_dies(self, at: int) -> None:
        points = Points(at)
        points.act = points.die
        with suppress(Killed):
            self._keeper(points).tick()
        leases_end(self.world)

    @rule(at=st.integers(0, 40))
    def keeper_sleeps_while_others_work(self, at: int) -> None:
        def others() -> None:
            leases_end(self.world)
            self._send(self._commit("good"))
            self.world.work()

        self._keeper(Points(at, others)).tick()
        self.disturbed = True

    def _keeper(self, points: Points) -> Keeper:
        world = self.world
        store = pointed_store(self.url, world.settings.instance, points)
        services = services_on(store, world.settings)
        jobs = Jobs(
            services,
            pointed_adapters(world, points),
            world.commands.accept,
            world.hosted,
            list,
            take_back=world.commands.baking.take_back,
        )
        return Keeper(jobs, store, world.clock)

    # ── time, and other people's hands ───────────────────────────────────────

    @rule(seconds=st.sampled_from([10.0, 700.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.clock.sleep(seconds)

    @rule(seconds=st.sampled_from([-3600.0, 3600.0]))
    def the_clock_is_set(self, seconds: float) -> None:
        self.world.clock.jump(seconds)

    @rule(which=WHICH)
    def a_container_vanishes(self, which: int) -> None:
        if self.world.engine.contents:
            self.world.engine.vanish(self._choose(list(self.world.engine.contents), which))
            self.disturbed = True

    @rule(slot=st.sampled_from([None, "blue", "green"]), name=st.sampled_from(["dev", "live"]))
    def the_proxy_forgets(self, slot: str | None, name: str) -> None:
        if ("hello", name) in self.world.engine.active:
            self.world.engine.active["hello", name] = slot
            self.disturbed = True

    @rule()
    def the_keeper_mends(self) -> None:
        self.world.reconcile()
        self.disturbed = False

    # ── what always holds ────────────────────────────────────────────────────

    @invariant()
    def something_serves(self) -> None:
        assert self.disturbed or still_serves(self.world) == []

    @invariant()
    def the_records_agree(self) -> None:
        found = history(self.world.store, ["hello"], self.sent)
        assert checker.judge({**found, "drained": False, "environments": []}) == []

    @invariant()
    def a_revert_goes_somewhere_good(self) -> None:
        for place in self.world.store.environments("hello").values():
            target = slots_rules.revert_target(place)
            assert target is None or target in place.good
            assert target is None or target != place.serving
            assert target is None or not self._in_quarantine(place, target)

    def _in_quarantine(self, place: Environment, release: int) -> bool:
        return gates.quarantined(place, self.world.store.release("hello", release)) is not None

    def teardown(self) -> None:
        """Everything is drained: nobody is disturbed any more, the keeper ticks, workers work."""
        world = self.world
        leases_end(world)
        for _ in range(4):
            world.clock.sleep(10)
            world.keeper.tick()
            world.work()
        world.keeper.stop()
        world.reconcile()
        self._tell()
        assert at_rest(world) == []
        assert world.reconcile() == []
        found = history(world.store, ["hello"], self.sent, world.engine)
        heads = world.heads("hello")
        found["heads"] = [{"pipeline": "hello", "commit": commit} for commit in heads.values()]
        assert checker.judge(found) == []
        for run in world.store.open_runs("hello"):
            self._waits_for_a_reason(run)
        world.store.client.close()

    def _tell(self) -> None:
        """What came of it all, for whoever looks at a failure."""
        for run in self.world.store.recent("hello", 100):
            at = f" before {run.gate}" if run.gate else ""
            note(
                f"{run.id} {run.kind} r{run.release} {run.short} {run.outcome or run.state}{at}: {run.reason}"
            )
        for place in self.world.store.environments("hello").values():
            slots = {slot: f"r{r.release} {r.state} by #{r.run}" for slot, r in place.slots.items()}
            real = self.world.engine.active.get(("hello", place.name))
            note(
                f"{place.id}: {place.active} active, {real} in the proxy, {slots}, {place.hold}, good {place.good}"
            )
        calls = [(name, a[0]) for name, a in self.world.engine.calls if name in ("start", "switch", "stop")]
        note(
            ", ".join(f"{n} {getattr(a, 'ref', a).environment} {getattr(a, 'ref', a).slot}" for n, a in calls)
        )

    def _waits_for_a_reason(self, run: Run) -> None:
        assert run.state == State.WAITING
        place = self.world.environment(run.gate)
        pipeline = self.world.services.configurations.by_hash(run.config).pipelines["hello"]
        release = self.world.store.release("hello", run.release or 0)
        places = self.world.store.environments("hello").values()
        with suppress(AppFailed):  # what is in quarantine meanwhile is refused, whoever lets it go on
            assert gates.may_enter(pipeline, place, release, run, (), places) is not None, run.id


def test_fault_33_35_36_38_39_the_rules_hold_in_every_state(valkey, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.deploy.run_context.FLUSH_EVERY", 1e9)
    Machine.url, Machine.folder = valkey, tmp_path
    bounds = settings(
        max_examples=int(EXAMPLES or 30),
        stateful_step_count=30,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate] if not SHRINK else list(Phase),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=bounds)
