import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.client import Client, Where, data_folder, refusal, trace, where
from pipeline.cli.context import NotAllowed, Unreachable
from pipeline.config.settings import load
from pipeline.errors import ConfigError, NotFound, PushliveError, RequestError
from tests.support.cli_stub import TOKEN, Handler, Stub, Told

pytest_plugins = ["tests.support.cli_stub"]
PLACE = Where("http://x", "t", "PUSHLIVE_TOKEN")


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "PUSHLIVE_DATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_first_token_found_in_order_is_used(home: Path) -> None:
    assert where({}) == ("http://127.0.0.1:7070", "", where({}).found)
    assert "PUSHLIVE_TOKEN, " in where({}).found
    _write(home / ".config/pushlive/token", "mine\n")
    assert where({}).token == "mine"
    _write(home / ".local/share/pushlive/token", "local\n")
    assert where({}).token == "local"
    _write(home / "data/token", "other")
    assert where({"PUSHLIVE_DATA": str(home / "data")}).token == "other"
    _write(home / "file", "from a file")
    with pytest.raises(ConfigError, match="does not contain a valid token"):
        where({"PUSHLIVE_TOKEN_FILE": str(home / "file")})
    assert where({"PUSHLIVE_TOKEN": "given"}).token == "given"


def test_a_local_services_token_is_not_sent_elsewhere(home: Path) -> None:
    _write(home / ".local/share/pushlive/token", "local")
    assert where({"PUSHLIVE_URL": "https://deploy.example.com"}).token == ""
    assert where({"PUSHLIVE_URL": "http://localhost:7070"}).token == "local"


@pytest.mark.parametrize("environ", [{}, {"PUSHLIVE_DATA": "~/x"}, {"XDG_DATA_HOME": "/srv/data"}])
def test_the_data_folder_is_that_of_the_settings(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert data_folder(environ) == load(environ).data


def test_the_services_address_is_normalised() -> None:
    assert where({"PUSHLIVE_LISTEN": "0.0.0.0:7171"}).url == "http://127.0.0.1:7171"
    assert where({"PUSHLIVE_URL": "https://a.example/push/"}).url == "https://a.example/push"
    for wrong in ("ftp://x", "127.0.0.1:7070", "http://", "http://x:99999"):
        with pytest.raises(ConfigError, match="PUSHLIVE_URL"):
            where({"PUSHLIVE_URL": wrong})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ConfigError),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NotFound),
        (409, RequestError),
        (421, ConfigError),
        (500, PushliveError),
        (502, Unreachable),
        (503, Unreachable),
    ],
)
def test_the_kind_of_an_error_follows_from_its_status(status: int, kind: type[PushliveError]) -> None:
    error = refusal(status, "", b'{"error": "what", "advice": "next"}', PLACE)
    assert type(error) is kind
    assert error.message
    assert error.advice


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"error"', b"[" * 100_000, b"\xff"])
def test_an_answer_of_another_program_is_recognised(raw: bytes) -> None:
    assert "is not Pushlive" in str(refusal(404, "", raw, PLACE))
    assert "in 7 seconds" in str(refusal(503, "7", raw, PLACE))


@pytest.mark.parametrize(
    ("raw", "service"),
    [
        (
            b'{"error": "not found", "advice": "docs/api.md lists all calls.", "version": "9.1"}',
            "version 9.1",
        ),
        (b'{"error": "method not allowed", "advice": "docs/api.md lists all calls."}', "an earlier version"),
    ],
)
def test_a_call_that_the_service_does_not_know_names_both_versions(raw: bytes, service: str) -> None:
    error = refusal(404, "", raw, PLACE)
    assert isinstance(error, NotFound)
    assert (
        f"the service at {PLACE.url} is {service} and does not know this call of pushlive " in error.message
    )
    assert "Update the older of the two" in error.advice


def test_a_missing_or_wrong_token_says_where_it_was_looked_for() -> None:
    missing = str(refusal(401, "", b"{}", Where("http://x", "", "PUSHLIVE_TOKEN, /data/token")))
    assert "none was found in PUSHLIVE_TOKEN, /data/token." in missing
    assert "pushlive token create" in missing
    assert "rejected the token from PUSHLIVE_TOKEN" in str(refusal(401, "", b"{}", PLACE))
    expired = refusal(401, "", b'{"error": "the token expired"}', PLACE)
    assert "from PUSHLIVE_TOKEN: the token expired." in str(expired)


def test_too_many_failures_say_when_to_try_again() -> None:
    found = refusal(429, "3", b'{"error": "too many wrong tokens"}', PLACE)
    assert isinstance(found, Unreachable)
    assert "Try again in 3 seconds" in str(found)


def test_an_unreachable_service_says_how_to_start_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unreachable, match="pushlive up"):
        Client(Where(f"http://127.0.0.1:{port}", "", "")).call("GET", "/api/status")


def test_a_service_that_does_not_answer_is_an_error_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(Where(f"http://127.0.0.1:{silent.getsockname()[1]}", "", ""), timeout=0.05)
        with pytest.raises(Unreachable, match="no answer in time"):
            client.call("GET", "/api/status")


def test_an_answer_that_is_not_http_is_recognised() -> None:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1 << 16)
                peer.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        thread = threading.Thread(target=speak)
        thread.start()
        with pytest.raises(Unreachable, match=r"cannot reach the service .*\(SSH-2.0-OpenSSH_9.9\)"):
            Client(Where(f"http://127.0.0.1:{server.getsockname()[1]}", "", "")).call("GET", "/api/status")
        thread.join()


def test_an_answer_that_is_not_json_is_an_error(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers["GET", "/api/status"] = lambda handler: handler.raw(200, b"<html>")
    told = pushlive("status")
    assert told.code == 5
    assert "is not Pushlive" in told.err


def test_a_redirect_is_not_followed_with_the_token(stub: Stub, pushlive: Callable[..., Told]) -> None:
    stub.answers["GET", "/api/status"] = lambda handler: handler.raw(
        302, b"", Location=f"{stub.url}/elsewhere"
    )
    assert pushlive("status").code == 1
    assert [path for _, path, _ in stub.asked] == ["/api/status"]


def test_the_services_clock_is_used_when_it_differs(stub: Stub) -> None:
    def yesterday(handler: Handler) -> None:
        handler.date_time_string = lambda timestamp=None: "Thu, 01 Jan 2026 00:00:00 GMT"  # type: ignore[method-assign]
        handler.answer(200, {})

    client = Client(Where(stub.url, TOKEN, ""))
    client.call("GET", "/api/status")
    assert client.skew == 0.0
    stub.answers["GET", "/api/status"] = yesterday
    client.call("GET", "/api/status")
    assert abs(client.now() - 1767225600) < 2


def test_a_stream_gives_lines_as_they_come(stub: Stub) -> None:
    def write(handler: Handler) -> None:
        handler.begin()
        for part in (b"on", b"e\ntw", b"o\n", "ü".encode()[:1], "ü".encode()[1:] + b" end"):
            handler.chunk(part)
        handler.chunk(b"")

    stub.answers["GET", "/lines"] = write
    assert list(Client(Where(stub.url, TOKEN, "")).lines("/lines")) == ["one", "two", "ü end"]


def test_a_command_says_which_trace_it_is_a_part_of() -> None:
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    assert trace({}) == trace({"TRACEPARENT": "junk", "TRACESTATE": "ci=1"}) == {}
    assert trace({"TRACEPARENT": f"{parent}\r\nX: y"}) == {}
    assert trace({"TRACEPARENT": parent, "TRACESTATE": "junk"}) == {"traceparent": parent}
    assert trace({"TRACEPARENT": parent, "TRACESTATE": "ci=1"}) == {
        "traceparent": parent,
        "tracestate": "ci=1",
    }
