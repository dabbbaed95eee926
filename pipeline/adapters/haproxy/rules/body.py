"""The largest request body that an application is sent: ``http.body``.

HAProxy 2.6 passes a body on as it comes and cannot count it. So a body has to say how long it is: one that is sent in
chunks of an unknown sum gets 411 where there is a limit.
"""

from __future__ import annotations

from pipeline.config.http.keys import Http

MAP = "body.map"
_TEXT = 'content-type "text/plain; charset=utf-8"'
_LARGE = (
    "413: the request's body is larger than %[var(txn.most)] bytes, which is all that this application takes."
    "\\nFor its operators: `http.body` in pipelines.yaml."
)
_UNKNOWN = (
    "411: the request does not say how long its body is (Content-Length). This application takes %[var(txn.most)] bytes"
    " at most.\\nFor its operators: `http.body` in pipelines.yaml."
)
LINES = f"""
    http-request set-var(txn.most) var(txn.slot),map_str_int(/proxy/{MAP})
    http-request return status 413 {_TEXT} lf-string "{_LARGE}\\n" \
if {{ req.hdr_val(Content-Length),sub(txn.most) gt 0 }} {{ var(txn.most) -m found }}
    http-request return status 411 {_TEXT} lf-string "{_UNKNOWN}\\n" if {{ var(txn.most) -m found }} \
{{ req.fhdr(Transfer-Encoding) -m found }}
    http-request return status 411 {_TEXT} lf-string "{_UNKNOWN}\\n" if {{ var(txn.most) -m found }} \
{{ fc_http_major 2 }} {{ method POST PUT PATCH DELETE }} !{{ req.fhdr(Content-Length) -m found }}
""".strip()


def value(http: Http) -> str:
    """Bytes; "" without a limit."""
    return str(http.body) if http.body else ""
