"""JSON and forms from outside: any input is decoded or refused, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.json_body import NotUsable, json_object
from webhooks.receivers.form import PIECE, form_field

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3),
)


@given(st.dictionaries(st.text(), values, max_size=5), st.booleans())
def test_what_is_json_is_read(found, ascii_only):
    raw = json.dumps(found, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert json_object(raw, 1000) == found


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps({"a": text})[:-1].encode())
)
def test_anything_else_is_refused(raw):
    try:
        found = json_object(raw, 1000)
    except NotUsable:
        return
    assert isinstance(found, dict)


REFUSED = {
    "a lone surrogate": rb'{"a": "\ud800"}',
    "in a name": rb'{"\udfff": 1}', "deep inside": rb'{"a": [{"b": ["\udc00"]}]}',
    "as bytes": b'{"a": "\xed\xa0\x80"}', "UTF-16": '{"a": 1}'.encode("utf-16"), "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}', "twenty digits": b'{"a": 12345678901234567890}',
    "five thousand digits": b'{"a": ' + b"9" * 5000 + b"}", "a list": b"[]", "nothing": b"", "two": b"{}{}",
    "nested": b'{"a":' * 100_000, "many values": b'{"a": [' + b"0," * 2000 + b"0]}",
}  # fmt: skip


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_fault_04_what_cannot_be_stored_or_shown_is_not_json(raw):
    with pytest.raises(NotUsable):
        json_object(raw, 1000)


def test_a_pair_of_surrogates_is_one_character():
    assert json_object(rb'{"a": "\ud83d\ude80"}', 10) == {"a": "🚀"}


@given(st.dictionaries(st.sampled_from(["payload", "other", "xpayload"]), st.text(max_size=50)))
def test_a_field_of_a_form_is_found(fields):
    raw = urlencode(fields).encode()
    assert form_field(raw, b"payload") == fields.get("payload", "").encode()


@pytest.mark.parametrize("before", range(4))
def test_an_escape_at_the_end_of_a_piece_is_not_cut(before):
    text = "x" * (PIECE - before) + "ä" * 10 + "%"
    assert form_field(b"payload=" + quote_plus(text).encode() + b"&a=b", b"payload") == text.encode()


def test_fault_02_a_large_form_takes_a_small_multiple_of_its_size():
    raw = b"payload=" + b"%20" * (2 << 20)
    tracemalloc.start()
    try:
        assert form_field(raw, b"payload") == b" " * (2 << 20)
        assert tracemalloc.get_traced_memory()[1] < 6 * len(raw)
    finally:
        tracemalloc.stop()
