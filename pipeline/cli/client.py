"""A thin client of the HTTP API (``docs/api.md``) on ``http.client``: one connection for each call."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pipeline.errors import ConfigError, NotFound, PushliveError, RequestError, TryAgain

DEFAULT_URL = "http://127.0.0.1:7070"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANSWER_LIMIT = 64 << 20
_TO_GET_IN = (
    "`pushlive token create NAME` where the service runs prints a token; "
    "put it into PUSHLIVE_TOKEN or into ~/.config/pushlive/token."
)


class Unreachable(TryAgain):
    """No answer, or one that says "not now"."""


class NotAllowed(PushliveError):
    """No token, a wrong one, or one whose role is not enough."""


_KINDS: dict[int, type[PushliveError]] = {
    400: ConfigError,
    404: NotFound,
    409: RequestError,
    413: ConfigError,
    421: ConfigError,
    502: Unreachable,
    504: Unreachable,
}


class Where(NamedTuple):
    """The service's address, the token, and where the token was found (or was looked for)."""

    url: str
    token: str
    found: str


def data_folder(environ: Mapping[str, str]) -> Path:
    """The rule of ``pipeline.config.settings``, repeated: importing that costs more than the whole command."""
    if environ.get("PUSHLIVE_DATA"):
        return Path(environ["PUSHLIVE_DATA"]).expanduser()
    return Path(environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "pushlive"


def _url(environ: Mapping[str, str]) -> str:
    if environ.get("PUSHLIVE_URL"):
        return environ["PUSHLIVE_URL"].rstrip("/")
    if listen := environ.get("PUSHLIVE_LISTEN", ""):
        host, _, port = listen.rpartition(":")
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '', '[::]') else host}:{port}"  # noqa: S104 - compared, not bound
    return DEFAULT_URL


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(f"PUSHLIVE_URL={url!r} is not an address.", advice=f"Write e.g. {DEFAULT_URL}.")
    return parts


def _token_files(environ: Mapping[str, str], local: bool) -> Iterator[Path]:
    if environ.get("PUSHLIVE_TOKEN_FILE"):
        yield Path(environ["PUSHLIVE_TOKEN_FILE"]).expanduser()
    if local:  # a local service's own token is nothing that another machine should be shown
        yield data_folder(environ) / "token"
    yield Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "pushlive" / "token"


def where(environ: Mapping[str, str]) -> Where:
    """The service to talk to. Raises ConfigError for an address or a token that cannot be one."""
    url = _url(environ)
    if token := environ.get("PUSHLIVE_TOKEN", "").strip():
        return _checked(Where(url, token, "PUSHLIVE_TOKEN"))
    looked = ["PUSHLIVE_TOKEN"]
    for path in _token_files(environ, _split(url).hostname in _LOOPBACK):
        looked.append(str(path))
        try:
            token = path.read_text(errors="replace").strip()
        except OSError:
            continue
        if token:
            return _checked(Where(url, token, str(path)))
    return Where(url, "", ", ".join(looked))


def _checked(place: Where) -> Where:
    _split(place.url)
    if not place.token.isascii() or not place.token.isprintable() or " " in place.token:
        raise ConfigError(f"what {place.found} holds cannot be a token.", advice=_TO_GET_IN)
    return place


def refusal(status: int, retry: str, raw: bytes, place: Where) -> PushliveError:
    """The error for an answer that is not 2xx, by its status."""
    try:
        answer = json.loads(raw)
        text, advice = str(answer["error"]), str(answer.get("advice") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text, advice = "", ""
    if status == 401:
        had = (
            f"does not take the token from {place.found}" if place.token else "wants a token, none was found"
        )
        looked = (f": {text}" if text else "") if place.token else f" (looked at {place.found})"
        return NotAllowed(f"{place.url} {had}{looked}.", advice=_TO_GET_IN)
    if status == 403:
        return NotAllowed(text or f"{place.url} does not allow this.", advice=advice or _TO_GET_IN)
    if not text and status in (400, 404, 421):
        return _stranger(status, place)
    if status in (429, 503):
        soon = (
            advice
            or f"Try again in {retry if retry.isdigit() else 'a few'} seconds; `pushlive doctor` says more."
        )
        return Unreachable(text or f"{place.url} cannot answer now ({status}).", advice=soon)
    kind = _KINDS.get(status, PushliveError)
    if not text:
        text = f"{place.url} answered {status}."
        advice = "The service's own log says why; `pushlive doctor` looks at the parts."
    return kind(text, advice=advice)


def _stranger(status: int, place: Where) -> PushliveError:
    return Unreachable(
        f"something answers {status} at {place.url}, but not as Pushlive does.",
        advice="Set PUSHLIVE_URL to the service's address.",
    )


class Client:
    """Calls of the API. Raises NotAllowed, NotFound, RequestError, ConfigError or Unreachable."""

    def __init__(self, place: Where, timeout: float = 60.0, silence: float = 35.0) -> None:
        """``timeout``: seconds for one answer; ``silence``: seconds after which a stream counts as dead."""
        self.place = place
        self.skew = 0.0  # seconds that this clock is ahead of the service's
        self._timeout = timeout
        self._silence = silence

    def now(self) -> float:
        """The service's wall clock, as far as it is known."""
        return time.time() - self.skew

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One call; the decoded JSON of its answer."""
        with self._answer(method, path, body, self._timeout) as answer:
            raw = answer.read(_ANSWER_LIMIT)
        try:
            return json.loads(raw) if raw else {}
        except (ValueError, RecursionError) as error:
            raise _stranger(answer.status, self.place) from error

    def lines(self, path: str) -> Iterator[str]:
        """The lines of a streamed answer, each as soon as it is complete."""
        pending = b""
        with self._answer("GET", path, None, self._silence) as answer:
            while chunk := answer.read1(1 << 16):
                *complete, pending = (pending + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in complete)
            if pending:
                yield pending.decode(errors="replace")

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to be read, when it is one of success. What goes wrong with the connection before or
        while it is read is raised as Unreachable."""
        parts = _split(self.place.url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, parts.path.rstrip("/") + path, data, self._headers(data is not None))
            with connection.getresponse() as answer:
                self._set_skew(answer.getheader("Date", ""))
                if not 200 <= answer.status < 300:
                    retry = answer.getheader("Retry-After", "")
                    raise refusal(answer.status, retry, answer.read(1 << 20), self.place)
                yield answer
        except (OSError, http.client.HTTPException) as error:
            raise self._silent(error) from error
        finally:
            connection.close()

    def _headers(self, has_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "pushlive"}
        if self.place.token:
            headers["Authorization"] = f"Bearer {self.place.token}"
        if has_body:
            headers["Content-Type"] = "application/json"
        return headers

    def _set_skew(self, date: str) -> None:
        try:
            skew = time.time() - parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        # The header counts whole seconds: a small difference is none.
        self.skew = skew if abs(skew) > 2 else 0.0

    def _silent(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            why = "no answer in time"
        elif isinstance(error, ConnectionRefusedError):
            why = "connection refused"
        else:
            why = str(error) or type(error).__name__
        return Unreachable(
            f"the service is not reachable at {self.place.url} ({why}).",
            advice="`pushlive up` starts it; for one elsewhere set PUSHLIVE_URL.",
        )
