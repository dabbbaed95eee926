"""`metrics`: a Prometheus that counts for a cluster."""

from __future__ import annotations

import pytest

from pipeline.config.judging.metrics import ERRORS, LATENCY, REQUESTS, WORDS
from pipeline.config.lint import warnings
from pipeline.config.loading import load, problems

TEXT = "pipelines: {hello: {registry: r.example/hello, environments: {live: {engine: %s, %s}}}}"
URL = "https://prometheus.example.com"
STANDS = {word: word.upper() for word in WORDS}


def metrics(written: str):
    return load(TEXT % ("kubernetes", written)).pipelines["hello"].environment("live").metrics


def test_by_default_ingress_nginx_is_asked_for_the_environments_ingress() -> None:
    requests, errors = metrics(f"metrics: {{prometheus: '{URL}'}}").queries(STANDS)
    name = "nginx_ingress_controller_requests"
    assert requests == (
        f'{name}{{exported_namespace="NAMESPACE",ingress="SERVICE"}} or '
        f'{name}{{namespace="NAMESPACE",ingress="SERVICE"}}'
    )
    assert errors.count('status=~"5.."') == 2


def test_by_default_ingress_nginx_is_asked_how_long_answers_took() -> None:
    found = metrics(f"metrics: {{prometheus: '{URL}'}}")
    query = found.latency_query(STANDS)
    head = "sum without (status, method, path, canary) ("
    assert query.startswith(head)
    first, second = query.removeprefix(head).removesuffix(")").split(" or ")
    assert first == (
        'nginx_ingress_controller_request_duration_seconds_bucket{exported_namespace="NAMESPACE",ingress="SERVICE",'
        'status!~"1..|5.."}'
    )
    assert second == first.replace("exported_", "")
    assert "$service" in LATENCY
    assert found.times


def test_with_queries_of_ones_own_times_are_asked_for_by_one_of_ones_own() -> None:
    own = f"metrics: {{prometheus: '{URL}', requests: a, errors: b"
    assert not metrics(own + "}").times
    assert metrics(own + "}").latency_query(STANDS) == ""
    assert metrics(own + ", latency: 't{x=\"$pods\"}'}").latency_query(STANDS) == 't{x="PODS"}'
    only = metrics(f"metrics: {{prometheus: '{URL}', latency: t}}")
    assert (only.latency_query(STANDS), only.queries(STANDS)[0].count("ingress")) == ("t", 4)
    assert str(only).endswith(", with its own queries")


def test_queries_of_ones_own_may_name_what_they_are_for() -> None:
    own = 'http_requests_total{namespace="$namespace",pod=~"$pods"}'
    text = f"metrics: {{prometheus: '{URL}', requests: '{own}', errors: 'e{{code=~\"5..$\",x=\"$slot\"}}'}}"
    assert metrics(text).queries(STANDS) == (
        'http_requests_total{namespace="NAMESPACE",pod=~"PODS"}',
        'e{code=~"5..$",x="SLOT"}',
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("metrics: https://prometheus.example.com", "is not a mapping"),
        ("metrics: {}", "prometheus"),
        ("metrics: {prometheus: prometheus}", "is not the URL of a Prometheus"),
        ("metrics: {prometheus: 'https://ann:pw@prometheus.example.com'}", "without user, password"),
        ("metrics: {prometheus: 'https://p.example/?a=b'}", "is not the URL of a Prometheus"),
        (f"metrics: {{prometheus: '{URL}', requests: up}}", "has `requests` but no `errors`"),
        (f"metrics: {{prometheus: '{URL}', errors: up}}", "has `errors` but no `requests`"),
        (
            f"metrics: {{prometheus: '{URL}', errors: up, requests: '$pod'}}",
            "$pod stands for nothing; allowed",
        ),
        ("metrics: {prometheus: 'http://p:9090', token: PROM}", "would be sent unencrypted"),
    ],
)
def test_what_cannot_work_is_refused_in_its_place(written: str, said: str) -> None:
    found = problems(TEXT % ("kubernetes", written))
    assert any(said in one.message for one in found), found
    assert all(one.path.startswith("pipelines.hello.environments.live.metrics") for one in found)


@pytest.mark.parametrize(
    ("engine", "written", "said"),
    [
        ("docker", f"metrics: {{prometheus: '{URL}'}}", "live.metrics: has no effect on Docker"),
        ("kubernetes", "judge: act", "live.judge: act has no effect: a cluster counts no requests"),
    ],
)
def test_check_warns_of_what_has_no_effect(engine: str, written: str, said: str) -> None:
    assert any(said in one for one in warnings(load(TEXT % (engine, written))))


def test_check_is_silent_about_a_judge_that_has_figures() -> None:
    found = warnings(load(TEXT % ("kubernetes", f"judge: act, metrics: {{prometheus: '{URL}'}}")))
    assert not [one for one in found if ".judge" in one or ".metrics" in one]


def test_the_key_is_no_part_of_what_a_release_is() -> None:
    plain, other = (
        load(TEXT % ("kubernetes", text)).pipelines["hello"].render("live")
        for text in ("", f"metrics: {{prometheus: '{URL}'}}")
    )
    assert plain.fingerprint() == other.fingerprint()


def test_the_default_queries_use_words_that_are_known() -> None:
    assert "$namespace" in REQUESTS
    assert "$service" in ERRORS
