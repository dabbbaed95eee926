"""Names and passwords by which visitors are let in: ``http.basic``.

``basic.map`` has an entry for a slot that asks for them, and one for each pair that it knows: ``e3-blue.c0ffee…``, a
hash with the proxy's own secret. HAProxy makes the same of what a visitor sends. So the password itself is in no file
and no answer to a command. The application does not get the header.

A slot that asks and knows no pair lets no one in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import unicodedata
from collections.abc import Mapping

from pipeline.config.http.keys import Http
from pipeline.lib.secret import Secret

MAP = "basic.map"
KEY = "{key}"  # in the lines: the proxy's secret, in base64
_ASKS = "asks"
_LENGTH = 32  # hexadecimal digits of a hash

_GATE = "{ var(txn.gate) -m found }"
_TEXT = 'content-type "text/plain; charset=utf-8" hdr Cache-Control no-store'
_REALM = r'hdr WWW-Authenticate "Basic realm=\"%[var(txn.name)]\", charset=\"UTF-8\""'
_SAID = "401: %[var(txn.name)] asks for a name and a password.\\nFor its operators: `http.basic` in pipelines.yaml."
LINES = f"""
    http-request set-var(txn.gate) var(txn.slot),map(/proxy/{MAP}) unless {{ var(txn.passes) -m bool }}
    http-request set-var(txn.pass) http_auth_pass if {_GATE}
    http-request set-var(txn.login) http_auth_user,concat(:,txn.pass) if {_GATE}
    http-request unset-var(txn.pass) if {_GATE}
    http-request set-var(txn.login) var(txn.slot),concat(/,txn.login),hmac(sha256,{KEY}),hex,lower,bytes(0,{_LENGTH}) \
if {_GATE}
    http-request set-var-fmt(txn.login) %[var(txn.slot)].%[var(txn.login)] if {_GATE}
    http-request set-var(txn.known) var(txn.login),map(/proxy/{MAP}) if {_GATE}
    http-request return status 401 {_TEXT} {_REALM} lf-string "{_SAID}\\n" if {_GATE} !{{ var(txn.known) -m found }}
    http-request del-header Authorization if {_GATE}
""".strip()


def value(http: Http) -> str:
    """Before ``with_pairs``: no one is let in."""
    return _ASKS if http.basic else ""


def with_pairs(http: Http, passwords: Mapping[str, Secret], slot: str, token: str) -> str:
    """Who is let in. ``passwords``: by the names of their secrets; ``slot``: ``e3-blue``; ``token``: a secret of the
    proxy. Raises KeyError if a password is not there."""
    found = {
        hashed(f"{slot}/{user}:{text}", token)
        for user, name in http.basic.items()
        for text in _written(passwords[name].reveal())
    }
    return ",".join([_ASKS, *sorted(found)])


def _written(password: str) -> set[str]:
    """As it is, and as browsers send it: RFC 7617 wants normalized text."""
    return {password, unicodedata.normalize("NFC", password)}


def hashed(text: str, token: str) -> str:
    """As HAProxy does it in the lines."""
    return hmac.new(token.encode(), text.encode(), hashlib.sha256).hexdigest()[:_LENGTH]


def key(token: str) -> str:
    """What ``KEY`` stands for."""
    return base64.b64encode(token.encode()).decode()


def entries(slot: str, value: str) -> Mapping[str, str]:
    """Those of one slot in the map."""
    asks, *known = value.split(",")
    return {slot: asks, **{f"{slot}.{one}": "1" for one in known}}
