"""What an authority says, as errors of ours."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import requests
from acme import errors, messages

from pipeline.adapters.acme.problems import Asked, Problems, seconds
from pipeline.ports.certificates.authority import BadAccount, CaAway, Kind, NameRefused, RateLimited

NOW = 1_800_000_000.0
URN = "urn:ietf:params:acme:error:"


class _Waits:
    wait_asked = ""


def raised(error: BaseException, kind: Kind = "http-01", wait: str = "", *, registering: bool = False) -> Any:
    """What comes out when the library raises that error."""
    network: Any = _Waits()
    network.wait_asked = wait
    problems = Problems("https://ca.example/dir", network)
    asked = Asked(("shop.example",), kind, "/data/acme.key")
    with pytest.raises(Exception) as found, problems.translated(asked, NOW, registering=registering):  # noqa: PT011
        raise error
    return found.value


def problem(code: str, detail: str = "no", **more: Any) -> messages.Error:
    return messages.Error.from_json({"type": URN + code, "detail": detail, **more})


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("dns", "A or AAAA record"),
        ("connection", "port 80"),
        ("unauthorized", "Something other than this service's proxy"),
        ("incorrectResponse", "Something other than this service's proxy"),
        ("caa", "CAA records"),
        ("dnssec", "DNSSEC"),
        ("tls", "over TLS"),
        ("rejectedIdentifier", "never issues"),
        ("unsupportedIdentifier", "of this kind"),
        ("malformed", "public DNS"),
        ("badCSR", "fewer names"),
    ],
)
def test_a_name_is_refused_with_what_to_do(code: str, part: str):
    found = raised(problem(code))
    assert isinstance(found, NameRefused)
    assert found.name == "shop.example"
    assert found.message == "ca.example issues no certificate for shop.example: no."
    assert part in found.advice
    assert "{" not in found.advice


@pytest.mark.parametrize("code", ["dns", "connection", "unauthorized", "incorrectResponse"])
def test_a_record_of_the_dns_has_other_advice_than_an_address(code: str):
    found = raised(problem(code), "dns-01")
    assert "port 80" not in found.advice
    assert "shop.example" in found.advice


@pytest.mark.parametrize(
    "code",
    [
        "invalidContact", "unsupportedContact", "externalAccountRequired", "userActionRequired",
        "accountDoesNotExist", "badPublicKey", "badSignatureAlgorithm",
    ],
)  # fmt: skip
def test_an_account_that_is_not_taken_is_the_operators(code: str):
    found = raised(problem(code))
    assert isinstance(found, BadAccount)
    assert found.advice


def test_what_is_refused_at_the_registration_is_the_account_and_no_name():
    found = raised(problem("unauthorized", "account is deactivated"), registering=True)
    assert isinstance(found, BadAccount)
    assert "/data/acme.key" in found.advice


@pytest.mark.parametrize(
    "code", ["serverInternal", "badNonce", "orderNotReady", "alreadyReplaced", "of-tomorrow"]
)
def test_everything_else_is_tried_again(code: str):
    assert isinstance(raised(problem(code)), CaAway)


@pytest.mark.parametrize(
    ("wait", "until"),
    [
        ("3600", NOW + 3600),
        ("Fri, 15 Jan 2027 09:00:00 GMT", NOW + 3600),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("9999999999", NOW + 7 * 86400),
        ("Fri, 99 Jan 2027 09:00:00 GMT", 0.0),
    ],
)
def test_a_limit_says_until_when_if_the_authority_does(wait: str, until: float):
    found = raised(problem("rateLimited", "too many certificates"), wait=wait)
    assert isinstance(found, RateLimited)
    assert found.until == until


def test_a_limit_without_a_problem_document_is_one_as_well():
    answer = requests.Response()
    answer.status_code = 429
    found = raised(errors.ClientError(answer), wait="60")
    assert isinstance(found, RateLimited)
    assert found.until == NOW + 60


def test_of_several_problems_the_first_with_a_name_says_which():
    parts = [
        {"type": URN + "malformed", "detail": "of none"},
        {
            "type": URN + "caa",
            "detail": "forbidden",
            "identifier": {"type": "dns", "value": "www.shop.example"},
        },
    ]
    found = raised(problem("compound", "two problems", subproblems=parts))
    assert isinstance(found, NameRefused)
    assert found.name == "www.shop.example"
    assert "CAA records of www.shop.example" in found.advice


def test_what_it_says_cannot_write_to_a_terminal_and_has_an_end():
    found = raised(problem("caa", "\x1b[31mred\n" + "x" * 9000))
    assert "\x1b" not in found.message
    assert "\n" not in found.message
    assert len(found.message) < 500


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (TimeoutError("timed out"), "nothing within 30 s"),
        (socket.gaierror(-2, "Name or service not known"), "its name cannot be looked up"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (requests.exceptions.ChunkedEncodingError("broken"), "broken"),
    ],
)
def test_an_authority_that_does_not_answer_is_tried_again(error: OSError, part: str):
    found = raised(error)
    assert isinstance(found, CaAway)
    assert found.message == f"ca.example does not answer: {part}."


def test_an_authority_whose_own_certificate_does_not_verify_names_the_setting():
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    outer = requests.exceptions.SSLError("outer")
    outer.__cause__ = error
    assert "PUSHLIVE_ACME_CA" in raised(outer).advice


@pytest.mark.parametrize(
    "error", [KeyError("newOrder"), ValueError("no JSON"), TypeError("None"), errors.ClientError("type")]
)
def test_an_answer_that_is_not_acme_names_the_directory(error: Exception):
    found = raised(error)
    assert isinstance(found, CaAway)
    assert "https://ca.example/dir" in found.advice


@pytest.mark.parametrize(
    ("asked", "wait"), [("0", 0.0), ("9" * 9, 999_999_999.0), ("9" * 400, 999_999_999.0), ("٣", 0.0)]
)
def test_a_wait_is_a_number_whatever_is_asked(asked: str, wait: float):
    assert seconds(asked, NOW) == wait
