"""What is allowed and yet unwise."""

import pytest

from pipeline.config.lint import beyond_engine, beyond_machine, found, judged, warnings
from pipeline.config.loading import load, problems
from tests.unit.config.texts import edited

WISE = """
pipelines:
  hello:
    service: {health: /healthz, replicas: 2}
    smoke: [{get: /healthz}]
    environments: {dev: {}, live: {}}
"""


def warned(old: str, new: str) -> tuple[str, ...]:
    """The warnings for the file in which ``old`` was replaced."""
    return warnings(load(edited(WISE, old, new)))


def with_another(text: str, name: str, more: str = "") -> str:
    """The file with its pipeline a second time, under that name and with more lines."""
    return text + edited(text.partition("pipelines:\n")[2], "hello:", f"{name}:{more}")


def test_a_step_that_ends_before_a_fault_shows_is_short() -> None:
    for shift, count in (("[5%]", 0), ("{steps: [5%], for: 1m}", 0), ("{steps: [5%], for: 25s}", 1)):
        found = warned("live: {}", f"live: {{shift: {shift}}}")
        assert len(found) == count, found
    assert found[0].startswith("pipelines.hello.environments.live.shift.for: 25s is short for a step: ")
    assert found[0].endswith("write 1m or more")


def test_a_complete_configuration_has_no_warnings() -> None:
    assert warnings(load(WISE)) == ()
    assert warnings(load("")) == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("smoke: [{get: /healthz}]", "", "pipelines.hello.smoke: there are no smoke checks"),
        ("live: {}", "live: {smoke: []}", "environments.live.smoke: is empty"),
        (
            "live: {}",
            'live: {env: {URL: "x://${bd.PASSWORD|url}@db"}}',
            "live.env.URL: ${bd.PASSWORD|url} stays as it is written, because its name is not under `uses`, which has "
            "nothing",
        ),
        ("health: /healthz, ", "", "environments.live.health: `/` often answers before"),
        (
            "live: {}",
            "live: {keep_warm: 0}",
            "environments.live.keep_warm: 0 in live; a revert has to start the old release first",
        ),
        ("live: {}", "live: {drain: 1h}", "environments.live.drain: 1h is longer than keep_warm (10m)"),
        (
            "service:",
            "build: {args: {BUILDKIT_SYNTAX: other/frontend}}\n    service:",
            "pipelines.hello.build.args.BUILDKIT_SYNTAX: is a setting of the builder",
        ),
        (
            "live: {}",
            "live: {timeout: 31s}",
            "live.timeout: 31s is longer than drain (30s); a switch cuts off",
        ),
        (
            "environments: {dev: {}, live: {}}",
            "registry: r.example/x\n    environments: {dev: {}, live: {engine: kubernetes, timeout: 90s}}",
            "environments.live.timeout: 90s has no effect on Kubernetes, where the Ingress controller decides; for "
            'ingress-nginx annotate the Ingress: `nginx.ingress.kubernetes.io/proxy-read-timeout: "90"`',
        ),
        ("live: {}", "live: {stop: 31s}", "environments.live.stop: 31s is long"),
        ("live: {}", "live: {env: {PORT: 3000}}", "environments.live.env.PORT: is 3000, but port is 8080"),
        (
            "live: {}",
            "live: {memory: 1GiB}",
            "environments.dev: differs from live: memory 256 MiB instead of 1 GiB",
        ),
        ("live: {}", "live: {cpu: 2}", "environments.dev: differs from live: cpu 1 instead of 2"),
        ("dev: {}", "dev: {command: [a]}", "environments.dev: differs from live: another command"),
        ("dev: {}", "dev: {security: strict}", "dev: differs from live: security strict instead of standard"),
        (
            "environments: {dev: {}, live: {}}",
            "registry: r.example/x\n    environments: {dev: {}, live: {engine: kubernetes}}",
            "environments.dev: differs from live: on docker instead of kubernetes",
        ),
        ("dev: {}", "dev: {replicas: 1}", "live.replicas: 2 here and 1 in every environment before"),
        ("dev: {}", "dev: {promote: manual}", "environments.dev.promote: every push waits for a person"),
        ("dev: {}, ", "", "pipelines.hello.environments: live is the only one"),
        (
            "live: {}",
            "live: {smoke: [{tcp: 8080}]}",
            "environments.live.smoke[0]: only opens port 8080",
        ),
        (
            "live: {}",
            "live: {smoke: [{get: /, retry: 2m}]}",
            "environments.live.smoke[0]: is repeated for 2m",
        ),
        ("\npipelines", "\nbudget: {whole: 1m}\npipelines", "budget: deploy (5m) is longer than whole (1m)"),
        (
            "    smoke",
            "    budget: {deploy: 11m}\n    smoke",
            "pipelines.hello.budget: deploy (11m) is longer than",
        ),
        (
            "    smoke",
            "    build: {timeout: 1h}\n    smoke",
            "pipelines.hello.build.timeout: 1h is longer than the whole",
        ),
        (
            "    smoke",
            "    source: {url: 'http://h/a'}\n    smoke",
            "hello.source.url: http:// is not encrypted",
        ),
    ],
)
def test_a_questionable_value_has_a_warning_with_its_path(old: str, new: str, says: str) -> None:
    found = warned(old, new)
    assert any(says in line for line in found), found


def test_two_pipelines_with_the_same_image_repository_have_a_warning() -> None:
    one = edited(WISE, "    smoke", "    registry: r.example/x\n    smoke")
    assert warnings(load(one)) == ()
    assert [line.partition(";")[0] for line in warnings(load(with_another(one, "other")))] == [
        "pipelines.other.registry: the same repository as hello"
    ]


def test_one_replica_has_a_warning_in_live_only() -> None:
    found = warned(", replicas: 2", "")
    assert [line.split(":")[0] for line in found] == ["pipelines.hello.environments.live.replicas"]


def test_little_memory_has_a_warning_in_each_environment() -> None:
    found = warned("replicas: 2", "replicas: 2, memory: 8MiB")
    assert [line.split(":")[0].rpartition(".")[2] for line in found] == ["memory", "memory"]


def test_two_pipelines_with_the_same_branch_have_a_warning() -> None:
    twice = with_another(WISE, "again", "\n    source: {repository: hello}")
    assert warnings(load(twice)) == (
        "pipelines.again.source: the same repository and branch as hello; one push starts both",
    )


ONE = edited(WISE, ", replicas: 2", "")
PATH = "pipelines.hello.environments.live.replicas"


@pytest.mark.parametrize("path", [PATH, PATH.removeprefix("pipelines.hello.")])
def test_a_warning_that_the_file_accepts_is_left_out_and_kept_with_its_reason(path: str) -> None:
    (line,) = warnings(load(ONE))
    assert line.startswith(f"{PATH}: ")
    config = load(f"{ONE}    accept: {{{path}: it keeps its state in one file}}\n")
    left, accepted = judged(config, found(config))
    assert left == ()
    assert str(accepted[0]) == f"{line} (accepted: it keeps its state in one file)"


def test_what_is_accepted_without_need_is_a_warning() -> None:
    (line,) = warnings(load(f"{WISE}    accept: {{{PATH}: it was so once}}\n"))
    assert line.startswith(f"{PATH}: there is no such warning, but it is under `accept`")
    elsewhere = "build.dockerfile"  # known only beside the repository
    assert warnings(load(f"{WISE}    accept: {{{elsewhere}: a cache}}\n")) == ()


@pytest.mark.parametrize("entry", [f"{{{PATH}: ''}}", "{a b: it is so}", "[]"])
def test_accept_wants_a_path_and_a_reason(entry: str) -> None:
    assert problems(f"{WISE}    accept: {entry}\n") != ()


HUNGRY = WISE.replace("replicas: 2", "replicas: 2, cpu: 3, memory: 2GiB").replace(
    "dev: {}", "dev: {cpu: 2, memory: 1GiB}"
)
AWAY = HUNGRY.replace("  hello:", "  hello:\n    registry: r.io/a")


def beyond(text: str, key: str, cores: float, memory: int) -> list[str]:
    return [str(one) for one in beyond_engine(load(text), key, cores, memory)]


def test_what_the_machine_cannot_run_is_named_with_its_key() -> None:
    assert beyond(HUNGRY, "docker", 2, 3 << 30) == [
        "pipelines.hello.environments.live.cpu: 3 cores; this machine's Docker Engine has 2, and starts no container "
        "that may use more",
        "pipelines.hello.environments.live.memory: 2 × 2 GiB do not fit into the 3 GiB of this machine",
    ]
    assert beyond(HUNGRY, "docker", 3, 4 << 30) == []
    beside = HUNGRY.replace("replicas: 2", "replicas: 2, processes: {worker: {command: [./work]}}")
    assert "3 × 2 GiB do not fit into the 4 GiB" in beyond(beside, "docker", 3, 4 << 30)[0]
    many = load(HUNGRY.replace("replicas: 2", "replicas: 2, pids: 20000"))
    assert [str(one) for one in beyond_machine(many, 1, 10_000)] == [
        *(
            f"pipelines.hello.environments.{name}.pids: 20000 processes; this machine's kernel has at most 10000 "
            "(`sysctl kernel.pid_max`), for all that runs"
            for name in many.pipelines["hello"].environments
        ),
        "pipelines: 2 environments, and PUSHLIVE_PORTS and PUSHLIVE_SUBNETS have room for 1",
    ]
    assert list(beyond_machine(many, 2, 20_000)) == []


def test_what_another_docker_engine_cannot_run_is_named_with_its_key() -> None:
    away = AWAY.replace("live: {}", "live: {engine: {docker: 'ssh://h'}}")
    assert beyond(away, "docker", 2, 3 << 30) == []
    assert beyond(away, "docker:ssh://h", 2, 3 << 30) == [
        "pipelines.hello.environments.live.cpu: 3 cores; the Docker Engine at ssh://h has 2, and starts no container "
        "that may use more",
        "pipelines.hello.environments.live.memory: 2 × 2 GiB do not fit into the 3 GiB of the Docker Engine at ssh://h",
    ]


def test_a_pod_needs_one_node_that_has_what_it_requests() -> None:
    cluster = AWAY.replace("live: {}", "live: {engine: kubernetes}")
    assert beyond(cluster, "kubernetes", 0.2, 1 << 30) == [
        "pipelines.hello.environments.live.cpu: a replica requests 0.3 cores; the largest node of kubernetes has 0.2 "
        "for pods",
        "pipelines.hello.environments.live.memory: a replica requests 2 GiB of memory; the largest node of kubernetes "
        "has 1 GiB for pods",
    ]
    assert beyond(cluster, "kubernetes", 2, 3 << 30) == [], "the replicas need not be on one node"
    asks = cluster.replace("engine: kubernetes", "engine: kubernetes, requests: {cpu: 2, memory: 64MiB}")
    assert beyond(asks, "kubernetes", 1, 1 << 30) == [
        "pipelines.hello.environments.live.requests: a replica requests 2 cores; the largest node of kubernetes has 1 "
        "for pods"
    ]
