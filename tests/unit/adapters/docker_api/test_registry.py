"""Errors of registries, and progress. The rest runs against a real registry."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.adapters.docker_api import registry
from pipeline.adapters.docker_api.registry_errors import Failing, meaning
from pipeline.adapters.docker_api.registry_progress import Progress
from pipeline.adapters.fake import FakeClock
from pipeline.domain.engine_types import Login
from pipeline.domain.events import Event
from pipeline.errors import ConfigError, EngineFailed, PushliveError, TryAgain
from pipeline.lib.bounded import left_behind
from pipeline.lib.secret import Secret
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("unauthorized: authentication required", ConfigError),
        ("denied: requested access to the resource is denied", ConfigError),
        ("no basic auth credentials", ConfigError),
        (
            "Head https://r.example/v2/x/manifests/1: unauthorized: incorrect username or password",
            ConfigError,
        ),
        ("server message: insufficient_scope: authorization failed", ConfigError),
        ("name unknown: The repository with name 'x' does not exist in the registry", EngineFailed),
        ("manifest for r.example/x@sha256:0 not found: manifest unknown: manifest unknown", EngineFailed),
        ('Get "https://r.example/v2/": http: server gave HTTP response to HTTPS client', EngineFailed),
        ('Get "https://r.example/v2/": x509: certificate signed by unknown authority', EngineFailed),
        ('Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused', TryAgain),
        ('Get "https://r.example/v2/": dial tcp: lookup r.example on 1.1.1.1:53: no such host', TryAgain),
        ("net/http: request canceled while waiting for connection (Client.Timeout exceeded)", TryAgain),
        ("unexpected EOF", TryAgain),
        ("received unexpected HTTP status: 503 Service Unavailable", Failing),
        ("unknown: unknown error", Failing),
        ("toomanyrequests: You have reached your pull rate limit.", Failing),
    ],
)
def test_what_the_engine_says_of_a_registry_has_its_kind_of_error(
    said: str, kind: type[PushliveError]
) -> None:
    error = meaning("Pushing to r.example/x", said, None)
    assert type(error) is kind
    assert error.message == f"Pushing to r.example/x: {said.rstrip('.')}."
    assert error.advice


def test_a_refused_login_names_its_secret_and_never_its_value() -> None:
    login = Login("me", Secret("opensesame"), "hello REGISTRY")
    text = str(meaning("Pushing to r.example/x", "denied: no", login))
    assert "the user me" in text
    assert "`pushlive secret set hello REGISTRY`" in text
    assert "opensesame" not in text + repr(login)


def test_progress_is_noted_every_few_seconds() -> None:
    clock, told = FakeClock(), list[Event]()
    progress = Progress("Pushing to r.example/x", clock, told.append)
    for record in (
        {"status": "The push refers to repository [r.example/x]"},
        {"status": "Preparing", "id": "a", "progressDetail": {}},
        {"status": "Layer already exists", "id": "b", "progressDetail": {}},
        {"status": "Pushing", "id": "a", "progressDetail": {"current": 1 << 20, "total": 4 << 20}},
    ):
        progress.see(record)
    assert told == []
    clock.sleep(6)
    progress.see({"status": "Pushing", "id": "a", "progressDetail": {"current": 2 << 20, "total": 4 << 20}})
    progress.see({"status": "Pushing", "id": "a", "progressDetail": {"current": 3 << 20, "total": 4 << 20}})
    clock.sleep(6)
    progress.see({"status": "Pushed", "id": "a", "progressDetail": {}})
    assert [(event.kind, event.text) for event in told] == [
        ("note", "Pushing to r.example/x: 1 of 2 layers, 2 MiB of 4 MiB"),
        ("note", "Pushing to r.example/x: 2 of 2 layers, 4 MiB of 4 MiB"),
    ]


def test_a_layer_that_docker_retries_is_warned_of_once() -> None:
    told = list[Event]()
    progress = Progress("Pushing to r.example/x", FakeClock(), told.append)
    for seconds in (5, 4, 3):
        progress.see({"status": f"Retrying in {seconds} seconds", "id": "a"})
    assert [event.kind for event in told] == ["warning"]


def test_a_program_that_keeps_the_login_and_hangs_is_named_and_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker-credential-slow"
    program.write_text(f"#!/bin/sh\necho run >>{tmp_path}/runs\nread x <{tmp_path}/gate\n")
    program.chmod(0o755)
    os.mkfifo(tmp_path / "gate")
    (tmp_path / "config.json").write_text('{"credHelpers": {"r.example": "slow"}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(registry, "HELPER_WITHIN", 1.0)
    api: Any = SimpleNamespace(sdk=SimpleNamespace(_auth_configs=None, credstore_env=None))
    for _ in range(2):
        call = registry._Call(api, "/images/r.example/x/push", {}, None, "Pushing to r.example/x")
        with pytest.raises(
            TryAgain, match=r"keeps this machine's login for r\.example did not answer"
        ) as caught:
            call._headers()
        assert "credHelpers" in caught.value.advice
    until(lambda: (tmp_path / "runs").exists())
    assert (tmp_path / "runs").read_text() == "run\n"
    (tmp_path / "gate").write_text("go on\n")
    until(lambda: left_behind("login of r.example") == 0)
