"""Authorities of certificates: a real one by ACME and the fake keep the same promises."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store

from pipeline.adapters.acme.account import Account
from pipeline.adapters.acme.authority import AcmeAuthority
from pipeline.adapters.fake.certificates.authority import FakeAuthority
from pipeline.ports.certificates.authority import Authority, CaAway, Challenge, NameRefused
from pipeline.ports.clock import SystemClock
from tests.support import pebble

LIFE = 6 * 86400


@dataclass
class Answers:
    """What the proxy answers challenges with: by token. ``wrong``: names for which it answers something else."""

    known: dict[str, str] = field(default_factory=dict)
    seen: list[Challenge] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)

    @contextmanager
    def __call__(self, challenge: Challenge) -> Iterator[None]:
        self.seen.append(challenge)
        self.known[challenge.token] = "another" if challenge.name in self.wrong else challenge.value
        try:
            yield
        finally:
            del self.known[challenge.token]


@dataclass
class Case:
    """``without``: the same authority while it does not answer."""

    authority: Authority
    answers: Answers
    root: str
    without: Callable[[], Authority]


@contextmanager
def _listening(port: int, answers: Answers) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            value = answers.known.get(self.path.rpartition("/")[2])
            self.send_response(200 if value else 404)
            self.end_headers()
            self.wfile.write((value or "").encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def real() -> Iterator[pebble.Pebble]:
    with pebble.running(lifetime=LIFE) as found:
        yield found


@pytest.fixture(params=["pebble", "fake"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    answers = Answers()
    if request.param == "fake":
        yield _fake(answers)
        return
    found: pebble.Pebble = request.getfixturevalue("real")
    account = Account(tmp_path / "account", found.directory, "ops@example.com", found.ca)
    away = Account(tmp_path / "account", "https://localhost:1/dir", "ops@example.com", found.ca)
    with _listening(found.http, answers):
        yield Case(
            AcmeAuthority(account, SystemClock()),
            answers,
            found.root(),
            lambda: AcmeAuthority(away, SystemClock()),
        )


def _fake(answers: Answers) -> Case:
    fake = FakeAuthority(SystemClock())
    fake.lifetime = LIFE
    fake.refused[pebble.REFUSED] = "it is a forbidden domain"
    fake.asked = lambda challenge: answers.known.get(challenge.token, "")

    def without() -> Authority:
        other = FakeAuthority(SystemClock())
        other.away = True
        return other

    return Case(fake, answers, fake.root(), without)


def _verified(case: Case, chain: str, name: str) -> x509.Certificate:
    store = Store(x509.load_pem_x509_certificates(case.root.encode()))
    first, *more = x509.load_pem_x509_certificates(chain.encode())
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(name))
    return verifier.verify(first, more)[0]


def test_what_is_issued_verifies_for_each_of_its_names_and_has_its_key(case: Case, tmp_path: Path):
    issued = case.authority.order(("shop.example", "www.shop.example"), case.answers)
    for name in ("shop.example", "www.shop.example"):
        leaf = _verified(case, issued.chain, name)
    key = load_pem_private_key(issued.key.encode(), password=None)
    assert leaf.public_key() == key.public_key()
    both = tmp_path / "both.pem"
    both.write_text(issued.chain + issued.key)
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(both)  # as a server takes it


def test_its_times_are_those_of_the_certificate(case: Case):
    issued = case.authority.order(("shop.example",), case.answers)
    held = case.authority.held(issued.chain + issued.key)
    assert (held.names, held.not_before, held.not_after) == (
        ("shop.example",),
        issued.not_before,
        issued.not_after,
    )
    assert abs(held.not_after - held.not_before - LIFE) <= 1


def test_every_name_is_asked_for_once_and_nothing_is_answered_afterwards(case: Case):
    case.authority.order(("a.example", "b.example"), case.answers)
    assert sorted(one.name for one in case.answers.seen) == ["a.example", "b.example"]
    assert {one.kind for one in case.answers.seen} == {"http-01"}
    assert not case.answers.known


@pytest.mark.parametrize("names", [(pebble.REFUSED,), ("shop.example", pebble.REFUSED)])
def test_a_refused_name_is_named_with_what_to_do(case: Case, names: tuple[str, ...]):
    with pytest.raises(NameRefused) as refused:
        case.authority.order(names, case.answers)
    assert refused.value.name == pebble.REFUSED
    assert pebble.REFUSED in refused.value.message
    assert refused.value.advice
    assert not case.answers.known


def test_a_name_that_leads_elsewhere_leaves_others_alone(case: Case):
    case.answers.wrong.add("elsewhere.example")
    with pytest.raises(NameRefused) as refused:
        case.authority.order(("elsewhere.example",), case.answers)
    assert refused.value.name == "elsewhere.example"
    assert "A and AAAA records" in refused.value.advice
    assert not case.answers.known
    assert case.authority.order(("shop.example",), case.answers).chain


def test_a_name_can_be_ordered_again_after_it_failed(case: Case):
    case.answers.wrong.add("late.example")
    with pytest.raises(NameRefused):
        case.authority.order(("late.example",), case.answers)
    case.answers.wrong.clear()
    assert case.authority.order(("late.example",), case.answers).chain


def test_each_order_has_a_key_of_its_own(case: Case):
    first, second = (case.authority.order(("shop.example",), case.answers) for _ in range(2))
    assert first.key != second.key
    assert first.chain != second.chain


def test_one_that_takes_the_place_of_another_may_be_ordered_twice(case: Case):
    first = case.authority.order(("shop.example",), case.answers)
    for _ in range(2):
        assert case.authority.order(("shop.example",), case.answers, replaces=first.chain).chain
    assert case.authority.order(("shop.example",), case.answers, replaces="no certificate").chain


def test_what_answering_raises_comes_out_and_ends_all_answers(case: Case):
    @contextmanager
    def broken(challenge: Challenge) -> Iterator[None]:
        if challenge.name == "b.example":
            raise ConnectionError("the proxy does not answer")
        with case.answers(challenge):
            yield

    with pytest.raises(ConnectionError):
        case.authority.order(("a.example", "b.example"), broken)
    assert not case.answers.known
    assert case.authority.order(("a.example", "b.example"), case.answers).chain


def test_an_authority_that_is_away_says_so_and_has_no_wishes(case: Case):
    issued = case.authority.order(("shop.example",), case.answers)
    away = case.without()
    with pytest.raises(CaAway):
        away.order(("shop.example",), case.answers)
    assert away.renewal_window(issued.chain) is None
    assert away.held(issued.chain).names == ("shop.example",)


def test_text_without_a_certificate_holds_none(case: Case):
    for text in ("", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match=r".+"):
            case.authority.held(text)
        assert case.authority.renewal_window(text) is None
