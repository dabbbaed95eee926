"""The ACME client against a real authority: what the contract of authorities does not ask of a fake."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from pipeline.adapters.acme import pem
from pipeline.adapters.acme.account import Account
from pipeline.adapters.acme.authority import AcmeAuthority
from pipeline.errors import EngineFailed
from pipeline.lib.secret import Secret
from pipeline.ports.certificates.authority import BadAccount, CaAway, Challenge, NameRefused
from pipeline.ports.clock import SystemClock
from tests.support import pebble
from tests.support.pebble import KID, MAC, Pebble

PE_ACME = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737, 6.1
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def ca() -> Iterator[Pebble]:
    with pebble.running() as found:
        yield found


def client(ca: Pebble, folder: Path, **more: object) -> AcmeAuthority:
    return AcmeAuthority(Account(folder, ca.directory, ca=ca.ca, **more), SystemClock())  # type: ignore[arg-type]


def by_dns(ca: Pebble):
    @contextmanager
    def answer(challenge: Challenge) -> Iterator[None]:
        ca.txt(challenge.name, challenge.value)
        try:
            yield
        finally:
            ca.clear_txt(challenge.name)

    return answer


@contextmanager
def silent(_: Challenge) -> Iterator[None]:
    yield


def test_a_wildcard_by_a_record_of_the_dns(ca: Pebble, tmp_path: Path):
    found = client(ca, tmp_path)
    issued = found.order(("*.shop.example",), by_dns(ca), "dns-01")
    assert found.held(issued.chain).names == ("*.shop.example",)
    with pytest.raises(NameRefused, match=r"by http-01: it offers dns-01"):
        found.order(("*.shop.example",), silent)


def test_a_record_that_is_missing_says_so(ca: Pebble, tmp_path: Path):
    with pytest.raises(NameRefused) as refused:
        client(ca, tmp_path).order(("shop.example",), silent, "dns-01")
    assert "The TXT record _acme-challenge.shop.example" in refused.value.advice


def test_a_name_without_a_way_here_says_what_to_open(ca: Pebble, tmp_path: Path):
    ca.leads("nowhere.example")
    with pytest.raises(NameRefused) as refused:
        client(ca, tmp_path).order(("nowhere.example",), silent)
    assert "port 80 is open" in refused.value.advice


def test_the_account_is_one_key_that_only_its_user_can_read(ca: Pebble, tmp_path: Path):
    folder = tmp_path / "new" / "account"
    client(ca, folder, email="ops@example.com").order(("a.example",), by_dns(ca), "dns-01")
    key = folder / "acme.key"
    before = key.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    client(ca, folder).order(("a.example",), by_dns(ca), "dns-01")
    assert (key.read_bytes(), [one.name for one in folder.iterdir()]) == (before, ["acme.key"])
    key.chmod(0o644)
    with pytest.raises(EngineFailed, match="accessible to other users"):
        client(ca, folder).order(("a.example",), by_dns(ca), "dns-01")


def test_an_authority_that_has_forgotten_the_account_gets_it_again(ca: Pebble, tmp_path: Path):
    client(ca, tmp_path).order(("a.example",), by_dns(ca), "dns-01")
    with pebble.running() as other:
        assert client(other, tmp_path).order(("a.example",), by_dns(other), "dns-01").chain


def test_an_address_that_is_not_an_e_mail_address_is_the_operators(ca: Pebble, tmp_path: Path):
    with pytest.raises(BadAccount, match="Correct PUSHLIVE_ACME_EMAIL"):
        client(ca, tmp_path, email="nonsense").order(("a.example",), silent)


def test_an_authority_that_cannot_be_verified_names_the_setting(ca: Pebble, tmp_path: Path):
    unknown = AcmeAuthority(Account(tmp_path, ca.directory), SystemClock())
    with pytest.raises(CaAway, match=r"cannot be verified.*PUSHLIVE_ACME_CA"):
        unknown.order(("a.example",), silent)
    missing = AcmeAuthority(Account(tmp_path, ca.directory, ca=tmp_path / "none.pem"), SystemClock())
    with pytest.raises(BadAccount, match=r"none\.pem"):
        missing.order(("a.example",), silent)


def test_something_else_than_a_directory_is_named(ca: Pebble, tmp_path: Path):
    wrong = AcmeAuthority(Account(tmp_path, f"{ca.management}/roots/0", ca=ca.ca), SystemClock())
    with pytest.raises(CaAway, match=r"not as an ACME server.*roots/0"):
        wrong.order(("a.example",), silent)


def test_the_window_of_the_authority_can_be_moved_and_nonsense_is_none(ca: Pebble, tmp_path: Path):
    found = client(ca, tmp_path)
    chain = found.order(("a.example",), by_dns(ca), "dns-01").chain
    held = found.held(chain)
    start, end = found.renewal_window(chain) or (0.0, 0.0)
    assert held.not_before < start < end < held.not_after
    window = {"start": "2027-01-15T08:00:00Z", "end": "2027-01-15T09:00:00.123456789Z"}
    ca.renewal(chain, json.dumps({"suggestedWindow": window}))
    moved = found.renewal_window(chain)
    assert moved
    assert moved[0] == 1_800_000_000
    for nonsense in ("", "{}", "[]", "nonsense", json.dumps({"suggestedWindow": {"start": 1, "end": None}})):
        ca.renewal(chain, nonsense or " ")
        assert found.renewal_window(chain) is None
    ca.renewal(
        chain, json.dumps({"suggestedWindow": dict(zip(window, reversed(window.values()), strict=True))})
    )
    assert found.renewal_window(chain) is None


def test_an_authority_with_customers_takes_those_alone(tmp_path: Path):
    with pebble.running(bind=True) as ca:
        for number, (kid, key) in enumerate(
            (("", ""), ("nobody", MAC), (KID, "é"), (KID, MAC[:-8] + "AAAAAAAA"))
        ):
            with pytest.raises(BadAccount, match="PUSHLIVE_ACME_EAB_KEY"):
                client(ca, tmp_path / str(number), eab_kid=kid, eab_key=Secret(key)).order(
                    ("a.example",), silent
                )
        known = client(ca, tmp_path / "known", eab_kid=KID, eab_key=Secret(MAC))
        for _ in range(2):
            assert known.order(("a.example",), by_dns(ca), "dns-01").chain


def by_handshake(ca: Pebble, folder: Path):
    """Shows what RFC 8737 asks for, as a proxy would."""

    @contextmanager
    def answer(challenge: Challenge) -> Iterator[None]:
        key, name, now = pem.new_key(), x509.Name([]), datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now - DAY).not_valid_after(now + DAY)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(challenge.name)]), False)
        shown = x509.UnrecognizedExtension(PE_ACME, b"\x04\x20" + bytes.fromhex(challenge.value))
        certificate = builder.add_extension(shown, critical=True).sign(key, hashes.SHA256())
        both = folder / "shown.pem"
        both.write_text(certificate.public_bytes(Encoding.PEM).decode() + pem.private(key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        context.set_alpn_protocols(["acme-tls/1"])
        with socket.create_server(("127.0.0.1", ca.tls)) as listener:
            thread = threading.Thread(target=_shake_hands, args=(listener, context))
            thread.start()
            yield
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

    return answer


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):  # until it is shut down
        while True:  # an authority looks more than once
            connection, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(1)


def test_a_name_is_shown_by_a_handshake_alone(ca: Pebble, tmp_path: Path):
    found = client(ca, tmp_path)
    assert found.order(("a.example",), by_handshake(ca, tmp_path), "tls-alpn-01").chain
