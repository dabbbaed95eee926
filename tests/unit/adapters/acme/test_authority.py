"""An authority that answers otherwise than it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.acme import authority, network, pem
from pipeline.adapters.acme.account import Account
from pipeline.adapters.acme.authority import AcmeAuthority
from pipeline.adapters.fake import FakeClock
from pipeline.adapters.fake.certificates.authority import FakeAuthority
from pipeline.errors import RequestError
from pipeline.ports.certificates.authority import CaAway, Challenge, NameRefused, RateLimited
from tests.support.dripping import dripping

TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ"
NONCE = {"Replay-Nonce": "bm9uY2U"}


class Wrong(ThreadingHTTPServer):
    """``answers``: by path, a status, headers and a body; the last one of several is given again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[str] = []
        directory = {name: f"{self.url}/{name}" for name in ("newNonce", "newAccount", "newOrder")}
        self.answers: dict[str, list[tuple[int, dict[str, str], Any]]] = {
            "/dir": [(200, {}, directory)],
            "/newNonce": [(200, {}, {})],
            "/newAccount": [(201, {"Location": f"{self.url}/account"}, {"status": "valid"})],
            "/newOrder": [(201, {"Location": f"{self.url}/order"}, self.order("pending"))],
            "/order": [(200, {}, self.order("ready")), (200, {}, self.order("valid"))],
            "/authorization": [
                (200, {}, self.authorization("pending")),
                (200, {}, self.authorization("valid")),
            ],
            "/challenge": [(200, {}, {})],
            "/finalize": [(200, {}, self.order("processing"))],
            "/certificate": [(200, {}, "nothing")],
        }

    def order(self, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "authorizations": [f"{self.url}/authorization"],
            "finalize": f"{self.url}/finalize",
            "certificate": f"{self.url}/certificate",
        }

    def authorization(self, status: str, token: Any = TOKEN) -> dict[str, Any]:
        challenge = {"type": "http-01", "url": f"{self.url}/challenge", "token": token}
        identifier = {"type": "dns", "value": "a.example"}
        return {"status": status, "identifier": identifier, "challenges": [challenge]}


class _Handler(BaseHTTPRequestHandler):
    server: Wrong

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(self.path)
        waiting = self.server.answers[self.path]
        status, headers, body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**NONCE, **headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def wrong() -> Iterator[Wrong]:
    with Wrong() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def silent(_: Challenge) -> Iterator[None]:
    yield


def order(wrong: Wrong, folder: Path, clock: FakeClock | None = None) -> Any:
    account = Account(folder, f"{wrong.url}/dir")
    return AcmeAuthority(account, clock or FakeClock()).order(("a.example",), silent)  # type: ignore[arg-type]


def test_a_certificate_for_another_key_is_not_kept(wrong: Wrong, tmp_path: Path):
    other = FakeAuthority(FakeClock())
    wrong.answers["/certificate"] = [(200, {}, other.order(("a.example",), silent).chain)]
    with pytest.raises(CaAway, match="something else than the certificate"):
        order(wrong, tmp_path)


def test_no_certificate_at_all_is_not_kept(wrong: Wrong, tmp_path: Path):
    with pytest.raises(CaAway, match="something else than the certificate"):
        order(wrong, tmp_path)


def test_of_what_is_sent_only_certificates_are_kept():
    key = pem.new_key()
    text = FakeAuthority(FakeClock()).root()
    with pytest.raises(CaAway):
        authority._issued(f"{text}{pem.private(key)}", key)


@pytest.mark.parametrize("token", ["../../etc", "a b", "a\nb", "", "x" * 201, 'a"', None, 5])
def test_a_token_that_could_be_more_than_one_is_refused(wrong: Wrong, tmp_path: Path, token: Any):
    wrong.answers["/authorization"] = [(200, {}, wrong.authorization("pending", token))]
    with pytest.raises(CaAway, match="not as an ACME server"):
        order(wrong, tmp_path)
    assert "/challenge" not in wrong.asked


def test_it_is_asked_as_often_as_it_likes_and_no_longer_than_three_minutes(wrong: Wrong, tmp_path: Path):
    clock = FakeClock()
    wrong.answers["/authorization"] = [(200, {"Retry-After": "20"}, wrong.authorization("pending"))]
    with pytest.raises(CaAway, match=r"has not decided about a\.example in time"):
        order(wrong, tmp_path, clock)
    assert 150 < clock.passed <= 180
    assert wrong.asked.count("/authorization") == 1 + clock.passed / 20 + 1


def test_one_that_asks_to_wait_for_a_year_is_asked_again_sooner(wrong: Wrong, tmp_path: Path):
    wrong.answers["/order"].insert(0, (200, {"Retry-After": "31536000"}, wrong.order("pending")))
    clock = FakeClock()
    with pytest.raises(CaAway, match="something else"):
        order(wrong, tmp_path, clock)
    assert clock.passed == 30


@pytest.mark.parametrize(
    "body", ["", "[]", "nonsense", "{}", '{"newNonce": 5}', '{"newNonce": null, "newAccount": ""}']
)
def test_a_directory_of_nonsense_is_named(wrong: Wrong, tmp_path: Path, body: str):
    wrong.answers["/dir"] = [(200, {}, body)]
    with pytest.raises(CaAway) as away:
        order(wrong, tmp_path)
    assert away.value.advice


@pytest.mark.parametrize(
    "path", ["/newOrder", "/authorization", "/challenge", "/finalize", "/order", "/certificate"]
)
@pytest.mark.parametrize("status", [200, 404, 502])
def test_an_answer_of_a_proxy_at_any_step_is_tried_again(
    wrong: Wrong, tmp_path: Path, path: str, status: int
):
    wrong.answers[path] = [(status, {"Content-Type": "text/html"}, "<html>Bad gateway</html>")]
    with pytest.raises(CaAway):
        order(wrong, tmp_path)


def test_an_answer_without_end_is_not_read_to_it(wrong: Wrong, tmp_path: Path):
    wrong.answers["/dir"] = [(200, {}, " " * (network.LARGEST + 1))]
    with pytest.raises(CaAway, match="more than 1 MiB"):
        order(wrong, tmp_path)


def test_an_answer_a_byte_at_a_time_ends_by_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network, "SECONDS", 0.2)
    with dripping() as address, pytest.raises(CaAway, match="does not answer"):
        AcmeAuthority(Account(tmp_path, f"http://{address}/dir"), FakeClock()).order(("a.example",), silent)


def test_a_redirected_order_is_none(wrong: Wrong, tmp_path: Path):
    wrong.answers["/newOrder"] = [(302, {"Location": f"{wrong.url}/dir"}, "")]
    with pytest.raises(CaAway):
        order(wrong, tmp_path)
    assert wrong.asked.count("/dir") == 1


def test_a_limit_says_until_when(wrong: Wrong, tmp_path: Path):
    limit = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many"}
    wrong.answers["/newOrder"] = [(429, {"Retry-After": "60"}, limit)]
    clock = FakeClock()
    with pytest.raises(RateLimited) as limited:
        order(wrong, tmp_path, clock)
    assert limited.value.until == clock.now() + 60


def test_nonces_that_are_never_good_come_to_an_end(wrong: Wrong, tmp_path: Path):
    bad = {"type": "urn:ietf:params:acme:error:badNonce", "detail": "unknown"}
    wrong.answers["/newOrder"] = [(400, {}, bad)]
    with pytest.raises(CaAway):
        order(wrong, tmp_path)
    assert wrong.asked.count("/newOrder") == 10


@pytest.mark.parametrize("status", ["invalid", "revoked", "expired", "deactivated"])
def test_an_authorization_that_cannot_become_good_names_the_name(wrong: Wrong, tmp_path: Path, status: str):
    wrong.answers["/authorization"][1:] = [(200, {}, wrong.authorization(status))]
    with pytest.raises(NameRefused) as refused:
        order(wrong, tmp_path)
    assert refused.value.name == "a.example"
    assert status in refused.value.message


def test_an_order_that_becomes_invalid_says_why(wrong: Wrong, tmp_path: Path):
    caa = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA record forbids it"}
    wrong.answers["/order"][1:] = [(200, {}, {**wrong.order("invalid"), "error": caa})]
    with pytest.raises(NameRefused, match="CAA record forbids it"):
        order(wrong, tmp_path)
    wrong.answers["/order"] = [(200, {}, wrong.order("invalid"))]
    wrong.answers["/authorization"] = [(200, {}, wrong.authorization("valid"))]
    with pytest.raises(CaAway, match="the order is invalid"):
        order(wrong, tmp_path)


def test_an_order_of_nothing_is_refused(wrong: Wrong, tmp_path: Path):
    with pytest.raises(RequestError):
        AcmeAuthority(Account(tmp_path, wrong.url), FakeClock()).order((), silent)
    assert not wrong.asked
