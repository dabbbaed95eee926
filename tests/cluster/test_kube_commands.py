"""A command in a pod of its own: run once, found again by the next worker, its result never guessed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.adapters.kubernetes.api.objects import KubeObject
from pipeline.adapters.kubernetes.command_pod import exit_code
from pipeline.adapters.kubernetes.names import command_name
from pipeline.domain.engine_types import CommandResult, SlotSpec
from pipeline.domain.events import Event
from pipeline.errors import AppFailed, EngineFailed, OutcomeUnknown, TimedOut
from pipeline.ports.clock import Deadline, SystemClock
from tests.cluster.test_kube_failures import shell
from tests.support.clusterbench import ClusterBench, kubectl, make
from tests.support.waiting import until

NAME = "release-1"


@pytest.fixture
def bench(cluster_bench: ClusterBench) -> ClusterBench:
    cluster_bench.engine.prepare(cluster_bench.ref(), ())
    return cluster_bench


def run(
    bench: ClusterBench,
    *lines: str,
    emit: Callable[[Event], None] | None = None,
    spec: SlotSpec | None = None,
) -> CommandResult:
    spec = spec or bench.spec()
    return bench.engine.command(spec, NAME, shell(*lines), {}, emit or bench.events.append, bench.watch())


class Leaving(Deadline):
    """A worker that is gone once it has seen the command begin."""

    def __init__(self) -> None:
        super().__init__(SystemClock(), 30)
        self._seen = threading.Event()

    def see(self, _: Event) -> None:
        self._seen.set()

    def check(self) -> None:
        if self._seen.is_set():
            raise TimedOut("the worker is gone")
        super().check()


def begin(bench: ClusterBench, *lines: str) -> None:
    """Starts the command, whose first act is to print something, and leaves it."""
    worker = Leaving()
    with pytest.raises(TimedOut, match="is gone"):
        bench.engine.command(bench.spec(), NAME, shell(*lines), {}, worker.see, worker)


def pod(bench: ClusterBench) -> str:
    return command_name(bench.spec(), NAME)


def test_output_and_exit_code_are_returned_unchanged(bench: ClusterBench) -> None:
    result = run(bench, "echo one", "echo two", "printf 'three\\303\\251'", "exit 7")
    assert (result.exit_code, result.output) == (7, "one\ntwo\nthreeé\n")
    assert [event.text for event in bench.events] == ["one", "two", "threeé"]
    assert {event.data["container"] for event in bench.events} == {pod(bench)}


def test_lines_are_emitted_while_it_runs(bench: ClusterBench) -> None:
    """It ends only once its line was seen, so that a line emitted at the end would hang the test."""

    def answer(event: Event) -> None:
        kubectl(bench.api.namespace, "exec", pod(bench), "--", "touch", "/tmp/seen")

    result = run(bench, "echo waiting", "until [ -e /tmp/seen ]; do sleep 0.1; done", emit=answer)
    assert result.exit_code == 0


def test_fault_33_the_next_worker_waits_for_a_running_command(
    bench: ClusterBench, namespace: str, instance: str
) -> None:
    begin(bench, "echo begun", "sleep 3", "echo done", "exit 5")
    second = make(instance, namespace, bench.remote)
    second.name = bench.name
    result = run(second, "echo never run")
    assert (result.exit_code, result.output) == (5, "begun\ndone\n")
    assert run(bench, "echo never run").output == "begun\ndone\n"
    assert bench.engine.command_runs(bench.ref()) == {1}


@pytest.mark.parametrize(
    "words",
    [("delete", "pod", "--wait=false"), ("delete", "pod", "--grace-period=0", "--force", "--wait=false")],
    ids=["graceful", "forced"],
)
def test_fault_33_a_deleted_command_has_an_unknown_outcome(
    words: tuple[str, ...], bench: ClusterBench
) -> None:
    def end(event: Event) -> None:
        kubectl(bench.api.namespace, *words, pod(bench))

    with pytest.raises(OutcomeUnknown, match="its result is unknown"):
        run(bench, "trap 'exit 0' TERM", "echo begun", "while :; do sleep 0.1; done", emit=end)


def test_fault_33_an_evicted_command_has_an_unknown_outcome(bench: ClusterBench) -> None:
    def evict(event: Event) -> None:
        path = f"{bench.api.path('Pod', pod(bench))}/eviction"
        body = f'{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{pod(bench)}"}}}}'
        headers = {"Content-Type": "application/json"}
        answer = bench.api.raw("POST", path, "evicting", headers=headers, body=body.encode())
        assert answer.status == 201, answer.data

    with pytest.raises(OutcomeUnknown):
        run(bench, "trap 'exit 0' TERM", "echo begun", "while :; do sleep 0.1; done", emit=evict)


def test_fault_33_the_next_worker_does_not_run_a_deleted_command_again(bench: ClusterBench) -> None:
    """A drained node ends a worker and its command's pod together."""
    begin(bench, "echo begun", "while :; do sleep 0.1; done")
    kubectl(bench.api.namespace, "delete", "pod", "--wait=false", pod(bench))
    with pytest.raises(OutcomeUnknown):
        run(bench, "echo begun again")
    assert bench.engine.command_runs(bench.ref()) == {1}
    bench.engine.forget_commands(bench.ref(), 1)
    assert bench.engine.command_runs(bench.ref()) == frozenset()
    assert run(bench, "echo again").output == "again\n"


def test_a_command_that_cannot_start_is_deleted_and_can_start_later(bench: ClusterBench) -> None:
    """It must not run by itself once the registry is back."""
    nowhere = replace(bench.spec(), remote=bench.remote.partition("@")[0] + "@sha256:" + "1" * 64)
    with pytest.raises(EngineFailed, match=r"image cannot be pulled: .*not found"):
        run(bench, "true", spec=nowhere)
    assert bench.engine.command_runs(bench.ref()) == frozenset()
    assert bench.api.get("Pod", pod(bench)) is None
    assert run(bench, "echo now").output == "now\n"


def test_a_command_that_is_not_a_program_is_an_application_error(bench: ClusterBench) -> None:
    with pytest.raises(AppFailed, match=r"cannot be executed: .*/no/such"):
        bench.engine.command(bench.spec(), NAME, ("/no/such",), {}, print, bench.watch())


def test_a_command_with_too_little_memory_exits_with_137(bench: ClusterBench) -> None:
    spec = bench.spec(memory=16 << 20)
    assert run(bench, "exec dd if=/dev/zero of=/dev/null bs=200M", spec=spec).exit_code == 137


def test_a_forgotten_command_is_deleted_and_its_name_is_free(bench: ClusterBench) -> None:
    before = threading.active_count()
    begin(bench, "echo first", "sleep 60")
    until(lambda: threading.active_count() <= before)
    bench.engine.forget_command(bench.spec(), NAME)
    assert run(bench, "echo second").output == "second\n"
    bench.engine.forget_commands(bench.ref(), 1)
    assert bench.engine.command_runs(bench.ref()) == frozenset()
    until(lambda: threading.active_count() <= before)


def terminating(finished: str, deleted: str, grace: int) -> KubeObject:
    """A pod with 4 s for ending, as the API server shows it: times of day, and the seconds that it has left."""
    ended = {"state": {"terminated": {"exitCode": 6, "finishedAt": f"2026-11-25T{finished}Z"}}}
    deletion = {"deletionTimestamp": f"2026-11-25T{deleted}Z", "deletionGracePeriodSeconds": grace}
    return {
        "metadata": {"name": "p", **deletion},
        "spec": {"terminationGracePeriodSeconds": 4},
        "status": {"containerStatuses": [ended]},
    }


@pytest.mark.parametrize(
    ("finished", "deleted", "grace"), [("16:15:23", "16:15:28", 4), ("16:14:53", "16:15:28", 0)]
)
def test_a_result_from_before_its_pod_was_deleted_is_known(finished: str, deleted: str, grace: int) -> None:
    assert exit_code(terminating(finished, deleted, grace)) == 6


@pytest.mark.parametrize(
    ("finished", "deleted", "grace"), [("16:15:24", "16:15:28", 4), ("16:14:54", "16:15:28", 0)]
)
def test_a_result_that_may_come_from_the_deletion_is_unknown(finished: str, deleted: str, grace: int) -> None:
    """The kubelet's last deletion, without grace, moves the timestamp to its own time."""
    with pytest.raises(OutcomeUnknown):
        exit_code(terminating(finished, deleted, grace))


@pytest.mark.parametrize("reason", ["Evicted", "NodeLost", "Terminated"])
def test_a_command_that_the_cluster_ended_has_an_unknown_outcome_whatever_its_exit_code(reason: str) -> None:
    ended = {"state": {"terminated": {"exitCode": 0, "finishedAt": "2026-11-25T16:15:24Z"}}}
    status = {"phase": "Failed", "reason": reason, "containerStatuses": [ended]}
    with pytest.raises(OutcomeUnknown):
        exit_code({"metadata": {"name": "p"}, "status": status})
