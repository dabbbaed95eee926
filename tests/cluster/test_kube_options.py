"""What `service` says of a container, seen from inside a pod on a real cluster."""

from __future__ import annotations

from dataclasses import replace

from pipeline.adapters.kubernetes.names import slot_name
from pipeline.domain.release import FORM
from tests.cluster.test_kube_failures import shell
from tests.support.clusterbench import ClusterBench, kubectl

LOOK = """exec 2>&1
pwd; echo PORT=$PORT; id -u; id -g
df -m /dev/shm | tail -n 1; df -m /cache | tail -n 1; touch /cache/x && echo wrote /cache
grep db.internal /etc/hosts
"""


def test_a_pod_is_given_what_the_service_says(cluster_bench: ClusterBench) -> None:
    bench = cluster_bench
    options = {
        "shm": 16 << 20, "working_dir": "/srv/app", "user": "1234:1235", "tmpfs": {"/cache": 8 << 20},
        "extra_hosts": {"db.internal": "10.9.8.7"}, "labels": {"example.com/team": "shop"},
        "annotations": {"example.com/note": "a b"},
    }  # fmt: skip
    spec = replace(bench.spec(**options), form=FORM)
    bench.deploy(spec)
    result = bench.engine.command(spec, "look", shell(LOOK), {}, bench.events.append, bench.watch())
    bench.engine.forget_command(spec, "look")
    there, port, user, group, shm, cache, wrote, host = result.output.splitlines()
    assert (there, port, user, group) == ("/srv/app", "PORT=8080", "1234", "1235")
    assert (shm.split()[1], cache.split()[1], wrote) == ("16", "8", "wrote /cache")
    assert host.split() == ["10.9.8.7", "db.internal"]
    assert bench.engine.drift(spec) == ()

    [pod] = bench.api.find("Pod", {"example.com/team": "shop"})
    assert pod["metadata"]["annotations"]["example.com/note"] == "a b"
    name = slot_name(spec.ref)
    found = bench.api.get("Deployment", name)
    assert found
    assert found["metadata"]["labels"]["example.com/team"] == "shop"

    kubectl(bench.api.namespace, "set", "env", f"deployment/{name}", "X=1")
    kubectl(bench.api.namespace, "annotate", "deployment", name, "their.example/own=stays")
    assert any("env" in line for line in bench.engine.drift(spec))
    bench.engine.revert_drift(spec)
    assert bench.engine.drift(spec) == ()
    found = bench.api.get("Deployment", name)
    assert found
    assert found["metadata"]["annotations"]["their.example/own"] == "stays"
