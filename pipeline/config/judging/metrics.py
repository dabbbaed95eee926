"""The `metrics` key of an environment: where its requests and errors are counted, if its engine does not count them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from pipeline.config import validators
from pipeline.config.fields import Model, Words

WORDS = ("namespace", "service", "slot", "pods", "pipeline", "environment")
_WORD = re.compile(r"\$(\w+)")
_MINE = 'ingress="$service"'
_NGINX = "nginx_ingress_controller_requests"
_NGINX_TIMES = "nginx_ingress_controller_request_duration_seconds_bucket"


def _nginx(more: str = "", name: str = _NGINX) -> str:
    """ingress-nginx counts by Ingress. Prometheus calls the namespace that it names `exported_namespace`, unless it was
    told to honor labels."""
    return " or ".join(
        f'{name}{{{label}="$namespace",{_MINE}{more}}}' for label in ("exported_namespace", "namespace")
    )


REQUESTS, ERRORS = _nginx(), _nginx(',status=~"5.."')
# A connection that stays open is not slow, and an error not fast. Added up there are a few dozen series for each pod of
# the controller, whatever is asked for. They begin again with it, as each of them does.
_OF_TIMES = _nginx(',status!~"1..|5.."', _NGINX_TIMES)
LATENCY = f"sum without (status, method, path, canary) ({_OF_TIMES})"


def _query(text: str) -> str:
    unknown = [word for word in _WORD.findall(text) if word not in WORDS]
    if unknown:
        known = ", ".join(f"${word}" for word in WORDS)
        raise ValueError(f"${unknown[0]} stands for nothing; allowed are {known}")
    if not text.isprintable():
        raise ValueError("has a character that cannot be printed; write the query in one line")
    return text


def _filled(query: str, words: Mapping[str, str]) -> str:
    return _WORD.sub(lambda match: words[match[1]], query)


Query = Annotated[
    str, AfterValidator(_query), Field(max_length=2000), Words("a PromQL query that gives counters")
]


class Metrics(Model):
    """A Prometheus that counts what the environment answers, for an engine that does not: a cluster."""

    prometheus: Annotated[
        str, AfterValidator(validators.prometheus), Words("a URL such as https://prometheus.example.com")
    ]
    """Its URL; `/api/v1/query` is added."""
    requests: Query = ""
    """The counters of all answers. `$namespace`, `$service` and `$pods` stand for the namespace, the name of the
    environment's Service and Ingress, and a regular expression for the pods of the slot that serves; `$slot`,
    `$pipeline` and `$environment` for their names. Default: those of ingress-nginx."""
    errors: Query = ""
    """The counters of the answers with an error. Default: those of ingress-nginx with a status of 5xx."""
    latency: Query = ""
    """The buckets of the histograms of the time that answers take, in seconds (`…_bucket`, with the label `le`).
    Default: those of ingress-nginx without errors; with other `requests` and `errors` none, and answers are not
    compared by time."""
    token: Annotated[str, AfterValidator(validators.secret_name), Words("the name of a secret")] = ""
    """The name of the secret with the token that is sent along, set by `pushlive secret set`."""

    @model_validator(mode="after")
    def _whole(self) -> Metrics:
        if bool(self.requests) != bool(self.errors):
            there, missing = ("requests", "errors") if self.requests else ("errors", "requests")
            raise ValueError(f"has `{there}` but no `{missing}`; give both queries, or neither")
        if self.token and self.prometheus.startswith("http://"):
            raise ValueError("`token` would be sent unencrypted; write https://… or leave the token out")
        return self

    def queries(self, words: Mapping[str, str]) -> tuple[str, str]:
        """Those for requests and for errors. ``words``: what each of WORDS stands for."""
        return _filled(self.requests or REQUESTS, words), _filled(self.errors or ERRORS, words)

    def latency_query(self, words: Mapping[str, str]) -> str:
        """That for the time that answers take; "" if they are not compared by it. ``words``: as in ``queries``."""
        return _filled(self.latency or ("" if self.requests else LATENCY), words)

    @property
    def times(self) -> bool:
        """Answers are compared by time."""
        return bool(self.latency or not self.requests)

    @property
    def tells_slots_apart(self) -> bool:
        """The queries ask for the answers of one slot. Those of ingress-nginx do not: it counts by Ingress."""
        return all("$slot" in one or "$pods" in one for one in (self.requests, self.errors))

    @property
    def tells_times_apart(self) -> bool:
        """The same of the query for the time that answers take."""
        return "$slot" in self.latency or "$pods" in self.latency

    def __str__(self) -> str:
        return self.prometheus + (", with its own queries" if self.requests or self.latency else "")
