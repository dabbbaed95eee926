"""``GET /metrics``: valid for Prometheus, for the right tokens, and bounded."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from pipeline.config.settings import Secret
from pipeline.domain.cost.cap import Sum
from pipeline.domain.engine_types import Answered
from pipeline.domain.judging.latency.times import bucket_of
from pipeline.domain.measuring.measurements import (
    BUCKETS,
    BackupMeasurements,
    Histogram,
    Measurements,
    PipelineMeasurements,
    ProcessMeasurements,
)
from tests.support.fake_service import FakeService
from webhooks.context import MAX_SCRAPES

SCRAPE = "a token for scraping alone"


def measured() -> Measurements:
    histogram = Histogram([0, 2, 1] + [0] * (len(BUCKETS) - 2), 0.75)
    hello = PipelineMeasurements(
        runs={("push", "live"): 3, ("push", "failed"): 1},
        deploy=histogram,
        stages={("dev", "ok"): histogram},
        steps={("dev", "switch", "ok"): histogram},
        due=2,
        open={"queued": 1, "waiting": 1},
        waiting={"freeze": 1},
        held={"dev": False, "live": True},
        frozen={"dev": False, "live": True},
        shares={"live": 25.0, "dev": 0.0},
        shift_steps={"live": 2, "dev": 0},
        shifts={("live", "done"): 3},
        bakes={("live", "baked"): 4, ("live", "taken back"): 1},
        worse={("live", "observed"): 2},
        requests={"live": 900},
        errors={"live": 9},
        verdicts={"dev": "", "live": "no worse"},
        times={"live": {bucket_of(0.012): 5, bucket_of(0.1): 2}},
        latency_verdicts={"live": "worse"},
        of_releases={("live", 3): Answered(800, 8), ("live", 4): Answered(100, 1)},
        times_of_releases={("live", 4): {bucket_of(0.1): 2}},
        down={"dev": False, "live": True},
        asleep={"dev": True, "live": False},
        restarts={"live": 0},
        out_of_memory={"live": 0},
        serving={"live": 1},
        replicas={"live": 2},
        watched={"live": True},
        revived={"live": 0},
        processes={("live", "mail"): ProcessMeasurements(True, 1, 3, 0)},
    )
    leases = {"run": 1, "env": 1, "keeper": 1, "notify": 0}
    return Measurements(
        {"hello": hello, "shop": PipelineMeasurements()}, {"shop"}, {}, leases, 7, 0.02, 1000.5, 4, 1, 1,
        sums=(Sum("", 12.5, 24.0), Sum("hello", 4.0, 8.0, 9.0)), currency="EUR",
        backups={("hello", "live", "data"): BackupMeasurements(900.0, False),
                 ("db", "live", "db"): BackupMeasurements(None, True)},
        shortages={("docker", "disk"): 2000.0},
    )  # fmt: skip


@pytest.fixture
def scraped(make_app: Callable[..., Flask], service: FakeService) -> FlaskClient:
    service.measured = measured()
    service.traces.update({"github: signature": 2, 'odd "name"': 1})
    return make_app(metrics_token=Secret(SCRAPE)).test_client()


def ask(client: FlaskClient, token: str = SCRAPE, method: str = "GET") -> TestResponse:
    return client.open(
        "/metrics", method=method, headers={"Authorization": f"Bearer {token}"} if token else {}
    )


def samples(text: str) -> dict[str, float]:
    """By name and labels, as ``pushlive_runs_total{kind=push,outcome=live,pipeline=hello}``."""
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        f"{s.name}{{{','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))}}}": s.value for s in found
    }


def test_promtool_accepts_the_metrics(scraped):
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=ask(scraped).data, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_promtool_accepts_the_metrics_of_an_empty_store(scraped, service):
    service.measured = Measurements()
    service.traces.clear()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=ask(scraped).data, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_values_are_what_was_measured(scraped):
    answer = ask(scraped)
    assert answer.content_type.startswith("text/plain; version=")
    found = samples(answer.text)
    step = "pipeline=hello,result=ok,stage=dev,step=switch"
    expected = {
        "pushlive_runs_total{kind=push,outcome=live,pipeline=hello}": 3,
        "pushlive_runs_total{kind=push,outcome=failed,pipeline=hello}": 1,
        "pushlive_refusals_total{reason=signature,source=github}": 2,
        "pushlive_runs_due{pipeline=hello}": 2,
        "pushlive_runs_open{pipeline=hello,state=running}": 0,
        "pushlive_runs_open{pipeline=hello,state=waiting}": 1,
        "pushlive_leases{kind=environment}": 1,
        "pushlive_keeper_rounds_total{}": 7,
        "pushlive_keeper_last_round_duration_seconds{}": 0.02,
        "pushlive_keeper_last_round_timestamp_seconds{}": 1000.5,
        "pushlive_notifications_undelivered{}": 4,
        "pushlive_notifications_given_up_total{}": 1,
        "pushlive_runs_waiting{for=freeze,pipeline=hello}": 1,
        "pushlive_runs_waiting{for=people,pipeline=hello}": 0,
        "pushlive_environment_frozen{environment=live,pipeline=hello}": 1,
        "pushlive_environment_frozen{environment=dev,pipeline=hello}": 0,
        "pushlive_environment_held{environment=live,pipeline=hello}": 1,
        "pushlive_environment_held{environment=dev,pipeline=hello}": 0,
        "pushlive_environment_shift_ratio{environment=live,pipeline=hello}": 0.25,
        "pushlive_environment_shift_step{environment=dev,pipeline=hello}": 0,
        "pushlive_shifts_total{environment=live,outcome=done,pipeline=hello}": 3,
        "pushlive_bakes_total{environment=live,outcome=taken back,pipeline=hello}": 1,
        "pushlive_worse_releases_total{environment=live,outcome=observed,pipeline=hello}": 2,
        "pushlive_environment_requests_total{environment=live,pipeline=hello}": 900,
        "pushlive_environment_request_errors_total{environment=live,pipeline=hello}": 9,
        "pushlive_environment_verdict{environment=live,pipeline=hello,verdict=worse}": 0,
        "pushlive_environment_verdict{environment=live,pipeline=hello,verdict=no worse}": 1,
        "pushlive_environment_verdict{environment=dev,pipeline=hello,verdict=worse}": None,
        "pushlive_environment_latency_verdict{environment=live,pipeline=hello,verdict=worse}": 1,
        "pushlive_environment_answer_seconds_bucket{environment=live,le=0.01,pipeline=hello}": 0,
        "pushlive_environment_answer_seconds_bucket{environment=live,le=0.022,pipeline=hello}": 5,
        "pushlive_environment_answer_seconds_bucket{environment=live,le=0.22,pipeline=hello}": 7,
        "pushlive_environment_answer_seconds_count{environment=live,pipeline=hello}": 7,
        "pushlive_release_requests_total{environment=live,pipeline=hello,release=r3}": 800,
        "pushlive_release_request_errors_total{environment=live,pipeline=hello,release=r4}": 1,
        "pushlive_release_answer_seconds_bucket{environment=live,le=0.047,pipeline=hello,release=r4}": 0,
        "pushlive_release_answer_seconds_count{environment=live,pipeline=hello,release=r4}": 2,
        "pushlive_backup_last_success_timestamp_seconds{environment=live,name=data,owner=hello}": 900,
        "pushlive_backup_last_success_timestamp_seconds{environment=live,name=db,owner=db}": None,
        "pushlive_backup_overdue{environment=live,name=data,owner=hello}": 0,
        "pushlive_backup_overdue{environment=live,name=db,owner=db}": 1,
        "pushlive_pipelines_damaged{}": 1,
        "pushlive_month_cost{currency=EUR}": 12.5,
        "pushlive_month_cost_projected{currency=EUR}": 24.0,
        "pushlive_month_cost_cap{currency=EUR}": None,
        "pushlive_pipeline_month_cost_projected{currency=EUR,pipeline=hello}": 8.0,
        "pushlive_pipeline_month_cost_cap{currency=EUR,pipeline=hello}": 9.0,
        "pushlive_step_duration_seconds_bucket{le=0.1," + step + "}": 0,
        "pushlive_step_duration_seconds_bucket{le=0.25," + step + "}": 2,
        "pushlive_step_duration_seconds_bucket{le=+Inf," + step + "}": 3,
        "pushlive_step_duration_seconds_count{" + step + "}": 3,
        "pushlive_step_duration_seconds_sum{" + step + "}": 0.75,
        "pushlive_stage_duration_seconds_count{pipeline=hello,result=ok,stage=dev}": 3,
        "pushlive_deploy_duration_seconds_count{pipeline=hello}": 3,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert any(name.startswith("pushlive_build_info{") for name in found)


@pytest.mark.parametrize("role", ["viewer", "developer", "maintainer"])
def test_every_role_may_read_metrics(scraped, role):
    assert ask(scraped, f"{role}-token").status_code == 200


def test_metrics_are_refused_without_a_valid_token(scraped, make_app):
    assert ask(scraped, "").status_code == 401
    assert ask(scraped, "wrong").status_code == 401
    assert ask(scraped, SCRAPE + " ").status_code == 200  # HTTP allows spaces around a header's value
    without = make_app().test_client()
    assert ask(without, SCRAPE).status_code == 401
    assert ask(without, "").status_code == 401  # no token is set: that does not mean none is needed


def test_the_scrape_token_opens_nothing_else(scraped):
    headers = {"Authorization": f"Bearer {SCRAPE}"}
    assert scraped.get("/api/status", headers=headers).status_code == 401
    assert scraped.post("/login", data={"token": SCRAPE}).status_code == 401


@pytest.mark.parametrize("token", [SCRAPE, "viewer-token"])
def test_a_store_that_does_not_answer_is_a_503(scraped, service, token):
    service.down = True
    for _ in range(MAX_SCRAPES + 1):  # and each failed scrape frees its turn
        answer = ask(scraped, token)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json["error"] == "the store does not answer"


def test_scrapes_at_once_are_limited(make_app, service, monkeypatch):
    app = make_app(metrics_token=Secret(SCRAPE))
    go_on, started = Event(), []

    def slow() -> Measurements:
        started.append(1)
        go_on.wait(10)
        return Measurements()

    monkeypatch.setattr(service, "measurements", slow)
    with ThreadPoolExecutor(MAX_SCRAPES) as pool:
        waiting = [pool.submit(lambda: ask(app.test_client()).status_code) for _ in range(MAX_SCRAPES)]
        while len(started) < MAX_SCRAPES:
            assert not any(one.done() for one in waiting)
        assert ask(app.test_client()).status_code == 503
        go_on.set()
        assert {one.result() for one in waiting} == {200}
    assert ask(app.test_client()).status_code == 200
