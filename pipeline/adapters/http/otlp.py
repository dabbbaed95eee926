"""Spans over OTLP/HTTP by OpenTelemetry's own exporter, which reads the standard variables ``OTEL_…`` itself."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.domain.tracing.spans import Span
from pipeline.errors import ConfigError, TryAgain
from pipeline.lib.text import summary, without_path

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
TIMEOUT = 10.0  # seconds, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise
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


class OtlpSender:
    """``version``, ``instance``: of the service. Imports OpenTelemetry at the first span."""

    def __init__(self, version: str, instance: str) -> None:
        self._version, self._instance = version, instance
        self._exporter: Any = None

    def send(self, spans: Sequence[Span]) -> None:
        if problem := missing():
            raise ConfigError(problem, advice=INSTALL)
        from opentelemetry.sdk.trace.export import SpanExportResult

        where = summary(without_path(endpoint()), 200)
        try:
            exporter = self._exporter or self._connect()
            result = exporter.export([self._readable(one) for one in spans])
        except Exception as error:
            raise TryAgain(
                f"traces cannot be sent to {where}: {type(error).__name__}: {summary(str(error), 200)}.",
                advice="Check the OTEL_EXPORTER_OTLP_… variables of the service.",
            ) from error
        if result != SpanExportResult.SUCCESS:
            raise TryAgain(
                f"{where} does not accept traces. Runs go on; the traces of a day are tried again.",
                advice="Check OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_EXPORTER_OTLP_HEADERS.",
            )

    def _connect(self) -> Any:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        # It would say in its own words, at each try, what is said here once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter = OTLPSpanExporter()
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
