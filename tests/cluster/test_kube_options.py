"""What `service` says of a container, seen from inside a pod on a real cluster."""

from __future__ import annotations

from dataclasses import replace

from pipeline.adapters.kubernetes.names import base, slot_name
from pipeline.domain.release import FORM
from tests.cluster.test_kube_failures import shell
from tests.support.clusterbench import ClusterBench, kubectl
from tests.support.waiting import until

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


def test_what_the_configuration_says_of_a_cluster_is_kept_beside_what_others_say(
    cluster_bench: ClusterBench,
) -> None:
    bench, engine = cluster_bench, cluster_bench.engine
    bench.hosts = ("options.example.com",)
    options = {
        "node_selector": {"kubernetes.io/os": "linux"}, "tolerations": ("spot:NoExecute",),
        "service_account": "default",
        "service": {"type": "NodePort", "annotations": {"a.example/b": "c"}},
        "ingress": {"tls": "certificate", "annotations": {"d.example/e": "f"}},
    }  # fmt: skip
    spec = bench.spec(requests={"cpu": 0.02, "memory": 16 << 20}, kubernetes=options)
    bench.deploy(spec)
    assert engine.drift(spec) == ()
    [pod] = bench.engine._pods(spec.ref)
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert {"key": "spot", "operator": "Exists", "effect": "NoExecute"} in pod["spec"]["tolerations"]
    assert pod["spec"]["serviceAccountName"] == "default"
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "20m", "memory": "16Mi"}

    namespace, public = bench.api.namespace, base(spec.ref)
    kubectl(
        namespace,
        "annotate",
        "--overwrite",
        "service",
        public,
        "a.example/b=other",
        "their.example/own=stays",
    )
    kubectl(namespace, "annotate", "--overwrite", "ingress", public, "d.example/e=other")
    kubectl(namespace, "patch", "service", public, "-p", '{"spec": {"type": "ClusterIP"}}')
    lines = "\n".join(engine.drift(spec))
    assert "annotations.a.example/b: c → other" in lines
    assert "annotations.d.example/e: f → other" in lines
    assert "spec.type: NodePort → ClusterIP" in lines
    assert "their.example" not in lines
    engine.revert_drift(spec)
    assert engine.drift(spec) == ()
    service, ingress = (bench.api.get(kind, public) for kind in ("Service", "Ingress"))
    assert service
    assert ingress
    assert service["spec"]["type"] == "NodePort"
    notes = service["metadata"]["annotations"]
    assert (notes["a.example/b"], notes["their.example/own"]) == ("c", "stays")
    assert ingress["metadata"]["annotations"]["d.example/e"] == "f"
    assert ingress["spec"]["tls"] == [{"hosts": ["options.example.com"], "secretName": "certificate"}]

    engine.unroute(spec.ref)
    service = bench.api.get("Service", public)
    assert service
    assert (service["spec"]["type"], engine.serving(spec.ref)) == ("NodePort", None)


def scale(bench: ClusterBench, slot: str, count: int) -> None:
    """As an autoscaler does: through the subresource, under its controller's name."""
    path = f"{bench.api.path('Deployment', slot_name(bench.ref(slot)))}/scale"
    query, kind = {"fieldManager": "kube-controller-manager"}, "application/merge-patch+json"
    body = {"spec": {"replicas": count}}
    bench.api.request_json("PATCH", path, "scaling", query=query, body=body, content_type=kind)


def count(bench: ClusterBench, slot: str) -> int:
    return bench.engine.scaled(bench.ref(slot))


def test_a_number_of_replicas_that_an_autoscaler_sets_is_never_written(cluster_bench: ClusterBench) -> None:
    bench, engine = cluster_bench, cluster_bench.engine
    blue, green = bench.spec(replicas="auto"), bench.spec("green", 2, replicas="auto")
    bench.deploy(blue)
    assert count(bench, "blue") == 1
    scale(bench, "blue", 2)
    until(lambda: len(engine.replicas(blue.ref)) == 2)

    name = slot_name(blue.ref)
    kubectl(bench.api.namespace, "set", "env", f"deployment/{name}", "X=1")
    assert all("replicas" not in line for line in engine.drift(blue))
    engine.revert_drift(blue)
    assert (engine.drift(blue), engine.missing(blue), engine.restore(blue)) == ((), (), False)
    assert count(bench, "blue") == 2

    bench.deploy(replace(green, at_least=count(bench, "blue")))
    assert (count(bench, "green"), engine.drift(green)) == (2, ())
    engine.revert_drift(green)  # no one but us has set it here
    assert count(bench, "green") == 2
    scale(bench, "green", 1)

    bench.deploy(replace(blue, at_least=2))  # a revert, whose slot has as many already
    assert count(bench, "blue") == 2
    engine.stop(green.ref)
    bench.deploy(green)
    assert (count(bench, "blue"), count(bench, "green")) == (2, 1)
    scale(bench, "green", 0)
    assert engine.missing(green) == (f"the Deployment {slot_name(green.ref)} was scaled to 0",)
    assert engine.restore(green)
    assert count(bench, "green") == 1
