"""A share of an environment's new visitors is sent to the slot that does not serve yet.

``shift.map`` then has one value for the environment, ``250.c0ffee….decaf0….e3-green``: how many of a thousand, what the
cookie of those says who stay, what the cookie of the others says, and where these go. A visitor is decided about once
and keeps the cookie. Requests without one are decided about each time. Any other value, one of an earlier shift or a
forged one, is as good as none.

The cookie is the proxy's: no application sees it, and it is taken back with the first answer after the shift. Its value
is the same for all visitors of a slot, so it tells nothing of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from pipeline.domain.environment import Slot

COOKIE = "pushlive-shift"
WHOLE = 1000  # a share is counted in thousandths
MAP = "shift.map"

_SET = f"{COOKIE}=%[var(txn.give)]; Path=%[var(txn.cookies)]; HttpOnly; SameSite=Lax"
_END = f"{COOKIE}=; Path=%[var(txn.cookies)]; Max-Age=0; HttpOnly; SameSite=Lax"

# In the public frontends, after the slot was read from ``active.map``. An answer that shared caches may keep gets no
# cookie, or they would hand one visitor's to all.
RULES = f"""
    http-request set-var(txn.cookies) str(/) unless {{ var(txn.cookies) -m found }}
    http-request set-var(txn.given) req.cook({COOKIE})
    http-request replace-header Cookie ^{COOKIE}=[^;]*(;[[:space:]]*(.*))?$ \\2 if {{ var(txn.given) -m found }}
    http-request replace-header Cookie ^(.*);[[:space:]]*{COOKIE}=[^;]*(.*)$ \\1\\2 if {{ var(txn.given) -m found }}
    http-request del-header Cookie if {{ var(txn.given) -m found }} !{{ req.fhdr(Cookie) -m len 1: }}
    http-request set-var(txn.shift) var(txn.env),map(/proxy/{MAP}) unless {{ var(txn.probe) -m bool }}
    http-request set-var(txn.stay) var(txn.shift),field(2,.) if {{ var(txn.shift) -m found }}
    http-request set-var(txn.move) var(txn.shift),field(3,.) if {{ var(txn.shift) -m found }}
    http-request set-var(txn.share) var(txn.shift),field(1,.) if {{ var(txn.shift) -m found }}
    http-request set-var(txn.stays) bool(true) if {{ var(txn.given),strcmp(txn.stay) eq 0 }}
    http-request set-var(txn.moves) bool(true) if {{ var(txn.given),strcmp(txn.move) eq 0 }}
    http-request set-var(txn.drawn) rand({WHOLE}),sub(txn.share) if {{ var(txn.shift) -m found }} \
!{{ var(txn.stays) -m bool }} !{{ var(txn.moves) -m bool }}
    http-request set-var(txn.moves) bool(true) if {{ var(txn.drawn) -m int lt 0 }}
    http-request set-var(txn.give) var(txn.stay) if {{ var(txn.drawn) -m found }}
    http-request set-var(txn.give) var(txn.move) if {{ var(txn.drawn) -m int lt 0 }}
    http-request set-var(txn.slot) var(txn.shift),field(4,.) if {{ var(txn.moves) -m bool }}
    http-request set-var(txn.safe) str()
    http-request set-var(txn.safe) str("; Secure") if {{ var(txn.scheme) -m str https }}
    http-response set-var(txn.cached) bool(true) if {{ res.hdr(Cache-Control) -m sub public s-maxage }}
    http-response add-header Set-Cookie "{_SET}%[var(txn.safe)]" if {{ var(txn.give) -m found }} \
!{{ var(txn.cached) -m bool }}
    http-response add-header Set-Cookie "{_END}%[var(txn.safe)]" if {{ var(txn.given) -m found }} \
!{{ var(txn.shift) -m found }} !{{ var(txn.cached) -m bool }}
""".strip()


@dataclass(frozen=True)
class Shared:
    """``thousandths`` of the new visitors go to ``slot``; ``mark``: names the shift."""

    slot: Slot
    thousandths: int
    mark: str


def map_value(shared: Shared, backend: str, token: str) -> str:
    """``token``: a secret of the proxy, so that no one can tell a release from a cookie."""
    stay, move = (_opaque(f"{token} {shared.mark} {backend} {word}") for word in ("stays", "moves"))
    return f"{shared.thousandths}.{stay}.{move}.{backend}"


def _opaque(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def thousandths(value: str) -> int:
    """From a value of the map."""
    return int(value.partition(".")[0])
