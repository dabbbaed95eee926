"""Traces of real runs, sent to a real OTLP/HTTP receiver."""

from __future__ import annotations

import gzip
import os
import re
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import docker
from tests.support.developer import web
from tests.support.service import Service, running
from tests.support.waiting import until

CONFIG = """
pipelines:
  hello:
    service:
      memory: 128MiB
      stop: 1s
      release: {command: [sh, -c, "echo parent=$TRACEPARENT state=$TRACESTATE."]}
    smoke: [{get: /cgi-bin/seen, contains: "traced 00-"}]
    environments: {live: }
  slow:
    service: {memory: 128MiB, stop: 1s}
    smoke: [{run: [sh, -c, 'echo "seen=$TRACEPARENT"; sleep 4']}]
    environments: {live: }
  gated:
    service: {memory: 128MiB, stop: 1s}
    environments: {dev: , live: {promote: manual}}
"""
SEEN = '#!/bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\ntraced $HTTP_TRACEPARENT\\n"\n'


class Receiver:
    """``broken``: it answers that status; -1: nothing, with the connection open."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.broken, self.refused = 0, 0
        self.silence = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if not outer.broken and self.path == "/v1/traces":
                    outer.requests.append(ExportTraceServiceRequest.FromString(body))
                outer.refused += bool(outer.broken)
                if outer.broken < 0:
                    outer.silence.wait(60)
                    return
                self.send_response(outer.broken or 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self, run: str) -> list[Any]:
        found = [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return [span for span in found if attributes(span)["pushlive.run"] == run]


def attributes(span: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.silence.set()
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture(scope="module")
def service(docker_client: docker.DockerClient, base_images: None, receiver: Receiver) -> Iterator[Service]:
    endpoint = f"http://127.0.0.1:{receiver.server.server_port}"
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}
    with running(docker_client, CONFIG, **more) as one:
        yield one


FILES = web(
    **{"www/cgi-bin/seen": SEEN}, command="chmod +x /www/cgi-bin/seen; exec httpd -f -p 0.0.0.0:8080 -h /www"
)


def test_a_run_is_one_trace_and_its_command_and_checks_are_told_of_it(
    service: Service, receiver: Receiver
) -> None:
    service.push(FILES, "Traced")
    assert service.run("hello#1")["outcome"] == "live"
    until(lambda: receiver.spans("hello#1"), 30)
    spans = receiver.spans("hello#1")
    by_name = {span.name: span for span in spans}
    steps = ["release", "start", "smoke", "switch", "verify"]
    assert sorted(by_name) == sorted(
        [
            "push hello",
            "build",
            "live",
            *(f"build/{one}" for one in ("fetch", "build", "push")),
            *(f"live/{one}" for one in steps),
        ]
    )
    assert len({span.trace_id for span in spans}) == 1
    root = by_name["push hello"]
    assert (root.parent_span_id, root.status.code) == (b"", 1)
    assert attributes(root)["cicd.pipeline.result"] == "success"
    for name, span in by_name.items():
        if span is root:
            continue
        parent = by_name[name.split("/")[0]] if "/" in name else root
        assert span.parent_span_id == parent.span_id
        slack = 1_000_000
        assert parent.start_time_unix_nano - slack <= span.start_time_unix_nano
        assert span.end_time_unix_nano <= parent.end_time_unix_nano + slack
    assert attributes(by_name["live/start"])["deployment.environment.name"] == "live"
    assert attributes(by_name["live/start"])["pushlive.release"] == "r1"
    resource = {
        one.key: one.value.string_value for one in receiver.requests[0].resource_spans[0].resource.attributes
    }
    assert (resource["service.name"], resource["service.instance.id"]) == ("pushlive", service.instance)
    parent = f"00-{root.trace_id.hex()}-{by_name['live/release'].span_id.hex()}-01"
    assert f"parent={parent} state=." in service.log("hello#1")
    assert "traces" in service.pushlive("doctor", code=None).out


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (503, "does not accept traces"),
        (429, "does not accept traces: 429 Too Many"),
        (-1, "gives no answer in time"),
    ],
)
def test_fault_69_a_receiver_that_fails_delays_no_run_and_gets_the_trace_later(
    service: Service, receiver: Receiver, broken: int, says: str
) -> None:
    receiver.broken = broken
    before = service.output.count(says)
    service.push({**FILES, "www/index.html": f"{broken}\n"}, "Another")
    run = service.run("hello")
    assert run["outcome"] == "live"
    until(lambda: says in service.pushlive("doctor", code=None).out, 60)
    refused = receiver.refused
    until(lambda: receiver.refused > refused, 60)  # it is tried again, and said once
    receiver.broken = 0
    until(lambda: receiver.spans(run["id"]), 60)
    assert service.output.count(says) == before + 1
    once(receiver, run["id"])


def test_a_run_goes_on_in_the_trace_of_the_command_that_asked_for_it(
    service: Service, receiver: Receiver
) -> None:
    trace, above = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    number = service.run("hello")["number"] + 1
    asked = {"TRACEPARENT": f"00-{trace}-{above}-01", "TRACESTATE": "ci=job-1"}
    service.pushlive("deploy", "hello", **asked)
    run = f"hello#{number}"
    until(lambda: any(span.name == "deploy hello" for span in receiver.spans(run)), 60)
    spans = {span.name: span for span in receiver.spans(run)}
    assert {span.trace_id.hex() for span in spans.values()} == {trace}
    assert spans["deploy hello"].parent_span_id.hex() == above
    release = spans["live/release"].span_id.hex()
    assert f"parent=00-{trace}-{release}-01 state=ci=job-1." in service.log(run)


def test_fault_70_a_run_that_another_worker_takes_up_goes_on_in_the_same_trace(
    service: Service, receiver: Receiver
) -> None:
    clone = service.repository("slow")
    clone.commit(web("slow"), "Slow to check")
    push = clone.started("push", "pushlive", "main")
    until(lambda: service.runs("slow") and "seen=00-" in service.log("slow#1"), 60)
    os.kill(service.job(), signal.SIGKILL)
    push.communicate(timeout=60)
    assert service.wait("slow#1")["outcome"] == "live"
    until(lambda: receiver.spans("slow#1"), 60)
    seen = re.findall(r"seen=(00-\S+)", service.log("slow#1"))
    (smoke,) = [span for span in receiver.spans("slow#1") if span.name == "live/smoke"]
    assert {*seen} == {f"00-{smoke.trace_id.hex()}-{smoke.span_id.hex()}-01"}
    assert len(seen) > 1, "the other worker asks again"
    once(receiver, "slow#1")


def test_the_finished_stages_of_a_run_that_waits_are_sent_before_its_end(
    service: Service, receiver: Receiver
) -> None:
    service.push(web("gated"), "For a person", "gated")
    until(lambda: receiver.spans("gated#1"), 60)
    assert {"build", "dev", "dev/switch"} <= {span.name for span in receiver.spans("gated#1")}
    assert not any(span.name.startswith(("live", "push")) for span in receiver.spans("gated#1"))
    service.pushlive("promote", "gated")
    until(lambda: any(span.name == "push gated" for span in receiver.spans("gated#1")), 60)
    once(receiver, "gated#1")


def once(receiver: Receiver, run: str) -> None:
    """No span came twice, all are of one trace, and each has its parent."""
    spans = receiver.spans(run)
    ids = [span.span_id for span in spans]
    assert len(ids) == len({*ids}), [span.name for span in spans]
    assert len({span.trace_id for span in spans}) == 1
    assert {span.parent_span_id for span in spans} <= {b"", *ids}


def test_a_protocol_that_is_not_spoken_is_said_at_the_start(
    docker_client: docker.DockerClient, base_images: None
) -> None:
    more = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    says = "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, and Pushlive sends traces by http/protobuf only."
    with running(docker_client, CONFIG, **more) as one:
        until(lambda: says in one.output, 30)
        found = one.pushlive("doctor", code=None).out
        assert "Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in " ".join(found.split())
