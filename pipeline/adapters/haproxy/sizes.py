"""How large the head of a request or an answer may be: 64 KiB, and some for what surrounds it.

HAProxy needs the whole head in one buffer. A request that does not fit into it is refused before any rule is asked,
with a page that is compiled into HAProxy: `errorfile 400` and `http-error status 400` are not used there. So a buffer
is larger than what is passed on: what is between the two is refused with the size that it has.
"""

from __future__ import annotations

LIMIT = 68 << 10  # bytes of headers
# Memory is taken for what is in a buffer: by an idle connection none, by a client that reads slowly 134 KiB.
BUFFER = 96 << 10  # bytes
_TEXT = 'content-type "text/plain; charset=utf-8"'
_REQUEST = (
    "431: the request has %[req.hdrs,length] bytes of headers, %[req.fhdr(Cookie),length] of them cookies. The proxy"
    f" passes on at most {LIMIT}. Deleting the cookies of this site often helps."
)
_ADDRESS = (
    f"414: the address of the request is longer than {LIMIT} bytes, which is all that the proxy passes on."
)
_ANSWER = (
    "502: the application answered with %[var(txn.size)] bytes of headers. The proxy passes on at most"
    f" {LIMIT}. The application should send fewer or shorter ones, often Set-Cookie."
)
# In the frontends.
RULES = f"""
    http-request return status 431 {_TEXT} lf-string "{_REQUEST}\\n" if {{ req.hdrs,length gt {LIMIT} }}
    http-request return status 414 {_TEXT} string "{_ADDRESS}\\n" if {{ url,length gt {LIMIT} }}
    http-response set-var(txn.size) res.hdrs,length
    http-response return status 502 {_TEXT} lf-string "{_ANSWER}\\n" if {{ var(txn.size) -m int gt {LIMIT} }}
""".strip()
