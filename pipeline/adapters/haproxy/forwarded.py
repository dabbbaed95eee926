"""What an application is told about its visitor: by us, or by a proxy in front of us that is trusted.

Of anyone else nothing is passed on in ``Forwarded``, ``X-Real-IP`` and ``X-Forwarded-*``. Application servers read
``X_Real_IP`` as ``X-Real-IP``, so the same names with underscores are passed on for no one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

# HAProxy has all names in lower case.
_OURS = "^(forwarded|x-real-ip|x-forwarded.*)$"
_UNDERSCORED = "^x(_(real|forwarded|pushlive)|-real_|-forwarded.*_|-pushlive.*_)"

_RULES = f"""
    http-request del-header {_UNDERSCORED} -m reg
    http-request del-header {_OURS} -m reg unless {{ var(txn.trusted) -m bool }}
    http-request set-var(txn.scheme) str(http)
    http-request set-var(txn.scheme) str(https) if {{ ssl_fc }}
    http-request set-var(txn.said) req.hdr(X-Forwarded-Proto,-1),lower
    http-request set-var(txn.scheme) var(txn.said) if {{ var(txn.said) -m str http https }}
    http-request set-header X-Forwarded-Proto %[var(txn.scheme)]
    http-request set-var(txn.visitor) src
    http-request set-var(txn.visitor) req.hdr_ip(X-Forwarded-For,-1) if {{ req.hdr_ip(X-Forwarded-For,-1) -m found }}
    http-request set-header X-Real-IP %[var(txn.visitor)] unless {{ req.fhdr(X-Real-IP) -m found }}
    # One line, if possible: some servers read only the first one, some only the last one.
    http-request set-var(txn.for) str() if {{ req.fhdr_cnt(X-Forwarded-For) eq 1 }}
    http-request set-header X-Forwarded-For "%[req.fhdr(X-Forwarded-For)], %[src]" if {{ var(txn.for) -m found }}
    http-request add-header X-Forwarded-For %[src] unless {{ var(txn.for) -m found }}
""".strip("\n")


def forwarded(trusted: Sequence[str]) -> str:
    """Rules for a frontend. ``trusted``: addresses and networks of proxies that are believed."""
    networks = [
        ipaddress.ip_network(one.partition("%")[0]) for one in trusted
    ]  # a line each: HAProxy limits the words of a line
    lines = [f"    http-request set-var(txn.trusted) bool(true) if {{ src {one} }}" for one in networks]
    return "\n".join([*lines, _RULES])
