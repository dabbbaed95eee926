"""Secrets are found in text, in any of their forms, however the text is cut."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import pairwise
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.buildkit.output import Output
from pipeline.adapters.buildkit.trace import Log, Vertex
from pipeline.domain.events import Event
from pipeline.domain.run import Failure
from pipeline.lib.secret import Secret
from pipeline.secrets.redaction import Mask, Stream
from pipeline.secrets.run_redaction import Masker

URL = "postgres://app:pa$$ word/+é@db/live"
PEM = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\n  q83vEjRWeJA  \n-----END KEY-----"


def mask(*values: str) -> Mask:
    return Mask(Secret(value) for value in values)


@pytest.mark.parametrize(
    "text",
    [
        f"connecting to {URL} now",
        json.dumps({"url": URL}),
        json.dumps({"url": URL}, ensure_ascii=False),
        repr(URL),
        f"GET /?db={quote_plus(URL)}",
        f"GET /?db={quote_plus(URL).lower()}" if quote_plus(URL).islower() else quote_plus(URL),
        base64.b64encode(URL.encode()).decode(),
        base64.b64encode(f"user:{URL}\n".encode()).decode(),
        base64.urlsafe_b64encode(f"a{URL}bc".encode()).decode(),
        f"{URL[:7]}\x1b[1m{URL[7:]}",
        f"{URL[:7]}\u200b{URL[7:]}",
    ],
)
def test_fault_21_a_value_is_found_as_others_write_it(text: str) -> None:
    shown = mask(URL).text(text)
    assert "•••" in shown
    for form in (URL, quote_plus(URL), base64.b64encode(URL.encode()).decode()[:40]):
        assert form not in shown


def test_fault_21_a_value_of_many_lines_is_found_line_by_line() -> None:
    one = mask(PEM)
    for line in PEM.splitlines():
        assert one.text(f"key: {line.strip()}") == "key: •••"
    assert one.text(f"<{PEM}>") == "<•••>"


def test_fault_21_overlapping_values_leave_nothing_of_either() -> None:
    assert mask("abcdef", "efghij", "cdef").text("-abcdefghij-") == "-•••-"


def test_text_without_a_secret_stays_as_it_is() -> None:
    assert Mask().text("a\x1b[1mb") == "a\x1b[1mb"
    assert mask(URL).text("nothing here\tbut tabs\n") == "nothing here\tbut tabs\n"


def test_fault_21_what_goes_on_in_the_next_line_or_was_cut_off_is_found_in_evidence() -> None:
    one = mask("correct-horse-battery")
    assert one.lines(("a correct-ho", "rse-battery b")) == ("a •••", "••• b")
    assert one.lines(("rse-battery and", "more correct-hor")) == ("••• and", "more •••")
    assert one.lines(("plain", "lines")) == ("plain", "lines")


def cut(text: str, places: list[int]) -> list[str]:
    """The text in pieces, cut at those places (each taken modulo its length)."""
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(ends)] or [""]


LETTERS = st.text("abAB%/ \n", max_size=30)
VALUES = st.lists(st.text("abAB%/ ", min_size=4, max_size=12).filter(str.strip), min_size=1, max_size=3)


@given(VALUES, st.lists(LETTERS, max_size=4), st.lists(st.integers(0, 500), max_size=12), st.data())
def test_fault_21_no_way_of_cutting_shows_a_secret(
    values: list[str], others: list[str], places: list[int], data: st.DataObject
) -> None:
    parts = data.draw(st.permutations([*values, *others, values[0]]))
    text = "".join(parts)
    stream = Stream(mask(*values))
    pieces = cut(text, places)
    shown = [stream.feed(piece, last=number == len(pieces) - 1) for number, piece in enumerate(pieces)]
    whole = mask(*values).text(text)
    assert all(value not in "".join(shown) for value in values)
    # And all else is shown: the same as of the whole text, but for where ••• stands twice.
    once = [part for part in "".join(shown).replace("•••", "\0").split("\0") if part]
    assert once == [part for part in whole.replace("•••", "\0").split("\0") if part]


@given(st.lists(st.integers(0, 500), max_size=12), LETTERS, LETTERS)
def test_fault_21_no_way_of_wrapping_shows_a_secret_in_evidence(
    places: list[int], before: str, after: str
) -> None:
    lines = mask("abba/BAAB%ab").lines(cut(f"{before}abba/BAAB%ab{after}", places))
    assert "abba/BAAB%ab" not in "".join(lines)


def test_fault_21_what_is_held_back_stays_small_whatever_comes() -> None:
    stream = Stream(mask("aaaaaaaa"))
    for _ in range(200):
        stream.feed("a" * 1000)
        assert len(stream._rest) < 8


def test_fault_21_the_builds_output_is_masked_though_it_is_cut_into_pieces() -> None:
    """Also a value of several bytes a character, whose bytes lie on both sides of a cut."""
    secret = "pässwörd-ünd-mehr"
    raw = secret.encode()
    for place in range(len(raw) + 1):
        line = b"x" * (8192 - place) + raw + b" the end\n"
        output, masker = Output(), Masker(mask(secret))
        events = [
            *output.feed(Vertex("d", "RUN env", started=1.0), 1.0),
            *output.feed(Log("d", 1.0, line), 1.0),
        ]
        shown = [masker.event(event) for event in events]
        text = "".join(event.text for event in shown if event)
        assert text.strip("x") in ("••• the end", "•••••• the end")
        output.feed(Vertex("d", "RUN env", started=1.0, completed=2.0, error="1"), 1.0)


def test_fault_21_cards_and_data_are_masked_and_names_are_not() -> None:
    masker = Masker(mask("live", "hunter22"))
    failure = {"message": "hunter22", "whose": "engine", "stage": "live", "evidence": ["hun", "ter22"]}
    event = Event("end", 1.0, "hello#1 failed", "live", data={"outcome": "live", "failure": failure})
    shown = masker.event(event)
    assert shown
    assert shown.data["outcome"] == shown.data["failure"]["stage"] == shown.stage == "live"
    assert shown.data["failure"]["message"] == "•••"
    assert shown.data["failure"]["evidence"] == ["•••", "•••"]


def test_our_own_sentences_are_not_masked_by_the_last_part_of_a_value() -> None:
    masker = Masker(mask("sk_3141592653_live", "a_failed_start"))
    more = ["live is held. To let a fix in: pushlive resume hello --env live"]
    facts = ["live is not ready", "start again"]
    failure = {"evidence": [*facts, "live and kicking"], "facts": 2, "differs": ["live: r1 → r2"]}
    shown = masker.event(Event("end", 1.0, "live", "live", data={"more": more, "failure": failure}))
    assert shown
    assert (shown.text, shown.data["more"]) == ("live", more)
    assert shown.data["failure"]["differs"] == ["live: r1 → r2"]
    assert shown.data["failure"]["evidence"] == [*facts, "••• and kicking"]  # output may begin in a value


def test_fault_21_whole_values_are_masked_in_our_own_sentences_as_well() -> None:
    masker = Masker(mask("hunter22"))
    failure = {"evidence": ["GET / answered hunter22", "hunt"], "facts": 1, "differs": ["env A: hunter22"]}
    shown = masker.event(Event("end", 1.0, "", data={"more": ["hunter22 is held"], "failure": failure}))
    assert shown
    assert shown.data["more"] == ["••• is held"]
    assert shown.data["failure"]["evidence"] == ["GET / answered •••", "•••"]
    assert shown.data["failure"]["differs"] == ["env A: •••"]


def test_fault_21_a_failures_evidence_is_masked_across_its_lines() -> None:
    from pipeline.secrets.run_redaction import _failure

    card = Failure("live", "start", "application", "no: hunter22", evidence=("a hunt", "er22 b"))
    found = _failure(mask("hunter22"), card)
    assert (found.message, found.evidence) == ("no: •••", ("a •••", "••• b"))
    said = replace(card, evidence=("er22 is a fact", "er22 b"), facts=1)
    assert _failure(mask("hunter22"), said).evidence == ("er22 is a fact", "••• b")


def test_fault_21_shells_pages_and_addresses_write_it_in_their_own_way():
    value = "postgres://shop:Pa55'w0rd&XYZ@db:5432/shop"
    mask = Mask().also([Secret(value)])
    for text in (
        """+ : 'postgres://shop:Pa55'"'"'w0rd&XYZ@db:5432/shop'""",
        r"quoted 'postgres://shop:Pa55'\''w0rd&XYZ@db:5432/shop'",
        "password=Pa55'w0rd&XYZ",
        "<p>postgres://shop:Pa55&#x27;w0rd&amp;XYZ@db:5432/shop</p>",
    ):
        assert "w0rd" not in mask.text(text), text
