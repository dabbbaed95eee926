"""Visitors of an environment in maintenance get a notice with 503, whichever slot serves.

``maintenance.map`` then has one value for the environment, ``1764489600.We%20are…``: when it ends, 0 if no one knows,
and the message, already escaped for HTML. The key ``e3.text`` has it as it is, for what does not ask for HTML. All but
letters and digits is encoded, so that no message is a command, an expression or markup.

It comes before what waits, sleeps or is shared, so nothing is woken for it. Checks of ours go to the application.
"""

from __future__ import annotations

from html import escape

from pipeline.domain.visitors.maintenance import Notice

MAP = "maintenance.map"
AGAIN = 300  # seconds after which to try again if no one knows when it ends

_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>Maintenance</title>"
    "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;padding:0 1rem;"
    "overflow-wrap:anywhere}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>"
    '<body><h1>Maintenance</h1><p lang="" dir="auto">%[var(txn.notice),field(2,.),url_dec]</p></body></html>'
).replace('"', '\\"')
_FOUND = "{ var(txn.notice) -m found }"
_HEADERS = 'hdr Retry-After "%[var(txn.again)]" hdr Cache-Control no-store hdr Vary Accept'

# In the public frontends, once the environment is known to have a name.
RULES = f"""
    http-request set-var(txn.notice) var(txn.env),map(/proxy/{MAP}) unless {{ var(txn.probe) -m bool }}
    http-request set-var(txn.now) date if {_FOUND}
    http-request set-var(txn.again) var(txn.notice),field(1,.),sub(txn.now) if {_FOUND}
    http-request set-var(txn.again) int({AGAIN}) if {_FOUND} {{ var(txn.again) -m int lt 1 }}
    http-request return status 503 content-type "text/html; charset=utf-8" {_HEADERS} lf-string "{_PAGE}" \
if {_FOUND} {{ req.fhdr(accept) -m sub text/html }}
    http-request set-var-fmt(txn.plain) %[var(txn.env)].text if {_FOUND}
    http-request return status 503 content-type "text/plain; charset=utf-8" {_HEADERS} lf-string \
"503: %[var(txn.plain),map(/proxy/{MAP}),field(2,.),url_dec]\\n" if {_FOUND}
""".strip()


def entries(environment: str, notice: Notice) -> dict[str, str]:
    """Those of the map. ``environment``: "e3"."""
    texts = {environment: escape(notice.message), f"{environment}.text": notice.message}
    return {key: f"{notice.until:.0f}.{_encoded(text)}" for key, text in texts.items()}


def _encoded(text: str) -> str:
    return "".join(
        chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"%{byte:02X}" for byte in text.encode()
    )
