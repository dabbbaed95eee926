"""What must never run twice on a cluster, although its pod is deleted by hand and it is restarted."""

from __future__ import annotations

import threading

from pipeline.adapters.kubernetes.names import PROCESS
from pipeline.adapters.kubernetes.pods.state import is_finished
from tests.support.clusterbench import ClusterBench
from tests.support.waiting import until

# Without `one` the cluster starts another pod at once: it would run beside this one for a second.
SLOW_TO_END = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"
BEAT = {"command": ("sh", "-c", SLOW_TO_END), "stop": 5.0, "settle": 0.1, "one": True}


def test_there_are_never_two_of_them(cluster_bench: ClusterBench) -> None:
    engine, api = cluster_bench.engine, cluster_bench.api
    spec = cluster_bench.spec(web=False, processes={"beat": BEAT})
    engine.prepare(spec.ref, (), routes=False)
    engine.start(spec, cluster_bench.watch())
    engine.start_processes(spec, cluster_bench.watch())
    engine.processes_ready(spec, cluster_bench.events.append, cluster_bench.watch())

    def working() -> set[str]:
        found = api.find("Pod", {PROCESS: "beat"})
        return {one["metadata"]["uid"] for one in found if not is_finished(one)}

    over, seen = threading.Event(), list[set[str]]()

    def look() -> None:
        while not over.wait(0.03):
            seen.append(working())

    (first,) = working()
    thread = threading.Thread(target=look)
    thread.start()
    try:
        api.delete("Pod", engine.processes(spec.ref)[0].name, grace=5)
        until(lambda: working() - {first}, 30)
        (second,) = working()
        engine.restart_slot(spec, "a1", cluster_bench.events.append, cluster_bench.watch())
    finally:
        over.set()
        thread.join()
    assert max(len(one) for one in seen) == 1
    assert len(set.union(*seen)) == 3
    assert second not in working()
    assert engine.missing_processes(spec) == ()
    engine.stop(spec.ref)
    until(lambda: not working(), 20)
    engine.remove(spec.ref)
    assert api.find("StatefulSet", {PROCESS: "beat"}) == []
