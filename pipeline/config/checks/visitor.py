"""How a check's request is made to look: it comes as a visitor's does, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from pipeline.config.fields import HeaderValue, SentHeader

Scheme = Literal["http", "https"]
SentHeaders = dict[SentHeader, HeaderValue]


class AsVisitor(Protocol):
    """The keys that such a check has."""

    @property
    def host(self) -> str | None: ...
    @property
    def scheme(self) -> str | None: ...
    @property
    def send(self) -> Mapping[str, str]: ...


def own_headers(check: AsVisitor) -> dict[str, str]:
    """The headers that the check itself decides."""
    host = {"Host": check.host} if check.host else {}
    scheme = {"X-Forwarded-Proto": check.scheme} if check.scheme else {}
    return {**host, **scheme, **check.send}


def with_headers(before: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """Both, the second ones instead of the first ones of the same name."""
    names = {name.lower() for name in more}
    return {**{name: value for name, value in before.items() if name.lower() not in names}, **more}
