from __future__ import annotations

from pipeline.adapters.kubernetes.diff import changes, other_managers, restored, without


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
        "Deployment hello-live-blue: spec.replicas: 3 → 2",
        "Deployment hello-live-blue: spec.template.spec.containers[app].env[A].value: ••• → •••",
    ]
    assert changes(live, live) == []


def test_a_field_on_one_side_only_is_listed() -> None:
    live, wanted = deployment(), deployment()
    del wanted["spec"]["paused"]
    assert changes(live, wanted) == ["Deployment hello-live-blue: spec.paused: true → nothing"]


def test_long_values_and_long_lists_are_cut() -> None:
    live, wanted = deployment(), deployment()
    live["spec"] = {str(n): "x" * 500 for n in range(100)}
    found = changes(live, wanted)
    assert len(found) == 13
    assert found[-1].endswith("more")
    assert all(len(line) < 200 for line in found)


def test_other_managers_are_named_but_neither_pushlive_nor_the_cluster() -> None:
    controller = {"manager": "kube-controller-manager"}
    live = deployment(
        OURS,
        managed("kubectl-edit", {"f:paused": {}, **DEBUG}),
        managed("kube-controller-manager", {"f:replicas": {}}, subresource="status"),
        {**controller, "fieldsV1": {"f:metadata": {"f:annotations": {"f:revision": {}}}}},
    )
    wanted = deployment()
    wanted["spec"]["replicas"] = 2
    assert other_managers(live) == ["kubectl-edit"]
    assert changes(live, wanted) == ["Deployment hello-live-blue (kubectl-edit): spec.replicas: 3 → 2"]


def test_added_fields_are_removed_and_assigned_ones_stay() -> None:
    live = deployment(OURS, managed("kubectl-edit", {"f:paused": {}, **DEBUG}))
    live["spec"]["clusterIP"] = "10.0.0.1"  # no manager's
    manifest = {
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "app", "image": "x@2"}]}}}
    }
    rest = restored(live, manifest)
    assert "paused" not in rest["spec"]
    assert rest["spec"]["clusterIP"] == "10.0.0.1"
    assert rest["spec"]["replicas"] == 2
    assert [one["image"] for one in rest["spec"]["template"]["spec"]["containers"]] == ["x@2"]
    assert live["spec"]["paused"] is True  # the argument is not changed


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
    assert "env[DB_PASSWORD]: ••• → nothing" in found
    assert "hunter2" not in found
