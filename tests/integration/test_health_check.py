"""Checks come as a visitor does, or with the host name, scheme and headers that the configuration says."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from pipeline.config.checks import HealthCheck, HttpCheck
from pipeline.deploy.smoke.checker import Checker
from pipeline.domain.engine_types import SlotSpec
from pipeline.errors import AppFailed
from pipeline.ports.clock import SystemClock
from pipeline.ports.engine import engine_of
from tests.conftest import Bench
from tests.support.waiting import PATIENCE

# It serves one host name under one scheme, and sends everyone else away, as applications in production do.
STRICT = """\
mkdir -p /tmp/www/cgi-bin
cat > /tmp/www/cgi-bin/page <<'SCRIPT'
#!/bin/sh
status="200 OK" location=
[ "$HTTP_X_FORWARDED_PROTO" = "$SCHEME" ] || { status="301 Moved Permanently"; location="https://$HTTP_HOST/"; }
[ "$HTTP_HOST" = "$NAME" ] || status="400 Bad Request"
[ -z "$KEY" ] || [ "$HTTP_X_KEY" = "$KEY" ] || status="401 Unauthorized"
printf 'Status: %s\\r\\n' "$status"
[ -z "$location" ] || printf 'Location: %s\\r\\n' "$location"
printf 'Content-Type: text/plain\\r\\n\\r\\n%s\\n' "$status"
SCRIPT
chmod +x /tmp/www/cgi-bin/page
exec httpd -f -p 8080 -h /tmp/www
"""
PAGE = "/cgi-bin/page"


def strict(
    bench: Bench, health: object, name: str, scheme: str = "http", key: str = "", ready: float = 20
) -> SlotSpec:
    env = {"NAME": name, "SCHEME": scheme, "KEY": key}
    return bench.spec(health=health, env=env, command=("sh", "-c", STRICT), ready=float(ready))


def begin(bench: Bench, spec: SlotSpec) -> None:
    bench.engine.prepare(spec.ref, bench.hosts)
    bench.engine.start(spec, bench.watch())


def stand_time(bench: Bench, spec: SlotSpec) -> None:
    begin(bench, spec)
    bench.engine.ready(spec, bench.events.append, bench.watch(60 * PATIENCE))
    bench.engine.expose(spec)


def test_an_application_that_serves_only_its_own_host_becomes_ready(bench: Bench) -> None:
    bench.hosts = ("shop.example.com", "www.example.com")
    spec = strict(bench, PAGE, "shop.example.com")
    stand_time(bench, spec)
    checks = Checker(
        engine_of(bench.engine, bench.engine._probe), SystemClock(), bench.events.append, bench.watch()
    )
    found = checks.identity(spec, bench.engine.preview(spec))
    assert [one.ok for one in found] == [True], found
    found = checks.run(spec, (HttpCheck(get=PAGE), HttpCheck(get=PAGE, host="other.example.com", status=400)))
    assert [one.ok for one in found] == [True, True], found
    bench.engine.switch(spec)
    assert [one.ok for one in checks.identity(spec, bench.engine.public(spec), 2)] == [True, True]


def test_checks_come_with_the_host_scheme_and_headers_that_the_configuration_says(bench: Bench) -> None:
    own = {"host": "api.example.com", "scheme": "https", "send": {"X-Key": "a b"}}
    spec = strict(bench, HealthCheck(path=PAGE, **own), "api.example.com", "https", "a b")
    stand_time(bench, spec)
    checks = Checker(
        engine_of(bench.engine, bench.engine._probe), SystemClock(), bench.events.append, bench.watch()
    )
    smoke = (
        HttpCheck(get=PAGE, **own),
        HttpCheck(get=PAGE, host="api.example.com", scheme="https", status=401),
    )
    found = checks.identity(spec, bench.engine.preview(spec)) + checks.run(spec, smoke)
    assert [one.ok for one in found] == [True, True, True], found
    bench.engine.switch(spec)
    assert [one.ok for one in checks.identity(spec, bench.engine.public(spec))] == [True]
    assert [one.healthy for one in bench.engine.health(spec)] == [True]


def test_a_refused_host_name_ends_the_wait_early_and_is_named(bench: Bench) -> None:
    spec = strict(bench, PAGE, "localhost", ready=60 * PATIENCE)
    begin(bench, spec)
    began = time.monotonic()
    with pytest.raises(AppFailed) as caught:
        bench.engine.ready(spec, bench.events.append, bench.watch(60 * PATIENCE))
    assert time.monotonic() - began < 40 * PATIENCE
    host = f"{bench.name}-live.localhost"
    assert (
        f" refuses the host name {host}: GET {PAGE} answered 400, and is well for localhost."
        in caught.value.message
    )
    assert f"`health: {{path: {PAGE}, host: localhost}}`" in caught.value.advice


def test_any_other_4xx_is_said_and_waited_for(bench: Bench) -> None:
    spec = replace(strict(bench, "/not-there", "localhost", ready=12), release=1)
    begin(bench, spec)
    with pytest.raises(AppFailed, match="is not ready after 12"):
        bench.engine.ready(spec, bench.events.append, bench.watch(60 * PATIENCE))
    notes = [event.text for event in bench.events if event.kind == "note"]
    assert any("GET /not-there answered 404 for 10 s; `health` in pipelines.yaml" in text for text in notes)


def test_a_redirect_to_another_scheme_is_not_ready(bench: Bench) -> None:
    spec = strict(bench, PAGE, f"{bench.name}-live.localhost", scheme="https", ready=2)
    begin(bench, spec)
    with pytest.raises(AppFailed, match=r"status 301 leads to https://"):
        bench.engine.ready(spec, bench.events.append, bench.watch(60 * PATIENCE))
