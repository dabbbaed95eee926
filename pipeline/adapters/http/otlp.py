"""Spans over OTLP/HTTP by OpenTelemetry's own exporter, which reads the standard variables ``OTEL_…`` itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.domain.tracing.spans import Span
from pipeline.errors import ConfigError, RequestError, TryAgain
from pipeline.lib.bounded import Late, TooManyLeft, bounded
from pipeline.lib.text import summary, without_path

PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
CREDENTIALS = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)
LONGEST = 30.0  # seconds for one trace, whatever OTEL_EXPORTER_OTLP_TIMEOUT says
REFUSED = (400, 413, 422)  # this trace, not every trace: https://opentelemetry.io/docs/specs/otlp/#failures-1
INSTALL = "`pip install 'pushlive[otel]'` installs it; restart the service after it."


def wanted(env: Mapping[str, str] = os.environ) -> bool:
    """True if the standard variables ask for traces."""
    if (
        env.get("OTEL_SDK_DISABLED", "").lower() == "true"
        or env.get("OTEL_TRACES_EXPORTER", "otlp") == "none"
    ):
        return False
    return bool(endpoint(env))


def endpoint(env: Mapping[str, str] = os.environ) -> str:
    return next((env[name] for name in ENDPOINTS if env.get(name)), "")


def missing() -> str:
    """What has to be installed first, "" if nothing."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter
        import opentelemetry.sdk.trace  # noqa: F401
    except ImportError as error:
        return f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed ({error.name})."
    return ""


def unspoken(env: Mapping[str, str] = os.environ) -> ConfigError | None:
    """What the variables ask for and is not spoken here; None if nothing."""
    asked = next((name for name in PROTOCOLS if env.get(name)), "")
    if asked and env[asked] != SPOKEN:
        return ConfigError(
            f"{asked} is {summary(env[asked], 40)}, and Pushlive sends traces by {SPOKEN} only.",
            advice=f"Set {asked}={SPOKEN} and the collector's endpoint for it, such as http://collector:4318, and "
            "restart the service.",
        )
    exporters = env.get("OTEL_TRACES_EXPORTER", "otlp")
    if "otlp" not in exporters.split(","):
        return ConfigError(
            f"OTEL_TRACES_EXPORTER is {summary(exporters, 40)}, and Pushlive sends traces by otlp only.",
            advice="Set it to otlp, or to none for no traces, and restart the service.",
        )
    return None


class _Last:
    """What came of the last request; the exporter itself only says that something failed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.status, self.why = 0, ""

    def session(self) -> Any:
        """A session for the exporter; None for its own if a provider of credentials makes that."""
        if any(os.environ.get(name) for name in CREDENTIALS):
            return None
        from requests import Session

        found: Any = Session()
        send = found.send

        def sent(*arguments: Any, **more: Any) -> Any:
            self.clear()
            try:
                answer = send(*arguments, **more)
            except Exception as error:
                late = "timeout" in type(error).__name__.lower()
                self.why = "gives no answer in time" if late else "cannot be reached"
                raise
            self.status = answer.status_code
            self.why = (
                f"does not accept traces: {answer.status_code} {summary(answer.reason or '', 60)}".rstrip()
            )
            return answer

        found.send = sent
        return found


class OtlpSender:
    """``version``, ``instance``: of the service. Imports OpenTelemetry at the first span."""

    def __init__(self, version: str, instance: str) -> None:
        self._version, self._instance = version, instance
        self._exporter: Any = None
        self._last = _Last()

    def check(self) -> None:
        if problem := unspoken():
            raise problem
        if text := missing():
            raise ConfigError(text, advice=INSTALL)

    def send(self, spans: Sequence[Span]) -> None:
        self.check()
        from opentelemetry.sdk.trace.export import SpanExportResult

        where = summary(without_path(endpoint()), 200)
        self._last.clear()
        try:
            exporter = self._exporter or self._connect()
            made = [self._readable(one) for one in spans]
            # A receiver that sends a byte now and then would keep the exporter's own limit from ever ending.
            result = bounded(lambda: exporter.export(made), LONGEST, name="traces", most=2)
        except (Late, TooManyLeft) as error:
            self._exporter = None
            raise self._not_sent(where, "gives no answer in time") from error
        except Exception as error:
            raise TryAgain(
                f"traces cannot be sent to {where}: {type(error).__name__}: {summary(str(error), 200)}.",
                advice="Check the OTEL_EXPORTER_OTLP_… variables of the service.",
            ) from error
        if result != SpanExportResult.SUCCESS:
            if self._last.status in REFUSED:
                raise RequestError(f"{where} {self._last.why}. This trace is left out.")
            raise self._not_sent(where, self._last.why or "does not accept traces")

    def _not_sent(self, where: str, why: str) -> TryAgain:
        grpc = " Port 4317 is usually that of gRPC; over HTTP it is 4318." if where.endswith(":4317") else ""
        return TryAgain(
            f"{where} {why}. Runs go on; the traces of a day are tried again.",
            advice=f"Check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS.{grpc}",
        )

    def _connect(self) -> Any:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        # It would say in its own words, at each try, what is said here once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter(session=self._last.session())
        return self._exporter

    def _readable(self, span: Span) -> Any:
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(number: str) -> SpanContext:
            flags = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(int(span.trace, 16), int(number, 16), is_remote=False, trace_flags=flags)

        status = Status(StatusCode.UNSET)
        if span.ok is not None:
            status = Status(StatusCode.OK) if span.ok else Status(StatusCode.ERROR, span.error or None)
        return ReadableSpan(
            span.name,
            context=context(span.id),
            parent=context(span.parent) if span.parent else None,
            resource=self._resource(),
            attributes=span.attributes,
            kind=SpanKind.INTERNAL,
            status=status,
            start_time=int(span.began * 1e9),
            end_time=int(span.ended * 1e9),
            instrumentation_scope=InstrumentationScope("pushlive", self._version),
        )

    def _resource(self) -> Any:
        from opentelemetry.sdk.resources import Resource

        own = {"service.version": self._version, "service.instance.id": self._instance}
        if not os.environ.get("OTEL_SERVICE_NAME") and "service.name=" not in os.environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        ):
            own["service.name"] = "pushlive"
        return Resource.create(own)
