from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from pipeline.config.settings import Secret, Settings
from tests.support.fake_service import FakeService
from webhooks.app import create_app


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        data=tmp_path,
        github_secret=Secret("new secret"),
        github_secret_old=Secret("old secret"),
        gitea_secret=Secret("gitea secret"),
        hosts=("deploy.example.com",),
        body_limit=200_000,
    )


@pytest.fixture
def make_app(service: FakeService, settings: Settings, tmp_path: Path) -> Callable[..., Flask]:
    def make(clock: Callable[[], float] = time.monotonic, **changes: object) -> Flask:
        def ensure(name: str) -> Path:
            path = tmp_path / "repositories" / f"{name}.git"
            if not path.exists():
                subprocess.run(["git", "init", "-q", "--bare", "-b", "main", path], check=True)
            return path

        return create_app(service, settings.model_copy(update=changes), ensure, clock)

    return make


@pytest.fixture
def client(make_app: Callable[..., Flask]) -> FlaskClient:
    return make_app().test_client()
