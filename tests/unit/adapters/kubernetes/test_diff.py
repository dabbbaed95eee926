from __future__ import annotations

from pipeline.adapters.kubernetes.diff import (
    changes,
    has_foreign_parts,
    other_managers,
    restored,
    without,
)


def deployment(*managers: dict[str, object]) -> dict[str, object]:
    env = [{"name": "A", "value": "1"}, {"name": "DEBUG", "value": "1"}]
    pod = {"containers": [{"name": "app", "image": "x@1", "env": env}]}
    spec = {"replicas": 3, "paused": True, "template": {"spec": pod}}
    return {
        "kind": "Deployment",
        "metadata": {"name": "hello-live-blue", "managedFields": managers},
        "spec": spec,
    }


def managed(manager: str, fields: dict[str, object], **more: str) -> dict[str, object]:
    return {"manager": manager, "fieldsV1": {"f:spec": fields}, **more}


def containers(inside: dict[str, object]) -> dict[str, object]:
    return {"f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': inside}}}}


OURS = managed("pushlive", {"f:replicas": {}, **containers({".": {}, "f:image": {}})}, operation="Apply")
DEBUG = containers({"f:env": {'k:{"name":"DEBUG"}': {".": {}, "f:name": {}, "f:value": {}}}})


def test_changed_values_are_listed_and_variables_are_hidden() -> None:
    live, wanted = deployment(), deployment()
    wanted["spec"]["replicas"] = 2
    wanted["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = "2"
    assert changes(live, wanted) == [
        "Deployment hello-live-blue: spec.replicas: 2 → 3",
        "Deployment hello-live-blue: spec.template.spec.containers[app].env[A].value: ••• → •••",
    ]
    assert changes(live, wanted)[0].back == "Deployment hello-live-blue: spec.replicas: 3 → 2"
    assert changes(live, live) == []


def test_a_field_on_one_side_only_is_listed() -> None:
    live, wanted = deployment(), deployment()
    del wanted["spec"]["paused"]
    assert changes(live, wanted) == ["Deployment hello-live-blue: spec.paused: nothing → true"]


def test_long_values_and_long_lists_are_cut() -> None:
    live, wanted = deployment(), deployment()
    live["spec"] = {str(n): "x" * 500 for n in range(100)}
    found = changes(live, wanted)
    assert len(found) == 13
    assert found[-1].endswith("more")
    assert all(len(line) < 200 for line in found)


def test_the_managers_of_changed_values_are_named_but_neither_pushlive_nor_the_cluster() -> None:
    controller = {"manager": "kube-controller-manager"}
    live = deployment(
        OURS,
        managed("kubectl-edit", {"f:paused": {}, **DEBUG}),
        managed("kubectl", {"f:replicas": {}}, subresource="scale"),
        managed("kube-controller-manager", {"f:replicas": {}}, subresource="status"),
        {**controller, "fieldsV1": {"f:metadata": {"f:annotations": {"f:revision": {}}}}},
    )
    assert other_managers(live) == ["kubectl", "kubectl-edit"]
    wanted = deployment()
    wanted["spec"]["replicas"] = 2
    assert changes(live, wanted) == ["Deployment hello-live-blue (kubectl): spec.replicas: 2 → 3"]


def test_what_others_added_to_pods_is_removed_and_other_fields_of_theirs_stay() -> None:
    live = deployment(OURS, managed("kubectl-edit", {"f:minReadySeconds": {}, "f:paused": {}, **DEBUG}))
    live["spec"]["minReadySeconds"] = 5
    live["spec"]["clusterIP"] = "10.0.0.1"  # no manager's
    pod = {"containers": [{"name": "app", "image": "x@2"}]}
    manifest = {"spec": {"replicas": 2, "paused": False, "template": {"spec": pod}}}
    rest = restored(live, manifest)
    assert rest["spec"]["minReadySeconds"] == 5
    assert rest["spec"]["paused"] is False
    assert rest["spec"]["clusterIP"] == "10.0.0.1"
    assert rest["spec"]["replicas"] == 2
    assert rest["spec"]["template"]["spec"]["containers"][0]["image"] == "x@2"
    assert "DEBUG" not in str(rest["spec"])
    assert live["spec"]["paused"] is True  # the argument is not changed
    assert "minReadySeconds" not in restored(live, manifest, whole=True)["spec"]


def service(*managers: dict[str, object], **more: object) -> dict[str, object]:
    port = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}
    spec = {"selector": {"slot": "blue"}, "ports": [port], "clusterIP": "10.0.0.1", **more}
    return {"kind": "Service", "metadata": {"name": "hello-live", "managedFields": managers}, "spec": spec}


HTTP = {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}
APPLIED = managed("pushlive", {"f:selector": {}, "f:ports": {'k:{"port":80,"protocol":"TCP"}': HTTP}})


def test_the_type_ports_and_node_ports_of_a_service_that_others_set_stay() -> None:
    https = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": "http", "nodePort": 30443}
    fields = {
        "f:type": {},
        "f:ports": {
            'k:{"port":443,"protocol":"TCP"}': HTTP,
            'k:{"port":80,"protocol":"TCP"}': {"f:nodePort": {}},
        },
    }
    live = service(APPLIED, managed("terraform", fields), type="NodePort")
    live["spec"]["ports"] = [{**live["spec"]["ports"][0], "nodePort": 30080}, https]
    assert restored(live, service())["spec"] == live["spec"]
    assert restored(service(APPLIED), service())["spec"] == service()["spec"]


def test_a_field_that_others_set_as_well_stays_when_the_manifest_no_longer_has_it() -> None:
    affinity = {"f:sessionAffinity": {}}
    ours = managed("pushlive", affinity)
    live = service(ours, managed("terraform", affinity), sessionAffinity="ClientIP")
    assert restored(live, service())["spec"]["sessionAffinity"] == "ClientIP"
    assert "sessionAffinity" not in restored(service(ours, sessionAffinity="ClientIP"), service())["spec"]


def test_a_port_that_others_renumbered_and_a_selector_that_they_replaced_are_restored() -> None:
    fields = {"f:ports": {'k:{"port":81,"protocol":"TCP"}': HTTP}, "f:selector": {}}
    live = service(APPLIED, managed("kubectl-edit", fields))
    live["spec"]["ports"][0]["port"] = 81
    live["spec"]["selector"] = {"app": "theirs"}
    assert restored(live, service())["spec"] == service()["spec"]


def test_the_tls_section_of_an_ingress_stays_and_its_rules_are_ours() -> None:
    tls = [{"hosts": ["a.example.com"], "secretName": "cert"}]
    live = {
        "kind": "Ingress",
        "metadata": {
            "name": "x",
            "managedFields": [
                managed("pushlive", {"f:ingressClassName": {}}),
                managed("cert-manager", {"f:tls": {}, "f:rules": {}}),
            ],
        },
        "spec": {"tls": tls, "rules": [{"host": "theirs.example.com"}], "ingressClassName": "nginx"},
    }
    wanted = {"spec": {"rules": [{"host": "a.example.com"}]}}
    assert restored(live, wanted)["spec"] == {"tls": tls, **wanted["spec"]}


def test_an_object_has_foreign_parts_once_another_manager_set_a_label_or_a_field() -> None:
    status = managed("nginx", {"f:loadBalancer": {}}, subresource="status")
    annotated = {"manager": "kubectl-annotate", "fieldsV1": {"f:metadata": {"f:annotations": {}}}}
    assert not has_foreign_parts(deployment(OURS, status))
    assert has_foreign_parts(deployment(OURS, status, annotated))


def test_a_field_that_the_manifest_no_longer_has_is_removed() -> None:
    owned = managed("pushlive", containers({".": {}, "f:image": {}, "f:args": {}}))
    live = deployment(owned)
    live["spec"]["template"]["spec"]["containers"][0]["args"] = ["--old"]
    manifest = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "x@1"}]}}}}
    assert "args" not in restored(live, manifest)["spec"]["template"]["spec"]["containers"][0]


def test_a_missing_path_is_ignored() -> None:
    live = deployment()
    assert without(live, [("f:spec", "f:strategy", "f:type"), ("f:nothing", 'k:{"name":"x"}')]) == live


def test_values_of_variables_and_arguments_are_not_shown() -> None:
    live, wanted = deployment(), deployment()
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["env"].append({"name": "DB_PASSWORD", "value": "hunter2"})
    container["args"] = ["--password=hunter2"]
    container["command"] = ["sh", "-c", "hunter2"]
    found = "\n".join(changes(live, wanted))
    assert "env[DB_PASSWORD]: nothing → •••" in found
    assert "hunter2" not in found


def test_a_number_of_replicas_that_the_manifest_leaves_out_stays_whoever_set_it() -> None:
    for live in (deployment(OURS), deployment(managed("scaler", {"f:replicas": {}}, subresource="scale"))):
        wanted = deployment()
        del wanted["spec"]["replicas"]
        for whole in (False, True):
            assert restored(live, wanted, whole=whole)["spec"]["replicas"] == 3
