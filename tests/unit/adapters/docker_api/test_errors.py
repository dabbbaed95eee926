"""The SDK's exceptions as ours, with the Engine's status and text as fields."""

from __future__ import annotations

import pytest
import requests
from docker.errors import APIError, DockerException

from pipeline.adapters.docker_api.errors import DockerRefused, translate
from pipeline.errors import EngineFailed, TryAgain


def refused(status: int, said: str) -> DockerRefused:
    """The error for an answer of the Engine."""
    response = requests.Response()
    response.status_code = status
    with pytest.raises(DockerRefused) as raised, translate("Starting x"):
        raise APIError("500 Server Error", response=response, explanation=said)
    return raised.value


def test_an_answer_of_the_engine_keeps_its_status_and_text() -> None:
    error = refused(404, "No such\n container: x")
    assert (error.status, error.said) == (404, "No such container: x")
    assert str(error) == "Starting x: Docker answered 404: No such container: x."


@pytest.mark.parametrize(
    ("said", "port", "connected"),
    [
        ("Bind for 0.0.0.0:80 failed: port is already allocated", True, False),
        ("listen tcp4 0.0.0.0:80: bind: address already in use", True, False),
        ("endpoint with name i-proxy already exists in network i-hello-live", False, True),
        ("No such image: x", False, False),
    ],
)
def test_what_the_engine_says_is_read_in_one_place(said: str, port: bool, connected: bool) -> None:
    error = refused(500, said)
    assert (error.port_in_use, error.already_connected) == (port, connected)


@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.ConnectionError("refused"),
        ConnectionResetError("reset"),
        DockerException("Error while fetching server API version: ('Connection aborted.', …)"),
    ],
)
def test_a_broken_connection_is_worth_a_retry(error: Exception) -> None:
    with (
        pytest.raises(TryAgain, match=r"Listing containers: Docker does not answer"),
        translate("Listing containers"),
    ):
        raise error


def test_a_docker_that_accepts_a_request_and_does_not_answer_it_may_have_locked_up() -> None:
    with (
        pytest.raises(TryAgain, match=r"Listing containers: .* did not answer in time") as raised,
        translate("Listing containers"),
    ):
        raise requests.exceptions.ReadTimeout("_UnixPool(host='localhost'): Read timed out.")
    assert "systemctl restart docker" in raised.value.advice
    assert "_UnixPool" not in raised.value.message


def test_any_other_error_of_the_sdk_is_an_engine_failure() -> None:
    with (
        pytest.raises(EngineFailed, match="Listing containers: odd") as raised,
        translate("Listing containers"),
    ):
        raise DockerException("odd")
    assert not isinstance(raised.value, DockerRefused)
