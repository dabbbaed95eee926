"""Visitors stay with the container that answered them first: ``http.sticky``.

``sticky.map`` then has two entries for each container of the slot: ``e3-blue.c0ffee…``, by what the visitor's cookie
says, leads to the container's number, and ``e3-blue/172.30.0.2:8080``, by who answered, to what the cookie says. A slot
without entries is not sticky, so no change of it needs a reload.

A container that cannot be reached, and a cookie of another slot or a forged one, are as good as no cookie: the request
goes to any container, and its answer sets the cookie of that one. The value is a hash with the proxy's own secret: no
one reads an address from it. No application sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

COOKIE = "pushlive-server"
MAP = "sticky.map"

_SET = f"{COOKIE}=%[var(txn.keep)]; Path=%[var(txn.cookies)]; HttpOnly; SameSite=Lax"
_END = f"{COOKIE}=; Path=%[var(txn.cookies)]; Max-Age=0; HttpOnly; SameSite=Lax"

# In the public frontends, once the slot is known and before a container is chosen.
RULES = f"""
    http-request set-var(txn.kept) req.cook({COOKIE})
    http-request replace-header Cookie ^{COOKIE}=[^;]*(;[[:space:]]*(.*))?$ \\2 if {{ var(txn.kept) -m found }}
    http-request replace-header Cookie ^(.*);[[:space:]]*{COOKIE}=[^;]*(.*)$ \\1\\2 if {{ var(txn.kept) -m found }}
    http-request del-header Cookie if {{ var(txn.kept) -m found }} !{{ req.fhdr(Cookie) -m len 1: }}
    http-request set-var-fmt(txn.keeper) %[var(txn.slot)].%[var(txn.kept)] if {{ var(txn.kept) -m found }}
    http-request set-var(txn.stuck) var(txn.keeper),map(/proxy/{MAP}) if {{ var(txn.keeper) -m found }} \
!{{ var(txn.probe) -m bool }}
""".strip()

# In the public frontends, once it is known which container answered. An answer that shared caches may keep gets no
# cookie, see ``sharing``.
ANSWERS = f"""
    http-response set-var-fmt(txn.keeper) %[var(txn.slot)]/%[var(txn.server)]
    http-response set-var(txn.keep) var(txn.keeper),map(/proxy/{MAP})
    http-response add-header Set-Cookie "{_END}%[var(txn.safe)]" if {{ var(txn.kept) -m found }} \
!{{ var(txn.keep) -m found }} !{{ var(txn.own) -m bool }} !{{ var(txn.cached) -m bool }}
    http-response unset-var(txn.keep) if {{ var(txn.keep),strcmp(txn.kept) eq 0 }}
    http-response add-header Set-Cookie "{_SET}%[var(txn.safe)]" if {{ var(txn.keep) -m found }} \
!{{ var(txn.probe) -m bool }} !{{ var(txn.cached) -m bool }}
""".strip()

# In each backend of a slot. A server that the checks have taken out is passed over.
BACKEND = "    use-server s%[var(txn.stuck)] if { var(txn.stuck) -m found }"


def entries(backend: str, addresses: tuple[str, ...], token: str) -> Mapping[str, str]:
    """Those of one slot in the map. ``addresses``: "172.30.0.2:8080" of each container, in the order of the servers;
    ``token``: a secret of the proxy."""
    found = {}
    for number, address in enumerate(addresses, 1):
        said = hashlib.sha256(f"{token} {backend} {address} stays".encode()).hexdigest()[:16]
        found[f"{backend}.{said}"] = str(number)
        found[f"{backend}/{address}"] = said
    return found
