"""What `service` says of a container, seen from inside a pod on a real cluster."""

from __future__ import annotations

from dataclasses import replace

from tests.cluster.test_kube_failures import shell
from tests.support.clusterbench import ClusterBench

LOOK = "exec 2>&1; pwd; df -m /dev/shm | tail -n 1; echo PORT=$PORT"


def test_a_pod_is_given_what_the_service_says(cluster_bench: ClusterBench) -> None:
    bench = cluster_bench
    spec = replace(bench.spec(shm=16 << 20, working_dir="/srv/app"), with_port=True)
    bench.deploy(spec)
    result = bench.engine.command(spec, "look", shell(LOOK), {}, bench.events.append, bench.watch())
    bench.engine.forget_command(spec, "look")
    there, shm, port = result.output.splitlines()
    assert there == "/srv/app"
    assert shm.split()[1] == "16"
    assert port == "PORT=8080"
