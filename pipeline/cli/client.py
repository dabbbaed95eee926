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

from pipeline.cli.context import NotAllowed, Unreachable
from pipeline.errors import ConfigError, NotFound, PushliveError, RequestError

DEFAULT_URL = "http://127.0.0.1:7070"
NO_SUCH_CALL = "docs/api.md lists all calls."  # what the service says of a path that it does not have
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANSWER_LIMIT = 64 << 20
TRANSFER_SILENCE = 900.0  # seconds: the command before a backup, or a start after a restore, may take long
_ADVICE = (
    "Run `pushlive token create NAME` on the service's machine and put the token "
    "into PUSHLIVE_TOKEN or ~/.config/pushlive/token."
)


_KINDS: dict[int, type[PushliveError]] = {
    400: ConfigError,
    404: NotFound,
    409: RequestError,
    413: ConfigError,
    421: ConfigError,
    502: Unreachable,
    504: Unreachable,
}


def failed(message: Mapping[str, Any]) -> PushliveError:
    """The error in a streamed answer, whose status line was sent before."""
    status = int(message.get("status") or 500)
    kinds = {403: NotAllowed, 503: Unreachable} | _KINDS
    kind = kinds.get(status, PushliveError)
    return kind(str(message["error"]), advice=str(message.get("advice") or ""))


class Where(NamedTuple):
    """The service's address, the token, and where the token was found (or looked for)."""

    url: str
    token: str
    found: str


def data_folder(environ: Mapping[str, str]) -> Path:
    """As in ``pipeline.config.settings``; importing that would take longer than the whole command."""
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
        raise ConfigError(
            f"PUSHLIVE_URL={url!r} is not an http or https URL.", advice=f"Example: {DEFAULT_URL}."
        )
    return parts


def _token_files(environ: Mapping[str, str], local: bool) -> Iterator[Path]:
    if environ.get("PUSHLIVE_TOKEN_FILE"):
        yield Path(environ["PUSHLIVE_TOKEN_FILE"]).expanduser()
    if local:  # never send the local service's own token to another machine
        yield data_folder(environ) / "token"
    yield Path(environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "pushlive" / "token"


def where(environ: Mapping[str, str]) -> Where:
    """The service to talk to. Raises ConfigError for a malformed address or token."""
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


def trace(environ: Mapping[str, str]) -> dict[str, str]:
    """The headers for ``TRACEPARENT`` and ``TRACESTATE``, with which a job of a CI system says which trace it is a
    part of; none if they are not set, or not as they should be."""
    if not environ.get("TRACEPARENT"):
        return {}
    from pipeline.domain.tracing.context import read

    parent = environ["TRACEPARENT"]
    found = read([parent], [environ.get("TRACESTATE", "")])
    state = {"tracestate": found.state} if found.state else {}
    return {"traceparent": parent, **state} if found.trace else {}


def _checked(place: Where) -> Where:
    _split(place.url)
    if not place.token.isascii() or not place.token.isprintable() or " " in place.token:
        raise ConfigError(f"{place.found} does not contain a valid token.", advice=_ADVICE)
    return place


def refusal(status: int, retry: str, raw: bytes, place: Where) -> PushliveError:
    """The error for an answer that is not 2xx. ``retry`` is its Retry-After header."""
    try:
        answer = json.loads(raw)
        text, advice = str(answer["error"]), str(answer.get("advice") or "")
        version = str(answer.get("version") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text, advice, version = "", "", ""
    if status in (404, 405) and advice == NO_SUCH_CALL:
        return _unknown_call(version, place)
    if status == 401:
        if not place.token:
            return NotAllowed(
                f"{place.url} requires a token, and none was found in {place.found}.", advice=_ADVICE
            )
        why = f": {text}" if text else ""
        return NotAllowed(f"{place.url} rejected the token from {place.found}{why}.", advice=_ADVICE)
    if status == 403:
        return NotAllowed(text or f"{place.url} does not allow this.", advice=advice or _ADVICE)
    if not text and status in (400, 404, 421):
        return _stranger(status, place)
    if status in (429, 503):
        seconds = retry if retry.isdigit() else "a few"
        advice = advice or f"Try again in {seconds} seconds; `pushlive doctor` checks every part."
        return Unreachable(text or f"{place.url} cannot answer now ({status}).", advice=advice)
    kind = _KINDS.get(status, PushliveError)
    if not text:
        text = f"{place.url} answered {status}."
        advice = "The service's output says why; `pushlive doctor` checks every part."
    return kind(text, advice=advice)


def _unknown_call(version: str, place: Where) -> PushliveError:
    """The service has no such call: it is older than this command line, or newer. ``version``: the service's, "" if it
    does not tell it."""
    service = f"version {version}" if version else "an earlier version"
    return NotFound(
        f"the service at {place.url} is {service} and does not know this call of {_own_version()}.",
        advice="Update the older of the two: the service as docs/operations.md (Upgrade) says, this command line "
        "from the same source.",
    )


def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"pushlive {version('pushlive')}"
    except PackageNotFoundError:
        return "this pushlive"


def _stranger(status: int, place: Where) -> PushliveError:
    return Unreachable(
        f"{place.url} answered {status}, but it is not Pushlive.",
        advice="Set PUSHLIVE_URL to the service's address.",
    )


class Client:
    """Calls of the API. Raises NotAllowed, NotFound, RequestError, ConfigError or Unreachable."""

    def __init__(
        self,
        place: Where,
        timeout: float = 60.0,
        silence: float = 35.0,
        trace: Mapping[str, str] | None = None,
    ) -> None:
        """``timeout``: seconds for one answer; ``silence``: seconds after which a stream counts as dead; ``trace``:
        headers of the trace that the command is a part of."""
        self.place = place
        self._trace = trace or {}
        self.skew = 0.0  # seconds that this clock is ahead of the service's
        self._timeout = timeout
        self._silence = silence

    def now(self) -> float:
        """The service's wall clock, as far as it is known."""
        return time.time() - self.skew

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The decoded JSON of the answer to one call."""
        with self._answer(method, path, body, self._timeout) as answer:
            raw = answer.read(_ANSWER_LIMIT)
        try:
            return json.loads(raw) if raw else {}
        except (ValueError, RecursionError) as error:
            raise _stranger(answer.status, self.place) from error

    def lines(self, path: str, method: str = "GET", body: Mapping[str, Any] | None = None) -> Iterator[str]:
        """The lines of a streamed answer, each as soon as it is complete."""
        pending = b""
        with self._answer(method, path, body, self._silence) as answer:
            while chunk := answer.read1(1 << 16):
                *complete, pending = (pending + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in complete)
            if pending:
                yield pending.decode(errors="replace")

    def pieces(self, path: str) -> Iterator[bytes]:
        """A streamed answer as it comes."""
        with self._answer("GET", path, None, TRANSFER_SILENCE) as answer:
            while piece := answer.read1(1 << 16):
                yield piece

    def send(self, method: str, path: str, pieces: Iterator[bytes]) -> Any:
        """The decoded JSON of the answer to a body of any length."""
        with self._answer(method, path, pieces, TRANSFER_SILENCE) as answer:
            raw = answer.read(_ANSWER_LIMIT)
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise _stranger(answer.status, self.place) from error

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | Iterator[bytes] | None, timeout: float
    ) -> Iterator[http.client.HTTPResponse]:
        """A successful answer, ready to be read. A connection that fails, now or while it is read, raises
        Unreachable."""
        parts = _split(self.place.url)
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        data = json.dumps(body).encode() if isinstance(body, Mapping) else body
        streamed, where = isinstance(body, Iterator), parts.path.rstrip("/") + path
        try:
            try:
                connection.request(
                    method, where, data, self._headers(isinstance(body, Mapping)), encode_chunked=streamed
                )
            except BrokenPipeError:
                if not streamed:
                    raise  # the service refused the rest: its answer says why
            with connection.getresponse() as answer:
                self._set_skew(answer.getheader("Date", ""))
                if not 200 <= answer.status < 300:
                    retry = answer.getheader("Retry-After", "")
                    raise refusal(answer.status, retry, answer.read(1 << 20), self.place)
                yield answer
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _headers(self, has_body: bool) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Connection": "close",
            "User-Agent": "pushlive",
            **self._trace,
        }
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
        # The header has whole seconds, so a small difference means nothing.
        self.skew = skew if abs(skew) > 2 else 0.0

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            why = "no answer in time"
        elif isinstance(error, ConnectionRefusedError):
            why = "connection refused"
        else:
            why = str(error).strip() or type(error).__name__
        return Unreachable(
            f"cannot reach the service at {self.place.url} ({why}).",
            advice="Start it with `pushlive up`, or set PUSHLIVE_URL if it runs elsewhere.",
        )
