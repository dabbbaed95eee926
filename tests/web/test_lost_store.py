"""What the web side says while the store has no records of an installation that is not new."""

from __future__ import annotations

from base64 import b64encode

import pytest

from pipeline.store.origin import Beside
from tests.web.test_api import call
from tests.web.test_pages import log_in
from tests.web.test_receivers import github, send

FOUND = Beside(("hello/live (green) is on docker",), ())


@pytest.fixture(autouse=True)
def lost(service):
    service.beside = FOUND


def test_fault_51_a_webhook_is_refused_and_the_sender_tries_again(client, service):
    answer = send(client, github())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "has lost its records" in answer.json["error"]
    assert "hello" not in answer.text  # the sender learns no names
    assert service.pushes == []


@pytest.mark.parametrize("path", ["info/refs?service=git-receive-pack", "git-receive-pack"])
def test_fault_51_a_git_push_is_refused_before_a_ref_moves(client, path):
    login = b64encode(b"ann:developer-token").decode()
    method = "GET" if "?" in path else "POST"
    answer = client.open(f"/git/hello.git/{path}", method=method, headers={"Authorization": f"Basic {login}"})
    assert answer.status_code == 503
    assert "hello/live (green) is on docker" in answer.text
    assert "`pushlive adopt`" in answer.text


def test_a_fetch_is_answered_as_ever(client):
    login = b64encode(b"ann:viewer-token").decode()
    path = "/git/hello.git/info/refs?service=git-upload-pack"
    answer = client.get(path, headers={"Authorization": f"Basic {login}"}, buffered=True)
    assert answer.status_code == 200
    answer.close()


def test_an_unknown_token_is_told_that_tokens_are_lost(client):
    answer = call(client, "GET", "/api/status", role="lost")
    assert answer.status_code == 401
    assert "every token" in answer.json["error"]
    assert "hello" not in answer.text


def test_health_says_it_without_names(client):
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json["ok"] is False
    assert "pushlive adopt" in answer.json["unknown_store"]
    assert "hello" not in answer.text
    # A cluster that waits for this process to start must not end it: people decide through it.
    assert client.get("/healthz?started").status_code == 200


def test_the_page_says_it(client, service):
    log_in(client)
    answer = client.get("/")
    assert answer.status_code == 200
    assert "Nothing is deployed at the moment." in answer.text
