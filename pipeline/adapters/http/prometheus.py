"""Counters from a Prometheus, by its HTTP API: ``POST /api/v1/query``, an instant query.

See https://prometheus.io/docs/prometheus/latest/querying/api/ for the format of its answers.
"""

from __future__ import annotations

import json
import math
from contextlib import closing
from typing import Any
from urllib.parse import urlencode, urlsplit

from pipeline.adapters.http.post import GRACE, connection_to
from pipeline.adapters.http.probe import BROKEN, is_late, reason
from pipeline.errors import TryAgain
from pipeline.lib.bounded import Late, TooManyLeft, bounded
from pipeline.lib.secret import Secret
from pipeline.lib.sockets import within
from pipeline.lib.text import one_line

TIMEOUT = 5.0  # seconds for one answer
BODY = 4 << 20  # bytes of an answer
SERIES = 5000  # of one query
SAID = 200  # characters of what it says itself


class Prometheus:
    """See ``ports.judging.Figures``. Stateless; safe to use from any thread."""

    def counters(self, url: str, query: str, token: Secret | None) -> dict[str, float]:
        try:
            status, body = bounded(
                lambda: _asked(url, query, token), TIMEOUT + GRACE, name=f"Prometheus {urlsplit(url).netloc}"
            )
        except BROKEN as error:
            why = f"no answer within {TIMEOUT:g} s" if is_late(error) else reason(error)
            raise _failed(url, why) from error
        except Late as error:
            raise _failed(url, f"no answer within {TIMEOUT:g} s") from error
        except TooManyLeft as error:
            raise _failed(url, "earlier questions are still waiting for an answer") from error
        return _series(url, status, body)


def _asked(url: str, query: str, token: Secret | None) -> tuple[int, bytes]:
    path = urlsplit(url).path.rstrip("/") + "/api/v1/query"
    body = urlencode({"query": query, "timeout": f"{TIMEOUT:g}s"})
    headers = {
        "User-Agent": "pushlive", "Accept": "application/json", "Connection": "close",
        "Content-Type": "application/x-www-form-urlencoded",
    }  # fmt: skip
    if token:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    with within(TIMEOUT), closing(connection_to(url, TIMEOUT)) as connection:
        connection.request("POST", path, body.encode(), headers, preload_content=False, decode_content=False)
        with closing(connection.getresponse()) as response:
            return int(response.status), response.read(BODY + 1)


def _series(url: str, status: int, body: bytes) -> dict[str, float]:
    """Raises TryAgain for any answer but that of a Prometheus to a query that it could follow."""
    if len(body) > BODY:
        raise _failed(url, f"its answer has more than {BODY >> 20} MiB; ask for fewer series")
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            raise _failed(url, f"it answered {status}: {one_line(str(answer.get('error', '')))[:SAID]}")
        data = answer["data"]
        if data["resultType"] == "scalar":
            return {"": _number(data["result"])}
        if data["resultType"] != "vector":
            raise _failed(url, "the query gives a range; write one that gives a value for each series")
        found = {json.dumps(one["metric"], sort_keys=True): _number(one["value"]) for one in data["result"]}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise _failed(url, f"it answered {status}, but not as Prometheus does") from error
    if len(found) > SERIES:
        raise _failed(url, f"the query gives {len(found)} series; ask for {SERIES} at most")
    return {labels: value for labels, value in found.items() if math.isfinite(value) and value >= 0}


def _number(value: Any) -> float:
    """Of ``[1700000000.0, "17"]``."""
    return float(value[1])


def _failed(url: str, why: str) -> TryAgain:
    parts = urlsplit(url)
    return TryAgain(f"Prometheus at {parts.scheme}://{parts.netloc}: {why}.")
