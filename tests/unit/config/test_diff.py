"""What a changed pipelines.yaml would change, in lines for people."""

import pytest

from pipeline.config.diff import differences, plan
from pipeline.config.loading import load
from pipeline.config.models import Rendered, Service
from tests.unit.config.texts import edited

OLD = """
pipelines:
  hello:
    service: {memory: 128MiB, cpu: 250m, env: {GREETING: hello, API_TOKEN: old}}
    smoke: [{get: /healthz}, {run: [./smoke.sh]}]
    environments: {dev: {}, qa: {}, live: {host: a.example, keep_warm: 30m}}
"""
ALL = ("dev", "qa", "live")


def changed(old: str, new: str, text: str = OLD) -> dict[str, dict[str, tuple[str, ...]]]:
    """The plan for the file in which ``old`` was replaced."""
    return plan(load(text), load(edited(text, old, new)))


def test_the_same_file_changes_nothing() -> None:
    assert plan(load(OLD), load(OLD)) == {}


def test_defaults_spelled_out_change_nothing() -> None:
    spelled = OLD.replace("dev: {}", "dev: {port: 8080, replicas: 1, drain: 30s, memory: 128MiB}")
    spelled = spelled.replace("{get: /healthz}", "{get: /healthz, status: 200, within: 5000ms}")
    spelled = spelled.replace(
        "  hello:\n", "  hello:\n    source: {repository: hello, branch: main}\n    budget: {deploy: 5m}\n"
    )
    assert plan(load(OLD), load(spelled)) == {}


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("128MiB", "256MiB", "memory: 128 MiB → 256 MiB"),
        ("250m", "1.5", "cpu: 0.25 → 1.5"),
        ("GREETING: hello", "GREETING: hi", "env GREETING: 'hello' → 'hi'"),
        ("GREETING: hello, ", "", "env GREETING: − 'hello'"),
        ("GREETING: hello", "GREETING: hello, MORE: x", "env MORE: + 'x'"),
        ("API_TOKEN: old", "API_TOKEN: new", "env API_TOKEN: ••• → •••"),
        ("API_TOKEN: old", "API_TOKEN: old, DB_PASSWORD: x", "env DB_PASSWORD: + •••"),
        ("{get: /healthz}, ", "", "smoke: − GET /healthz"),
        ("{get: /healthz}", "{get: /healthz}, {tcp: 9090}", "smoke: + TCP 9090"),
        ("{get: /healthz}", "{get: /healthz, within: 1s}", "smoke: GET /healthz: within: 5s → 1s"),
        ("{get: /healthz}", "{get: /healthz, json: {a: 1}}", "smoke: GET /healthz: json: none → a: '1'"),
        (
            "{get: /healthz}, {run: [./smoke.sh]}",
            "{run: [./smoke.sh]}, {get: /healthz}",
            "smoke: the order of the checks",
        ),
        ("cpu:", "command: [./a b, c], cpu:", "command: none → './a b' c"),
        ("cpu:", "drain: 90s, cpu:", "drain: 30s → 90s"),
        ("cpu:", "security: strict, cpu:", "security: standard → strict"),
        (
            "cpu:",
            "processes: {worker: {command: [./w, a b], replicas: 2, stop: 60s}}, cpu:",
            "processes worker: + ./w 'a b' (replicas 2, stop 1m)",
        ),
    ],
)
def test_a_change_of_the_service_is_listed_in_every_environment(old: str, new: str, line: str) -> None:
    assert changed(old, new) == {"hello": dict.fromkeys(ALL, (line,))}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("30m", "1h", ("keep_warm: 30m → 1h",)),
        ("keep_warm: 30m", "keep_warm: 30m, engine: docker", ()),
        ("a.example", "b.example", ("hosts: + b.example", "hosts: − a.example")),
        ("keep_warm: 30m", "keep_warm: 30m, promote: manual", ("promote: auto → manual",)),
        ("keep_warm: 30m", "keep_warm: 30m, bake: 2m", ()),
        ("keep_warm: 30m", "keep_warm: 30m, bake: 0", ("bake: 2m → 0s, from the next run on",)),
        (
            "keep_warm: 30m",
            "keep_warm: 30m, bake: {on_failure: hold}",
            ("bake: 2m → 2m, then hold, from the next run on",),
        ),
        ("keep_warm: 30m", "keep_warm: 30m, judge: act", ("judge: observe → act, from the next run on",)),
        ("keep_warm: 30m", "keep_warm: 30m, liveness: restart", ("liveness: none → restart after 1m",)),
        ("keep_warm: 30m", "keep_warm: 30m, smoke: []", ("smoke: − GET /healthz", "smoke: − run ./smoke.sh")),
    ],
)
def test_a_change_of_one_environment_is_listed_only_there(old: str, new: str, lines: tuple[str, ...]) -> None:
    assert changed(old, new) == ({"hello": {"live": lines}} if lines else {})


def test_changes_of_engine_and_registry_are_listed() -> None:
    there = edited(OLD, "    smoke", "    registry: r.example/x\n    smoke")
    assert plan(load(OLD), load(there)) == {
        "hello": {"registry": ("none → r.example/x, from the next build on",)}
    }
    login = there.replace("r.example/x", "{repository: r.example/x, username: me, password: PW}")
    assert plan(load(there), load(login))["hello"]["registry"] == (
        "username: none → me, from the next build on",
        "password: none → PW, from the next build on",
    )
    moved = there.replace("keep_warm", "engine: {namespace: shop, ingress: nginx}, keep_warm")
    line = "engine: docker → kubernetes:/shop with ingress nginx"
    assert plan(load(there), load(moved)) == {"hello": {"live": (line,)}}


def test_added_removed_and_reordered_environments_are_listed() -> None:
    removed = {"hello": {"qa": ("removed: its containers go with `pushlive gc`",)}}
    assert changed("qa: {}, ", "") == removed
    assert changed("qa: {}", "qa: {}, stage: {}")["hello"]["stage"] == ("environment stage: added after qa",)
    assert changed("dev: {}", "first: {}, dev: {}")["hello"]["first"] == (
        "environment first: added as the first one",
    )
    assert changed("dev: {}, qa: {}", "qa: {}, dev: {}") == {
        "hello": {"environments": ("order: dev ▶ qa ▶ live → qa ▶ dev ▶ live",)}
    }


def test_added_and_removed_pipelines_are_listed() -> None:
    both = OLD + "  new: {source: {branch: next}, environments: {a: {}, b: {}}}\n"
    assert plan(load(OLD), load(both)) == {
        "new": dict.fromkeys("ab", ("added: deployed with the first push to next of new",))
    }
    assert plan(load(both), load(OLD)) == {
        "new": dict.fromkeys("ab", ("removed: its containers go with `pushlive gc`",))
    }


def test_changes_of_the_whole_pipeline_are_listed_once() -> None:
    source = "    source: {branch: release}\n    build: {target: prod, args: {V: '1'}}\n    service"
    result = changed("    service", source)["hello"]
    assert result == {
        "source": ("main of hello → release of hello, from the next push on",),
        "build": ("target: none → prod, from the next build on", "argument V: + '1'"),
    }
    assert changed("\npipelines", "\nbudget: {deploy: 2m}\npipelines") == {
        "hello": {"budget": ("deploy: 5m → 2m",)}
    }


def test_an_environment_called_source_does_not_hide_the_source() -> None:
    text = "pipelines: {h: {source: {branch: a}, environments: {source: {port: 1}}}}"
    new = text.replace("branch: a", "branch: b").replace("port: 1", "port: 2")
    assert plan(load(text), load(new)) == {
        "h": {"source": ("a of h → b of h, from the next push on", "port: 1 → 2")}
    }


def test_values_are_shown_inert_short_and_without_passwords() -> None:
    before, after = (
        Rendered(service=Service()),
        Rendered(service=Service(env={"A": "\x1b[31m\nx" + "y" * 500, "URL": "postgres://me:hunter2@db/x"})),
    )
    lines = differences(before, after)
    assert lines[0].startswith("env A: + '\\x1b[31m\\nxyy")
    assert len(lines[0]) < 230
    assert lines[1] == "env URL: + 'postgres://me:•••@db/x'"
    assert differences(before, before) == ()
