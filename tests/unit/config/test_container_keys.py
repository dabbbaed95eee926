"""The keys that say what a container is given: good values are read, and bad ones refused with what to write."""

from __future__ import annotations

import pytest

from pipeline.config.diff import plan
from pipeline.config.lint import devices, warnings
from pipeline.config.loading import load, problems
from pipeline.config.models import Service
from pipeline.config.workload.container import limits_of
from pipeline.config.workload.kubernetes import toleration_of
from pipeline.config.workload.machine_lint import folders

TEXT = "pipelines: {a: {service: {%s}, environments: {live: }}}"


def read(keys: str) -> Service:
    return load(TEXT % keys).pipelines["a"].render("live").service


def refused(keys: str) -> str:
    """What is said of the only problem that these keys make, after its line."""
    (one,) = problems(TEXT % keys)
    return f"{one.path.removeprefix('pipelines.a.service.')}: {one.message}"


def test_good_values_are_read() -> None:
    service = read("shm: 1GiB, working_dir: /srv/app")
    assert service.shm == 1 << 30
    assert service.working_dir == "/srv/app"
    assert read("working_dir: /").working_dir == "/"
    service = read(
        "tmpfs: {/run: 16MiB, /var/cache/app: 4KiB}, user: '1000:1000', ulimits: {nofile: 65536, core: '0:-1'}, "
        "extra_hosts: {db.internal: 10.0.0.5, six: '::1', host: host-gateway}, devices: [/dev/dri/renderD128], "
        "labels: {team: shop, com.example.x: 'a b', app.kubernetes.io/part-of: shop, t.rule: 'Host(`x`)'}"
    )
    assert service.tmpfs == {"/run": 16 << 20, "/var/cache/app": 4096}
    assert service.ulimits == {"nofile": "65536", "core": "0:-1"}
    assert [limits_of(one) for one in service.ulimits.values()] == [(65536, 65536), (0, -1)]
    assert service.extra_hosts["host"] == "host-gateway"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            "shm: 0MiB",
            "shm: '0MiB' is too small; write a size such as 128MiB or 1GiB, from 1 MiB to 1024 GiB",
        ),
        ("shm: 9000GiB", "is too large; write a size"),
        ("shm: 64", "shm: '64'"),
        ("shm: -1MiB", "shm: '-1MiB'"),
        ("working_dir: app", "working_dir: 'app' is not a folder in the container; write an absolute path"),
        ("working_dir: /a/../../etc", "is not a folder in the container"),
        ("working_dir: //srv", "is not a folder in the container"),
        ('working_dir: "/a\\0b"', "is not a folder in the container"),
        (f"working_dir: /{'a' * 1100}", "is longer than 1024 characters; write an absolute path"),
        ("tmpfs: {/: 1MiB}", "is not allowed; write an absolute path in the container"),
        (
            "tmpfs: {/run/: 1MiB}",
            "is not allowed; write an absolute path in the container, such as /run, without",
        ),
        ("tmpfs: {/proc/1: 1MiB}", "'/proc/1' belongs to the system; write a path such as /run"),
        ("tmpfs: {/dev/shm: 1MiB}", "its size is the key `shm`"),
        ("tmpfs: {/a/../b: 1MiB}", "is not a folder in the container"),
        ("tmpfs: {/run: 1}", "'1'"),
        ("tmpfs: [/run]", "tmpfs: a list is not a mapping"),
        (f"tmpfs: {{{', '.join(f'/a{n}: 1MiB' for n in range(17))}}}", "tmpfs: "),
        ("user: a b", "user: 'a b' is not a user; write a number or a name of the image, such as 1000"),
        ("user: '1:2:3'", "is not a user"),
        ("user: '-1'", "is not a user"),
        ("user: 4294967296", "the numbers of users and groups end at 2147483647"),
        ("ulimits: {files: 1}", "write a limit of setrlimit, such as nofile, nproc, memlock or core"),
        (
            "ulimits: {nofile: many}",
            "'many' is not a limit; write a number for both, such as 65536, or soft:hard",
        ),
        ("ulimits: {nofile: '2:1'}", "the soft limit is above the hard one"),
        ("ulimits: {nofile: '-1:5'}", "the soft limit is above the hard one"),
        ("extra_hosts: {a_b: 10.0.0.1}", "write a host name in lower case"),
        (
            "extra_hosts: {a: b}",
            "'b' is not an address; write an IP address, or host-gateway for the machine",
        ),
        ("extra_hosts: {a: '10.0.0.1 evil'}", "is not an address"),
        ("devices: [/etc/passwd]", "'/etc/passwd' is not a device; write a path such as /dev/dri/renderD128"),
        ("devices: [/dev/../etc/passwd]", "is not a folder in the container"),
        ("devices: [/dev/dri/]", "is not a device"),
        (
            "binds: {/a: photos}",
            "'photos' is not a folder of the machine; write an absolute path without `..`",
        ),
        ("binds: {/a: /srv/../etc}", "is not a folder of the machine"),
        ("binds: {/a: /srv/./b}", "is not a folder of the machine"),
        ("binds: {/a: //srv}", "is not a folder of the machine"),
        ("binds: {/a: /srv/}", "is not a folder of the machine"),
        ("binds: {/a: /}", "is not a folder of the machine"),
        ("binds: {/a: '/srv:rw'}", "is not a folder of the machine"),
        ("binds: {/a: ':ro'}", "is not a folder of the machine"),
        ("binds: {/proc/1: /srv}", "belongs to the system"),
        ("binds: {/a: /srv}, tmpfs: {/a: 1MiB}", "is a `tmpfs` in live as well; remove one of the two"),
        ("binds: {/a: /srv}, volumes: {a: /a}", "is the folder of the volume a in live as well"),
        ("networks: [host]", "host is Docker's own; make another one with `docker network create NAME`"),
        ("networks: ['a b']", "'a b' is not the name of a network; `docker network ls` shows them"),
        ("networks: backend", "'backend' is not a list: write [backend]"),
        (
            "labels: {pushlive.instance: a}",
            "'pushlive.instance' has a prefix that is reserved; write one of your own",
        ),
        ("labels: {pushlive/slot: a}", "has a prefix that is reserved"),
        ("labels: {com.docker.compose.project: a}", "has a prefix that is reserved"),
        ("labels: {app.kubernetes.io/managed-by: a}", "has a prefix that is reserved"),
        ("labels: {topology.kubernetes.io/zone: a}", "has a prefix that is reserved"),
        ("labels: {'a b': c}", "write the name of a label, such as example.com/team"),
        (f"labels: {{a: {'b' * 5000}}}", "is longer than 4096 characters; write text of at most"),
        (
            "annotations: {container.apparmor.security.beta.kubernetes.io/app: unconfined}",
            "prefix that is reserved",
        ),
        ("annotations: {kubernetes.io/x: a}", "has a prefix that is reserved"),
        ("annotations: {a/b/c: d}", "'a/b/c' is not the name of an annotation"),
    ],
)
def test_bad_values_are_refused_with_what_to_write(keys: str, says: str) -> None:
    assert says in refused(keys)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            "user: root",
            "user: root may be root, which `security: strict` does not allow in live; write a number that",
        ),
        ("user: app", "user: app may be root"),
        ("user: '0:1000'", "user: 0:1000 may be root"),
    ],
)
def test_strict_refuses_a_user_that_may_be_root(keys: str, says: str) -> None:
    assert says in refused(f"security: strict, {keys}")
    assert read(keys)
    assert read("security: strict, user: 1000")


ON = "pipelines: {a: {registry: r.example/a, service: {%s}, environments: {dev: {%s}, live: {engine: kubernetes}}}}"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("ulimits: {core: 0}", "ulimits: is not possible for live, on a cluster: Kubernetes has no such key"),
        (
            "networks: [backend]",
            "networks: is not possible for live, on a cluster: pods have the cluster's own network",
        ),
        (
            "binds: {/photos: /srv/photos}",
            "binds: is not possible for live, on a cluster: a pod may run on any node, which has folders of its own",
        ),
        (
            "devices: [/dev/fuse]",
            "devices: is not possible for live, on a cluster: Kubernetes gives devices by device",
        ),
        (
            "user: app",
            "user: app is a name, and Kubernetes takes only numbers for live; write for example 1000",
        ),
        (
            "extra_hosts: {a: host-gateway}",
            "extra_hosts.a: host-gateway is not possible for live, on a cluster",
        ),
        ("labels: {t.rule: 'Host(x)'}", "labels.'t.rule': is not a label that Kubernetes takes for live"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused_with_the_reason(keys: str, says: str) -> None:
    (one,) = problems(ON % (keys, ""))
    assert says in f"{one.path.removeprefix('pipelines.a.service.')}: {one.message}"
    assert problems(ON % ("", keys)) == ()  # under the environment on Docker


def test_what_docker_cannot_do_is_refused_with_the_reason_and_an_environment_takes_it_back() -> None:
    (one,) = problems(ON % ("annotations: {a.example/b: c}", ""))
    assert one.path == "pipelines.a.service.annotations"
    assert one.message == (
        "is not possible for dev, on Docker: containers have labels alone (`labels`); write it only under environments "
        "on Kubernetes"
    )
    assert problems(ON % ("annotations: {a.example/b: c}", "annotations: {}")) == ()


CLUSTER = "pipelines: {a: {registry: r.example/a, service: {%s}, environments: {live: {engine: kubernetes}}}}"


def test_keys_of_a_cluster_are_read() -> None:
    service = (
        load(
            CLUSTER % "requests: {cpu: 50m, memory: 64MiB}, kubernetes: {node_selector: {disktype: ssd}, "
            "service_account: app, tolerations: ['dedicated=gpu:NoSchedule', spot], "
            "service: {type: LoadBalancer, annotations: {a.example/b: c}}, "
            "ingress: {tls: certificate, annotations: {cert-manager.io/issuer: letsencrypt}}}"
        )
        .pipelines["a"]
        .render("live")
        .service
    )
    assert (service.requests.cpu, service.requests.memory) == (0.05, 64 << 20)
    assert [toleration_of(one) for one in service.kubernetes.tolerations] == [
        {"key": "dedicated", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists"},
    ]
    assert service.kubernetes.ingress.annotations == {"cert-manager.io/issuer": "letsencrypt"}


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (
            "requests: {memory: 1GiB}",
            "requests.memory: is more than the limit `memory` of live; lower it, or raise",
        ),
        (
            "volumes: {data: /data}, kubernetes: {volumes: {dat: {size: 1GiB}}}",
            "kubernetes.volumes.dat: is not a volume of live; name one of those under `volumes`, or remove it",
        ),
        (
            "kubernetes: {volumes: {data: {class: F_x}}}, volumes: {data: /x}",
            "write the name of a StorageClass",
        ),
        ("kubernetes: {volumes: {data: {size: 1kB}}}, volumes: {data: /x}", "kubernetes.volumes.data.size"),
        ("requests: {cpu: 2}", "requests.cpu: is more than the limit `cpu` of live"),
        ("requests: {cpu: 0}", "is not a CPU share; write cores or thousandths"),
        (
            "kubernetes: {tolerations: ['a b:c']}",
            "'a b:c' is not a toleration; write it as `kubectl taint` does",
        ),
        (
            "kubernetes: {tolerations: ['a:Never']}",
            "with the effect NoSchedule, PreferNoSchedule or NoExecute",
        ),
        ("kubernetes: {node_selector: {'a b': c}}", "is not the name of a node's label; `kubectl get nodes"),
        ("kubernetes: {node_selector: {a: b c}}", "is not the value of a label; `kubectl get nodes"),
        ("kubernetes: {service_account: A_b}", "write the name of a ServiceAccount"),
        ("kubernetes: {service_account: ''}", "write the name of a ServiceAccount"),
        ("kubernetes: {service: {type: ExternalName}}", "write ClusterIP or NodePort or LoadBalancer"),
        ("kubernetes: {ingress: {tls: ../x}}", "write the name of a Secret"),
        (
            "kubernetes: {ingress: {annotations: {kubernetes.io/ingress.class: x}}}",
            "has a prefix that is reserved",
        ),
        ("kubernetes: {nodeSelector: {a: b}}", "unknown key; did you mean `node_selector`?"),
    ],
)
def test_bad_values_for_a_cluster_are_refused_with_what_to_write(keys: str, says: str) -> None:
    (one,) = problems(CLUSTER % keys)
    assert says in f"{one.path.removeprefix('pipelines.a.service.')}: {one.message}"


@pytest.mark.parametrize("keys", ["requests: {cpu: 50m}", "kubernetes: {service_account: app}"])
def test_keys_of_a_cluster_are_refused_on_docker(keys: str) -> None:
    assert "is not possible for live, on Docker: " in refused(keys)


def test_a_plan_names_each_key_of_a_cluster() -> None:
    before, after = (
        load(CLUSTER % ""),
        load(CLUSTER % "requests: {cpu: 50m}, kubernetes: {tolerations: [spot], ingress: {tls: a}}"),
    )
    assert plan(before, after)["a"]["live"] == (
        "requests.cpu: none → 0.05",
        "kubernetes.tolerations: none → spot",
        "kubernetes.ingress.tls: none → a",
    )


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("0", "'0' is too small; write a whole number from 1 to 12, or auto"),
        ("13", "'13' is too large; write a whole number from 1 to 12, or auto"),
        ("many", "'many' is not allowed; write a whole number from 1 to 12, or auto"),
        ("1.5", "'1.5' is not allowed"),
        ("true", "'True' is not allowed"),
        ("[2]", "a list is not a single value; write a whole number from 1 to 12, or auto"),
        ("", "is empty; write a whole number from 1 to 12, or auto"),
        ("auto", "auto is not possible for live, on Docker: nothing there scales containers"),
    ],
)
def test_a_number_of_replicas_that_is_none_is_refused(written: str, says: str) -> None:
    assert says in refused(f"replicas: {written}")


def test_the_number_of_replicas_may_be_left_to_an_autoscaler_on_a_cluster() -> None:
    before, after = load(CLUSTER % "replicas: 3"), load(CLUSTER % "replicas: auto")
    service = after.pipelines["a"].render("live").service
    assert (service.autoscaled, service.web_replicas) == (True, 1)
    assert Service.model_validate(service.model_dump(mode="json")) == service
    assert plan(before, after)["a"]["live"] == ("replicas: 3 → auto",)
    assert not any(".replicas" in line for line in warnings(after))


def test_a_folder_in_memory_that_is_a_volume_is_refused() -> None:
    says = "is the folder of the volume data in live as well; remove one of the two"
    assert says in refused("tmpfs: {/data: 1MiB}, volumes: {data: /data}")


@pytest.mark.parametrize(
    ("folder", "allowed", "why"),
    [
        ("/srv/photos", ("/srv/photos",), ""),
        ("/srv/photos:ro", ("/srv/photos/",), ""),
        ("/srv/shops/one", ("/srv/shops/*",), ""),
        ("/srv/photos", (), "PUSHLIVE_BINDS does not allow it"),
        ("/srv/photos2", ("/srv/photos",), "PUSHLIVE_BINDS does not allow it"),
        ("/srv/photos/2026", ("/srv/photos",), "PUSHLIVE_BINDS does not allow it"),
        ("/srv/shops/one/data", ("/srv/shops/*",), "PUSHLIVE_BINDS does not allow it"),
        ("/srv", ("/srv/shops/*",), "PUSHLIVE_BINDS does not allow it"),
        ("/etc", ("/",), "PUSHLIVE_BINDS does not allow it"),
        ("/srv/shops/one/data", ("/srv/shops/*", "/srv/shops/one/data"), "it is inside of /srv/shops/one"),
        (
            "/srv/a/b/c",
            ("/srv/a", "/srv/*/b/c"),
            "it is inside of /srv/a, which PUSHLIVE_BINDS allows as well",
        ),
    ],
)
def test_folders_of_the_machine_are_those_that_the_setting_names(
    folder: str, allowed: tuple[str, ...], why: str
) -> None:
    config = load(TEXT % f"binds: {{/data: '{folder}'}}")
    found = [str(one) for one in folders(config, allowed)]
    plain = folder.removesuffix(":ro")
    begins = f"pipelines.a.environments.live.binds: {plain}: {why}"
    assert len(found) == bool(why)
    assert all(one.startswith(begins) and one.endswith(", so nothing starts there") for one in found)


def test_a_device_that_no_setting_allows_has_a_warning() -> None:
    config = load(TEXT % "devices: [/dev/dri/renderD128, /dev/fuse]")
    (one,) = devices(config, ("/dev/dri/*",))
    assert str(one) == (
        "pipelines.a.environments.live.devices: /dev/fuse: PUSHLIVE_DEVICES does not allow it, so nothing starts there"
    )
    assert len(tuple(devices(config, ()))) == 2
    assert tuple(devices(config, ("/dev/fuse", "/dev/dri/renderD128"))) == ()


def test_more_shared_memory_than_memory_has_a_warning() -> None:
    says = "shm: 1 GiB is more than memory (256 MiB), which counts what is in it"
    assert any(says in line for line in warnings(load(TEXT % "shm: 1GiB")))
    assert not any(".shm" in line for line in warnings(load(TEXT % "memory: 32MiB")))


def test_one_at_a_time_is_one_replica_on_docker() -> None:
    assert read("one: true").one
    assert refused("one: true, replicas: 2") == (
        "replicas: 2 in live, and `one: true` is for what bears a single copy; remove one of the two"
    )
    found = problems((TEXT % "one: true").replace("live: }", "live: {engine: kubernetes}}"))
    (said,) = [one.message for one in found if one.path.endswith(".one")]
    assert said.startswith(
        "is not possible for live, on a cluster: releases take turns only on Docker so far"
    )


def test_what_one_at_a_time_means_is_said_before() -> None:
    text = TEXT % "one: true, timeout: 40s, drain: 5s, keep_warm: 10m"
    said = warnings(load(text))
    assert any("live.one: each deploy and revert stops what serves first" in line for line in said)
    assert any("40s at most (`timeout`). Up to 5s of that" in line for line in said)
    assert any("live.keep_warm: has no effect; with `one` no release is kept warm" in line for line in said)
    lines = plan(load(TEXT % "port: 8080"), load(TEXT % "port: 8080, one: true"))["a"]["live"]
    assert "one: false → true" in lines
    assert "one: from now on what serves is stopped first; requests wait up to 1m (`timeout`)" in lines


def test_a_cluster_has_volumes_with_what_its_claims_ask_for() -> None:
    keys = "volumes: {data: /data, cache: /cache}, kubernetes: {volumes: {data: {size: 5GiB, class: fast}}}"
    asked = load(CLUSTER % keys).pipelines["a"].render("live").service.kubernetes
    assert (asked.claim("data").size, asked.claim("data").storage_class) == (5 << 30, "fast")
    assert (asked.claim("cache").size, asked.claim("cache").access) == (1 << 30, "ReadWriteOnce")
    assert problems(ON % ("volumes: {data: /data}", "")) == ()  # on Docker and on the cluster alike
