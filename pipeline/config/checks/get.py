"""``get``: an HTTP request through the proxy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from pipeline.config.checks.base import Answer, Asker, RepeatedCheck, Verdict
from pipeline.config.checks.visitor import Scheme, SentHeaders, own_headers
from pipeline.config.fields import Duration, HeaderName, Host, Limit, Text, UrlPath
from pipeline.lib.text import one_line
from pipeline.lib.units import is_number, show_duration, write_duration

_EXCERPT = 200  # characters of a body that are shown
_SEARCHED = 1 << 18  # characters that are searched for secrets first: more than the longest of them


class HttpCheck(RepeatedCheck):
    """Send a GET request to the new release, through the proxy, before it gets traffic."""

    get: UrlPath
    """The path of the request."""
    host: Host | None = None
    """The host name that the request comes with. Default: the environment's first one."""
    scheme: Scheme | None = None
    """What the application is told about the visitor's connection (`X-Forwarded-Proto`). Default: `https` if the
    proxy has a certificate for the environment's first host name, or if proxies in front of it are trusted; otherwise
    `http`."""
    send: SentHeaders = {}
    """Headers that the request has besides."""
    status: int = Field(default=200, ge=100, le=599)
    """The expected status. Redirects are not followed."""
    headers: dict[HeaderName, Text] = {}
    """Headers that the response must have, with these values."""
    contains: Text = ""
    """Text that the body must contain."""
    json_path: dict[Text, Text | int | float | bool | None] = Field(default={}, alias="json")
    """Values in a JSON body by path: `{"status.database": "ok", "items.0.id": 7}`."""
    within: Limit = 5.0
    """The time limit for the response."""
    retry: Duration = 3.0
    """How long a failing check is repeated before it counts as failed."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)
    ALWAYS_HASHED = frozenset({"get", "status", "headers", "contains", "json_path", "within", "retry"})
    KEY: ClassVar[str] = "get"
    EXAMPLE: ClassVar[str] = "{get: /path}"
    MEANT: ClassVar[tuple[str, ...]] = ("path", "url", "http")

    def show(self) -> str:
        host = f"//{self.host}" if self.host else ""
        scheme = f"{self.scheme}:" if self.scheme else ""
        return f"GET {scheme}{host}{self.get}"

    def unwise(self, service_port: int, alone: bool) -> Iterator[str]:
        del service_port, alone
        if self.retry > 60:
            yield f"is repeated for {write_duration(self.retry)}; a failure is reported that late"

    def perform(self, asker: Asker) -> Verdict:
        answer = asker.get(self.get, own_headers(self), self.within)
        problem = self.problem(answer, asker.without_secrets)
        return Verdict(not problem, problem or f"{answer.status} in {answer.seconds * 1000:.0f} ms")

    def problem(self, answer: Answer, redact: Callable[[str], str] = str) -> str:
        """What is wrong with the answer, or "". ``redact`` takes secrets out of the body before it is cut."""
        body = answer.body.decode("utf-8", "replace")
        if answer.status != self.status:
            location = one_line(redact(answer.headers.get("location", ""))[:_EXCERPT])
            to = f" (to {location})" if location else ""
            return f"status {answer.status}{to}, expected {self.status}{_excerpt(body, redact)}"
        if answer.seconds > self.within:
            return f"took {show_duration(answer.seconds)}, allowed {show_duration(self.within)}"
        for name, wanted in self.headers.items():
            got = answer.headers.get(name.lower())
            if got != wanted:
                return f"header {name} is {got!r}, expected {wanted!r}"
        if self.contains and self.contains not in body:
            return f"the body does not contain {self.contains!r}{_excerpt(body, redact)}"
        return _json_problem(self.json_path, body, redact) if self.json_path else ""


def _excerpt(body: str, redact: Callable[[str], str]) -> str:
    first = one_line(redact(body.strip()[:_SEARCHED])[:_EXCERPT])
    return f"; body begins {first!r}" if first else ""


def _json_problem(wanted: dict[str, Any], body: str, redact: Callable[[str], str]) -> str:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return f"the body is not JSON{_excerpt(body, redact)}"
    for path, value in wanted.items():
        try:
            got = json_at(document, path)
        except LookupError:
            return f"JSON has no {path!r}"
        if got != value or isinstance(got, bool) != isinstance(value, bool):
            return f"JSON {path} is {got!r}, expected {value!r}"
    return ""


def json_at(document: Any, path: str) -> Any:
    """The value at a dotted path; numbers are indices of lists. Raises LookupError."""
    for part in path.split("."):
        if isinstance(document, dict):
            document = document[part]
        elif isinstance(document, list) and is_number(part):
            document = document[int(part)]
        else:
            raise LookupError(path)
    return document
