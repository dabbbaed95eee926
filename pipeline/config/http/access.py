"""The keys of `http` that say who is let in, and how they are written."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.config import validators
from pipeline.config.fields import Words

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MOST = 100  # of either in one environment

_USER = re.compile(r"[^\x00-\x1f\x7f-\x9f:\ud800-\udfff]{1,128}")


def user(text: str) -> str:
    """A name that a browser can send."""
    if ":" in text:
        raise ValueError(f"{text[:80]!r} has a colon, which ends the name in what a browser sends; remove it")
    if not _USER.fullmatch(text):
        raise ValueError("is not a user's name; write at most 128 characters without control characters")
    return text


def password_name(text: str) -> str:
    """The name of the secret that has a password."""
    if not text:
        raise ValueError("is empty; write the name of a secret that has the password")
    return validators.secret_name(text)


def network(text: str) -> str:
    """An address or a network, as everyone would write it."""
    try:
        found = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            f"{text[:80]!r} is not an address or a network; write for example 10.0.0.0/8 or 2001:db8::/32"
        ) from None
    if isinstance(found, ipaddress.IPv6Network) and (found.network_address.scope_id or "%" in text):
        raise ValueError(
            f"{text[:80]!r} has a zone, which only one machine knows; leave out what follows `%`"
        )
    if (
        isinstance(found, ipaddress.IPv6Network)
        and found.prefixlen >= 96
        and found.network_address.ipv4_mapped
    ):
        plain = f"{found.network_address.ipv4_mapped}/{found.prefixlen - 96}"
        raise ValueError(f"{text[:80]!r} is a network of IPv4; write {plain}")
    if ipaddress.ip_interface(text.strip()).ip != found.network_address:
        raise ValueError(f"{text[:80]!r} is an address inside a network; write {found}, or the address alone")
    return str(found)


Basic = Annotated[
    dict[
        Annotated[str, AfterValidator(user), Words("the name of a user")],
        Annotated[str, AfterValidator(password_name), Words("the name of a secret")],
    ],
    Field(max_length=MOST),
]
Allowed = Annotated[
    tuple[
        Annotated[
            str,
            AfterValidator(network),
            Words("addresses and networks such as 203.0.113.7, 10.0.0.0/8 or 2001:db8::/32"),
        ],
        ...,
    ],
    Field(max_length=MOST),
]
