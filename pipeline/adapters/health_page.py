"""Asks a replica for its health page, and finds out whether it is the host name that it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.address.entries import named
from pipeline.config.checks.health import ANSWER, problem
from pipeline.config.checks.visitor import with_headers
from pipeline.domain.engine_types import Answer, Route, SlotSpec
from pipeline.errors import AppFailed, NothingListens, TryAgain
from pipeline.ports.probe import Probe

SAME = 10.0  # seconds of the same 4xx, after which it is looked into
REFUSALS = (400, 403, 421)  # what applications answer to a host name that they do not serve
_MISDIRECTED = 421  # says just that


@dataclass(frozen=True)
class Asked:
    """``said``: what came back, for people; ``refused``: nothing accepted the connection; ``status``: 0 without an
    answer."""

    ok: bool
    said: str
    refused: bool = False
    status: int = 0
    body: bytes = b""


@dataclass(frozen=True)
class Refused:
    """An application that refuses the host name. ``said``: its answer; ``accepts``: a name for which it is well, ""
    if none is known."""

    host: str
    path: str
    said: str
    accepts: str

    def error(self, replica: str, output: tuple[str, ...]) -> AppFailed:
        instead = f", and is well for {self.accepts}" if self.accepts else ""
        other = f"`health: {{path: {self.path}, host: {self.accepts or 'www.example.com'}}}`"
        return AppFailed(
            f"{replica} refuses the host name {self.host}: {self.said}{instead}.",
            advice=f"Allow {self.host} in the application (Django: ALLOWED_HOSTS, Rails: config.hosts), or let the "
            f"check come with a name that it serves: {other} in pipelines.yaml.",
            facts=(self.said,),
            evidence=output,
        )


class HealthPage:
    """That of one release. For any thread."""

    def __init__(self, probe: Probe, spec: SlotSpec) -> None:
        self._probe, self._port = probe, spec.config.service.port
        self._check, self._headers = spec.config.service.health, spec.health_headers
        self.host, self._scheme = self._headers["Host"], self._headers["X-Forwarded-Proto"]
        self._others = [
            host for host in (*named(spec.config.hosts), spec.ref.own_host, "localhost") if host != self.host
        ]

    def ask(self, address: str) -> Asked:
        """One request to the replica at that address."""
        try:
            return self._judged(self._get(address, self.host))
        except TryAgain as error:
            return Asked(False, error.message, isinstance(error, NothingListens))

    def refused_host(self, address: str, asked: Asked) -> Refused | None:
        """After an answer that was no healthy one: None unless another host name gets one with the same request, or the
        answer itself says that the host name is the reason."""
        accepts = self._accepts_instead(address, asked) if asked.status in REFUSALS else None
        return None if accepts is None else Refused(self.host, self._check.path, asked.said, accepts)

    def _accepts_instead(self, address: str, asked: Asked) -> str | None:
        for host in (*self._others, f"{address}:{self._port}"):
            try:
                if self._judged(self._get(address, host)).ok:
                    return host
            except TryAgain:
                continue
        return "" if asked.status == _MISDIRECTED or self.host.encode() in asked.body else None

    def _get(self, address: str, host: str) -> Answer:
        route = Route(f"http://{address}:{self._port}", with_headers(self._headers, {"Host": host}))
        return self._probe.get(route, self._check.path, ANSWER)

    def _judged(self, answer: Answer) -> Asked:
        wrong = problem(answer.status, answer.headers.get("location", ""), self.host, self._scheme)
        said = f"GET {self._check.path} answered {answer.status}"
        if wrong and 200 <= answer.status < 400:
            said = f"GET {self._check.path}: {wrong}"
        return Asked(not wrong, said, status=answer.status, body=answer.body)
