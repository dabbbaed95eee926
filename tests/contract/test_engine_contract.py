"""What every Engine promises: the strict fake, a local and a remote Docker Engine, and a Kubernetes cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import pytest

from pipeline.adapters.fake import FakeEngine, FakeProbe, IllegalOrder
from pipeline.adapters.http.probe import HttpProbe
from pipeline.adapters.kubernetes.names import base, slot_name
from pipeline.config.engines import kind_of
from pipeline.config.parity.properties import properties
from pipeline.domain.adoption import made_of, remembered
from pipeline.domain.engine_types import Answer, Answered, CommandResult, Route, Share, SlotRef, SlotSpec
from pipeline.domain.events import Event
from pipeline.domain.parity.seen import image
from pipeline.domain.visitors.maintenance import Notice
from pipeline.errors import (
    AppFailed,
    ConfigError,
    DoesNotFit,
    EngineFailed,
    OutcomeUnknown,
    PushliveError,
    RequestError,
    TimedOut,
)
from pipeline.ports.engine import Engine
from pipeline.ports.probe import Probe
from pipeline.ports.scheduled import Job
from pipeline.ports.terminal import Wanted
from tests.support.bench import EngineBench
from tests.support.clusterbench import ClusterBench
from tests.support.remote_engine import RemoteEngine
from tests.support.specs import SAMPLE, slot_spec
from tests.support.waiting import until

REFUSED = (RequestError, IllegalOrder)


@dataclass
class Kit(EngineBench):
    """An Engine, a Probe for its routes, and an environment of its own."""

    engine: Engine
    probe: Probe
    name: str
    index: int
    image: str
    kill: Callable[[SlotSpec], None]  # the release's containers end, with exit code 3 where it can be chosen
    key: str = "docker"
    remote: str = ""
    heals: bool = False  # the engine starts by itself again what has died: then `kill` takes it away
    unexposed: str = "does not know"  # in what `missing` says of a slot that is ready and not yet exposed
    route: Callable[[], str] = str  # makes the HTTPRoute that divides its visitors, if it needs one
    hosts: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)

    def ref(self, slot: str = "blue") -> SlotRef:
        return SlotRef(self.name, "live", self.index, slot, self.key)

    def spec(self, slot: str = "blue", release: int = 1, **service: object) -> SlotSpec:
        values = {**SAMPLE, "cpu": 0.5, "replicas": 2, **service}
        return slot_spec(self.ref(slot), release, image=self.image, remote=self.remote, **values)

    def command(self, spec: SlotSpec, name: str, *argv: str) -> CommandResult:
        return self.engine.command(spec, name, argv, {"MORE": "yes"}, ignore, self.watch())


def ignore(_event: Event) -> None:
    pass


def hangs(_spec: SlotSpec, _argv: tuple[str, ...]) -> CommandResult:
    raise TimedOut("It hangs.")


@pytest.fixture(params=["fake", "docker", "remote", "cluster"])
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    yield from kit_for(request)


def kit_for(request: pytest.FixtureRequest) -> Iterator[Kit]:
    """Of the engine that the fixture's parameter names."""
    if request.param == "fake":
        fake = FakeEngine()
        fake.commands = lambda spec, argv: CommandResult(4 if "exit 4" in argv else 0, "one\ntwo\n", 0.001)
        yield Kit(fake, FakeProbe(fake), "app", 3, "sha256:1", lambda spec: fake.exit(spec.ref, 3))
        return
    if request.param == "cluster":
        yield from on_a_cluster(request)
        return
    if request.param == "remote":
        yield from on_a_remote_engine(request.getfixturevalue("there"))
        return
    bench = request.getfixturevalue("bench")
    api = request.getfixturevalue("docker_client").api

    def kill(spec: SlotSpec) -> None:
        for replica in bench.engine.replicas(spec.ref):
            api.kill(replica.name)

    yield Kit(bench.engine, HttpProbe(), bench.name, bench.index, bench.image, kill)


def on_a_remote_engine(there: RemoteEngine) -> Iterator[Kit]:
    def kill(spec: SlotSpec) -> None:
        for replica in there.engine.replicas(spec.ref):
            there.client.api.kill(replica.name)

    name, index = there.name()
    kit = Kit(there.engine, there.probe, name, index, "sha256:1", kill, there.key, there.remote)
    yield kit
    there.engine.remove(kit.ref())


def on_a_cluster(request: pytest.FixtureRequest) -> Iterator[Kit]:
    bench: ClusterBench = request.getfixturevalue("cluster_bench")

    def route() -> str:
        service = base(bench.ref())
        request.getfixturevalue("gateway").route(bench.name, service, f"{bench.name}.example.com")
        return bench.name

    def take_away(spec: SlotSpec) -> None:
        name = slot_name(spec.ref)
        bench.api.merge("Deployment", name, {"spec": {"replicas": 0}})
        until(lambda: not bench.engine.replicas(spec.ref))

    yield Kit(
        bench.engine,
        bench.probe,
        bench.name,
        0,
        "sha256:1",
        take_away,
        bench.key,
        bench.remote,
        heals=True,
        unexposed="does not select its pods",
        route=route,
    )


@pytest.fixture
def prepared(kit: Kit) -> Kit:
    kit.engine.prepare(kit.ref(), ())
    return kit


def assert_found_as_made(kit: Kit, blue: SlotSpec, green: SlotSpec) -> None:
    """For a store that was lost: what runs says what it was made from, and green serves."""
    (found,) = (one for one in kit.engine.survey() if one.pipeline == kit.name)
    assert (found.name, found.index, found.engine) == ("live", kit.ref().index, kit.key)
    assert (found.routed, found.serving, found.active) == (True, "green", "green")
    slots = {one.ref.slot: one for one in found.slots}
    for spec in (blue, green):
        one = slots[spec.ref.slot]
        assert (one.ref, one.release, one.run, one.commit) == (spec.ref, spec.release, spec.run, spec.commit)
        assert (one.replicas, one.well) == (2, True)
        assert one.made == made_of(remembered(spec))
        assert kit.engine.spec_hash(spec, one.replica) == one.spec
        other = replace(spec, commit="f" * 40)
        assert kit.engine.spec_hash(other, one.replica) != one.spec


def answered(probe: Probe, route: Route) -> Answer:
    """The first answer of the application there. A cluster's Services learn of a ready pod a moment after its status
    says so; the checks of a run ask again, too."""
    until(lambda: probe.get(route, "/healthz", 5).status == 200)
    return probe.get(route, "/healthz", 5)


def test_two_releases_take_turns_and_a_removal_leaves_nothing(prepared: Kit) -> None:
    engine, probe = prepared.engine, prepared.probe
    blue, green = prepared.spec("blue", 1), prepared.spec("green", 2)
    assert engine.serving(blue.ref) is None
    assert probe.get(engine.public(blue), "/", 5).status == 503

    for spec, others in ((blue, None), (green, "blue")):
        engine.fits(spec)
        replicas = prepared.stand(spec)
        assert [r.state for r in replicas] == ["running", "running"]
        assert {r.release for r in replicas} == {spec.release}
        assert len({r.address for r in replicas}) == 2
        assert engine.serving(spec.ref) == others
        answer = answered(probe, engine.preview(spec))
        assert answer.served_by in engine.preview(spec).expect
        engine.switch(spec)
        assert engine.serving(spec.ref) == spec.ref.slot
        answer = probe.get(engine.public(spec), "/healthz", 5)
        assert answer.served_by in engine.public(spec).expect

    assert_found_as_made(prepared, blue, green)
    assert engine.drain(blue.ref, 5, prepared.watch()) == 0
    engine.switch(blue)  # back, while it is warm
    assert probe.get(engine.public(blue), "/healthz", 5).served_by in engine.public(blue).expect
    engine.stop(green.ref)
    assert engine.replicas(green.ref) == ()
    there = {p for p in engine.slots() if p.pipeline == prepared.name}
    assert blue.ref in there  # green may be listed if something of it is kept, but nothing of it runs
    assert there <= {blue.ref, green.ref}
    engine.unroute(blue.ref)
    assert [p.environment for p in engine.environments() if p.pipeline == prepared.name] == [
        blue.ref.environment
    ]
    assert engine.remove(blue.ref) == ""
    assert not [p for p in engine.slots() if p.pipeline == prepared.name]
    assert not [p for p in engine.environments() if p.pipeline == prepared.name]


def test_a_part_of_the_visitors_goes_to_a_slot_that_does_not_serve_yet(prepared: Kit) -> None:
    engine, blue, green = prepared.engine, prepared.spec("blue", 1), prepared.spec("green", 2)
    prepared.deploy(blue)
    assert engine.shared(blue.ref) is None
    with pytest.raises((*REFUSED, EngineFailed)):
        engine.share(blue, 5.0)  # it serves already
    with pytest.raises((*REFUSED, EngineFailed)):
        engine.share(green, 5.0)  # it was not exposed
    prepared.stand(green)
    route = prepared.route()
    engine.can_share(green.ref, route, 5.0)
    assert engine.shared(blue.ref) is None
    for percent in (0.1, 5.0, 5.0, 99.9):
        engine.share(green, percent, route)
        assert engine.shared(blue.ref) == engine.shared(green.ref) == Share("green", percent)
        assert engine.serving(blue.ref) == "blue"
    for act in (
        lambda: engine.stop(green.ref),
        lambda: engine.stop_and_keep(green.ref),
        lambda: engine.drain(green.ref, 1, prepared.watch()),
        lambda: engine.start(prepared.spec("green", 3), prepared.watch()),
    ):
        with pytest.raises(REFUSED):
            act()
    for end in (
        lambda: engine.unshare(green.ref),
        lambda: engine.pause(green.ref, 5),
        lambda: engine.unroute(green.ref),
        lambda: engine.switch(green),
    ):
        engine.switch(blue)
        engine.share(green, 50.0, route)
        end()
        end()
        assert engine.shared(green.ref) is None
    assert engine.serving(green.ref) == "green"


def test_visitors_get_a_notice_whatever_serves(prepared: Kit) -> None:
    engine, ref, notice = prepared.engine, prepared.ref(), Notice("We are back soon.")
    assert engine.has_notice(ref, None)
    if prepared.key.startswith("kubernetes"):
        for act in (lambda: engine.can_have_notice(ref), lambda: engine.set_notice(ref, notice)):
            with pytest.raises(ConfigError, match="cannot be put in maintenance"):
                act()
        engine.set_notice(ref, None)
        return
    engine.can_have_notice(ref)
    prepared.deploy(prepared.spec())
    for _ in range(2):
        engine.set_notice(ref, notice)
    assert engine.has_notice(ref, notice)
    assert not engine.has_notice(ref, None)
    assert not engine.has_notice(ref, replace(notice, until=5.0))
    green = prepared.spec("green", 2)
    prepared.deploy(green)
    assert prepared.probe.get(engine.public(green), "/healthz", 5).status == 200
    engine.unroute(ref)
    assert engine.has_notice(ref, notice)
    for _ in range(2):
        engine.set_notice(ref, None)
    assert engine.has_notice(ref, None)
    engine.set_notice(ref, notice)
    engine.remove(ref)
    assert engine.has_notice(ref, None)


def test_every_call_is_idempotent(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec()
    engine.prepare(spec.ref, ())
    first = prepared.stand(spec)
    assert prepared.stand(spec) == first
    assert prepared.stand(replace(spec, run=7)) == first
    engine.switch(spec)
    engine.switch(spec)
    engine.unroute(spec.ref)
    engine.unroute(spec.ref)
    assert engine.serving(spec.ref) is None
    engine.switch(spec)
    assert engine.pause(spec.ref, 5) == engine.pause(spec.ref, 5)
    assert engine.serving(spec.ref) is None
    engine.switch(spec)
    assert engine.serving(spec.ref) == spec.ref.slot
    engine.pause(spec.ref, 5)
    for _ in range(2):
        engine.stop(spec.ref)
    for _ in range(2):
        engine.remove(spec.ref)
    assert engine.replicas(spec.ref) == ()


def test_the_health_of_replicas_is_known_once_they_are_exposed(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec()
    engine.start(spec, prepared.watch())
    names = [one.name for one in engine.ready(spec, ignore, prepared.watch())]
    assert engine.health(spec) == ()
    engine.expose(spec)
    until(
        lambda: (
            [(one.name, one.healthy, one.said) for one in engine.health(spec)]
            == [(n, True, "") for n in names]
        )
    )
    assert engine.health(prepared.spec(release=2)) == ()


# It serves one host name alone, as many frameworks do in production; `?go` leads to another page of it.
OWN_HOST = """\
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/page <<'SCRIPT'
#!/bin/sh
status="200 OK"
[ "$QUERY_STRING" != go ] || status="302 Found"
[ "$HTTP_HOST" = "$NAME" ] || status="400 Bad Request"
printf 'Status: %s\\r\\nLocation: http://%s/login\\r\\n' "$status" "$HTTP_HOST"
printf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' "$HTTP_HOST"
SCRIPT
chmod +x /tmp/www/cgi-bin/page
exec httpd -f -p 8080 -h /tmp/www
"""


def test_what_is_answered_is_counted_or_said_not_to_be(prepared: Kit) -> None:
    spec = prepared.spec()
    assert prepared.engine.answered(spec.ref) == (
        None if prepared.key.startswith("kubernetes") else Answered()
    )
    prepared.deploy(spec)
    for _ in range(3):
        prepared.probe.get(prepared.engine.public(spec), "/", 5)
    seen = prepared.engine.answered(spec.ref)
    assert seen is None or seen.errors == 0
    assert (prepared.engine.sent(spec.ref) is None) == prepared.key.startswith("kubernetes")


def test_all_that_runs_is_metered(prepared: Kit) -> None:
    spec = prepared.spec()
    prepared.deploy(spec)
    found = [one for one in prepared.engine.taken() if one.pipeline == prepared.name]
    assert [(one.role, one.environment, one.slot, one.process) for one in found] == [
        ("web", "live", "blue", "")
    ] * 2
    assert len({one.name for one in found}) == 2
    assert all(one.memory > 0 or one.reserved_memory > 0 for one in found)
    assert all((one.spent is None) != (one.cores is None) for one in found)
    assert all(bool(one.node) == (one.spent is None) for one in found)  # nodes are those of a cluster
    size = prepared.engine.machine_size()
    assert size
    assert size.cores >= 1
    assert size.memory > 1 << 30


def test_what_its_machine_has_left_is_told_as_far_as_it_can_be_known(prepared: Kit) -> None:
    prepared.deploy(prepared.spec())
    room, size = prepared.engine.room(takers=True), prepared.engine.machine_size()
    assert size
    assert room.disk is None or room.disk > 1 << 20
    assert room.memory is None or 0 < room.memory <= size.memory
    assert room.load is None or room.load >= 0
    if prepared.key.startswith("kubernetes"):
        assert room.disk_used is None
        assert room.takers == {}
    else:
        assert room.disk_used is not None
        assert 0 < room.disk_used <= (room.disk or 0)
        assert room.takers["images"] > 0
        assert prepared.engine.room().takers == {}


def test_times_are_measured_or_said_not_to_be(prepared: Kit) -> None:
    """Those of people's requests, and not of checks."""
    spec = prepared.spec()
    prepared.deploy(spec)
    for _ in range(3):
        prepared.probe.get(prepared.engine.public(spec), "/", 5)
    seen = prepared.engine.timed(spec.ref)
    assert (seen is None) == prepared.key.startswith("kubernetes")
    assert seen is None or (seen.since > 0 and not seen.times)


def test_checks_come_with_the_host_name_of_the_environment(prepared: Kit) -> None:
    engine, probe, name = prepared.engine, prepared.probe, prepared.ref().own_host
    page = "/cgi-bin/page"
    spec = prepared.spec(health=page, env={"NAME": name}, command=("sh", "-c", OWN_HOST), replicas=1)
    if isinstance(engine, FakeEngine):
        engine.answers = lambda _, path: Answer(
            302 if "go" in path else 200, {"location": "/login"}, b"", 0.001
        )
    prepared.stand(spec)
    engine.switch(spec)
    for route in (engine.preview(spec), engine.public(spec)):
        until(lambda route=route: probe.get(route, page, 5).status == 200)
        answer = probe.get(route, f"{page}?go", 5)
        assert (answer.status, urlsplit(answer.headers["location"]).path) == (302, "/login"), answer
        assert urlsplit(answer.headers["location"]).hostname in (None, name)


def test_a_different_release_in_the_slot_is_replaced(prepared: Kit) -> None:
    prepared.stand(prepared.spec(release=1))
    assert {r.release for r in prepared.stand(prepared.spec(release=2))} == {2}


def test_switch_to_a_slot_that_was_not_exposed_is_refused(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec()
    with pytest.raises(REFUSED):
        engine.switch(spec)
    engine.start(spec, prepared.watch())
    engine.ready(spec, ignore, prepared.watch())
    with pytest.raises(REFUSED):
        engine.switch(spec)
    assert engine.serving(spec.ref) is None


def test_the_serving_slot_is_not_stopped_drained_or_refilled(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec()
    prepared.stand(spec)
    engine.switch(spec)
    for act in (
        lambda: engine.stop(spec.ref),
        lambda: engine.drain(spec.ref, 1, prepared.watch()),
        lambda: engine.start(prepared.spec(release=2), prepared.watch()),
    ):
        with pytest.raises(REFUSED):
            act()
    assert {r.release for r in engine.replicas(spec.ref)} == {1}


def test_a_slot_that_is_stopped_and_kept_runs_nothing_and_is_started_again(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec(replicas=1)
    prepared.stand(spec)
    printed = engine.logs(spec.ref, 10)
    for _ in range(2):  # idempotent
        engine.stop_and_keep(spec.ref)
        assert {replica.state for replica in engine.replicas(spec.ref)} == (
            set() if prepared.heals else {"exited"}
        )
    assert prepared.probe.get(engine.preview(spec), "/healthz", 5).status == 503
    if not prepared.heals:
        assert engine.logs(spec.ref, 10)[: len(printed)] == printed
    prepared.stand(spec)
    engine.switch(spec)
    with pytest.raises(REFUSED):
        engine.stop_and_keep(spec.ref)
    assert prepared.probe.get(engine.public(spec), "/healthz", 5).status == 200


def test_a_slot_starts_with_more_replicas_than_are_configured_and_its_spec_stays_the_same(
    prepared: Kit,
) -> None:
    engine, spec = prepared.engine, prepared.spec(replicas=1)
    if not kind_of(spec.ref.engine).scaled_by_others:
        prepared.stand(spec)
        assert engine.scaled(spec.ref) == 0
        return
    assert engine.scaled(spec.ref) == 0
    for count in (2, 3):
        assert len(prepared.stand(replace(spec, at_least=count))) == count
        assert engine.scaled(spec.ref) == count
        assert engine.missing(spec) == ()
    assert engine.restore(spec) is False
    engine.stop(spec.ref)
    assert engine.scaled(spec.ref) == 0


# It serves until it is asked for its end, by a request.
ENDS = """
rm -f /tmp/end; mkdir -p /tmp/w/cgi-bin; echo well >/tmp/w/index.html
printf '#!/bin/sh\\ntouch /tmp/end\\necho; echo ending\\n' >/tmp/w/cgi-bin/end; chmod +x /tmp/w/cgi-bin/end
httpd -h /tmp/w -p 8080; until [ -e /tmp/end ]; do sleep 0.1; done; exit 3
"""


def test_restarts_and_how_a_container_ended_last_are_reported(prepared: Kit) -> None:
    engine = prepared.engine
    spec = prepared.spec(replicas=1, health="/", command=("sh", "-c", ENDS))
    (before,) = prepared.stand(spec)
    assert (before.restarts, before.exit_code, before.out_of_memory) == (0, None, False)
    if isinstance(engine, FakeEngine):
        engine.crash(spec.ref, 3)  # it runs no command

    def restarted() -> bool:
        found = engine.replicas(spec.ref)
        if all(one.state == "running" and not one.restarts for one in found):
            with suppress(PushliveError):  # a way through a busy cluster may lose it
                prepared.probe.get(engine.preview(spec), "/cgi-bin/end", 5)
        return any(one.restarts >= 1 and one.exit_code == 3 for one in found)

    until(restarted, 60)
    assert engine.missing(spec) == ()  # there is nothing to bring back: the engine does that by itself


# It fills its memory once asked to; its /tmp is empty again after that.
FILLS = ENDS.replace("exit 3", "exec tail /dev/zero")


def test_a_kill_for_memory_while_it_serves_is_reported(prepared: Kit) -> None:
    engine = prepared.engine
    spec = prepared.spec(replicas=1, health="/", memory="32MiB", command=("sh", "-c", FILLS))
    prepared.stand(spec)
    if isinstance(engine, FakeEngine):
        engine.crash(spec.ref, 137)  # it runs no command

    def reported() -> bool:
        found = engine.replicas(spec.ref)
        if any(one.restarts and (one.exit_code, one.out_of_memory) == (137, True) for one in found):
            return True
        with suppress(PushliveError):  # again: on a busy machine the Engine may miss the kernel's report
            prepared.probe.get(engine.preview(spec), "/cgi-bin/end", 5)
        return False

    until(reported, 90)


def test_start_before_prepare_is_refused(kit: Kit) -> None:
    with pytest.raises((EngineFailed, IllegalOrder)):
        kit.engine.start(kit.spec(), kit.watch())


def test_fault_27_a_slot_that_died_is_not_ready(prepared: Kit) -> None:
    spec = prepared.spec(command=("sh", "-c", "exit 3"))
    prepared.engine.start(spec, prepared.watch())
    if isinstance(prepared.engine, FakeEngine):
        prepared.kill(spec)  # it runs no command
    with pytest.raises(AppFailed, match="exit"):
        prepared.engine.ready(spec, ignore, prepared.watch())


def test_fault_39_a_slot_that_died_is_restored(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec()
    prepared.stand(spec)
    engine.switch(spec)
    assert engine.restore(spec) is False
    prepared.kill(spec)
    assert engine.restore(spec) is True
    engine.ready(spec, ignore, prepared.watch())
    assert prepared.probe.get(engine.public(spec), "/healthz", 5).status == 200
    assert engine.restore(spec) is False


def test_what_runs_is_what_was_made_and_what_is_around_it_is_known_before(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec(env={"GREETING": "hello"})
    before = engine.seen(spec)
    assert before.inside == {}
    assert before.around["engine.version"].text
    assert before.around["tls"].text == "off"
    prepared.stand(spec)
    engine.switch(spec)
    made = {"image": image(spec.image), **properties(spec.config)}
    found = engine.seen(spec)
    assert found.inside
    assert {
        name: one for name, one in found.inside.items() if one is None or made[name].same != one.same
    } == {}
    assert found.around == before.around
    assert engine.seen(prepared.spec(release=2)).inside == {}
    assert engine.drift(spec) == ()


def test_fault_39_what_a_slot_misses_is_reported_without_a_change(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec()
    assert engine.missing(spec) != ()
    assert engine.replicas(spec.ref) == ()
    engine.start(spec, prepared.watch())
    engine.ready(spec, ignore, prepared.watch())
    [unknown] = engine.missing(spec)
    assert prepared.unexposed in unknown
    engine.expose(spec)
    assert engine.missing(spec) == ()
    assert engine.missing(prepared.spec(release=2)) != ()
    engine.switch(spec)
    prepared.kill(spec)
    assert engine.missing(spec) != ()
    states = {replica.state for replica in engine.replicas(spec.ref)}
    assert states == (set() if prepared.heals else {"exited"})
    engine.restore(spec)
    engine.ready(spec, ignore, prepared.watch())
    assert engine.missing(spec) == ()


def test_connections_that_outlive_a_switch_are_ended_once(prepared: Kit) -> None:
    engine, blue, green = prepared.engine, prepared.spec("blue"), prepared.spec("green", 2)
    assert engine.detach(blue.ref, "1") == 0
    prepared.stand(blue)
    engine.switch(blue)
    with pytest.raises(REFUSED):
        engine.detach(blue.ref, "1")
    prepared.stand(green)
    engine.switch(green)
    before = {replica.name for replica in engine.replicas(blue.ref)}
    ended = engine.detach(blue.ref, "1")
    assert engine.detach(blue.ref, "1") == 0
    engine.ready(blue, ignore, prepared.watch())  # warm again
    after = {replica.name for replica in engine.replicas(blue.ref)}
    assert len(before & after) == len(before) - ended
    engine.switch(blue)
    assert prepared.probe.get(engine.public(blue), "/healthz", 5).status == 200


def test_commands_are_forgotten_by_their_run(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec()
    prepared.command(spec, "smoke-0-1", "true")
    prepared.command(replace(spec, run=2), "smoke-0-2", "true")
    assert engine.command_runs(spec.ref) == {1, 2}
    engine.forget_commands(spec.ref, 1)
    engine.forget_commands(spec.ref, 1)
    assert engine.command_runs(spec.ref) == {2}
    assert engine.replicas(spec.ref) == ()


def test_blue_and_green_that_do_not_fit_are_refused(prepared: Kit) -> None:
    with pytest.raises(DoesNotFit):
        prepared.engine.fits(prepared.spec(memory=1 << 40))
    assert prepared.engine.replicas(prepared.ref()) == ()


def test_commands_and_jobs_that_do_not_fit_are_refused(prepared: Kit) -> None:
    if prepared.heals:
        return  # a cluster finds the room itself
    engine, huge = prepared.engine, prepared.spec(memory=1 << 40)
    with pytest.raises(DoesNotFit):
        engine.run_session(huge, Wanted("a1", ("true",)), prepared.watch())
    with pytest.raises(DoesNotFit):
        engine.start_job(huge, Job("mail", 1_800_000_000), ("true",), prepared.watch())
    assert engine.jobs(huge.ref) == ()


def test_a_watch_that_raises_ends_the_start(prepared: Kit) -> None:
    with pytest.raises(TimedOut):
        prepared.engine.start(prepared.spec(), prepared.watch(0.0))


def test_a_command_runs_once_and_is_remembered(prepared: Kit) -> None:
    spec, lines = prepared.spec(), []
    engine = prepared.engine
    argv = ("sh", "-c", "echo one; echo two")
    first = engine.command(spec, "migrate", argv, {}, lines.append, prepared.watch())
    assert (first.exit_code, first.output) == (0, "one\ntwo\n")
    assert [e.text for e in lines] == ["one", "two"]
    again = prepared.command(spec, "migrate", "sh", "-c", "exit 4")
    assert again.exit_code == 0
    engine.forget_command(spec, "migrate")
    engine.forget_command(spec, "migrate")
    assert prepared.command(spec, "migrate", "sh", "-c", "exit 4").exit_code == 4


def test_an_empty_environment_has_nothing(kit: Kit) -> None:
    engine, ref = kit.engine, kit.ref()
    assert engine.replicas(ref) == ()
    assert engine.logs(ref, 5) == ()
    assert engine.written(ref) == ()
    assert engine.open_sessions(ref) == 0
    engine.stop(ref)
    engine.unroute(ref)
    engine.remove(ref)


def test_fault_33_the_fake_knows_a_command_that_died_midway() -> None:
    fake = FakeEngine()
    kit = Kit(fake, FakeProbe(fake), "app", 0, "sha256:1", lambda spec: None)
    fake.prepare(kit.ref(), ())

    def die(_spec: SlotSpec, _argv: tuple[str, ...]) -> CommandResult:
        raise KeyboardInterrupt

    fake.commands = die
    with pytest.raises(KeyboardInterrupt):
        kit.command(kit.spec(), "migrate", "true")
    with pytest.raises(OutcomeUnknown):
        kit.command(kit.spec(), "migrate", "true")


def test_a_command_that_was_left_can_be_ended(prepared: Kit) -> None:
    spec, engine = prepared.spec(), prepared.engine
    if isinstance(engine, FakeEngine):
        engine.commands = hangs
    with pytest.raises(TimedOut):
        engine.command(spec, "migrate", ("sleep", "600"), {}, ignore, prepared.watch(1.0))
    engine.end_command(spec, "migrate")
    engine.end_command(spec, "migrate")
    assert engine.command_runs(spec.ref) == {1}, "what it printed is still there"
    with suppress(OutcomeUnknown):
        assert prepared.command(spec, "migrate", "true").exit_code, "it did not succeed"
    engine.forget_command(spec, "migrate")
    assert engine.command_runs(spec.ref) == frozenset()


def test_a_persons_command_has_input_output_and_an_end(prepared: Kit) -> None:
    engine, spec = prepared.engine, prepared.spec(replicas=1)
    (replica,) = prepared.stand(spec)
    started = (
        ("", engine.run_session(spec, Wanted("a1", ("cat",)), prepared.watch())),
        (replica.name, engine.exec_session(spec.ref, replica.name, Wanted("a2", ("cat",)))),
    )
    for name, session in zip(("a1", "a2"), started, strict=True):
        where, one = session
        one.write(bytes(range(256)))
        one.end_input()
        assert b"".join(data for _, data in one.output()) == bytes(range(256))
        assert one.exit_code() == 0
        one.close()
        engine.end_session(spec.ref, name, where)
        engine.end_session(spec.ref, name, where)
    assert engine.command_runs(spec.ref) == frozenset()
    assert [one.state for one in engine.replicas(spec.ref)] == ["running"]
