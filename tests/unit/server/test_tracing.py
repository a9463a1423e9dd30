"""Traces: what a collector hears of a decision, across threads, and that no secret is in it."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.cli import CANARY
from tests.support.reviews import oci_repository, review
from tests.support.servers import free_port, serving, start, stop
from tests.support.signers import pair
from tests.unit.server.test_admission import release
from verifier.server.tracing import is_wanted, telemetry
from verifier.signers.public import public_pem

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@contextlib.contextmanager
def collector() -> Iterator[tuple[int, list[bytes]]]:
    """Takes OTLP over HTTP on loopback; gives its port and what it was sent."""
    sent: list[bytes] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                sent.append(data)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield port, sent


def spans(sent: list[bytes]) -> list[Any]:
    found = (ExportTraceServiceRequest.FromString(data) for data in sent)
    return [span for request in found for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]


def post(url: str, value: Any) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {CANARY}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(urllib.request.Request(url, json.dumps(value).encode(), headers), timeout=10):
        pass


def test_a_collector_hears_what_a_decision_took(registry: str, tmp_path: Path) -> None:
    digest = release(registry)
    (tmp_path / "ci.pub").write_bytes(public_pem(pair().public))
    rule = f"{{name: ours, charts: ['oci://{registry}/acme/*'], require: {{signed: {{by: ci}}}}}}"
    text = f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\ntrust: {{ci: {{key: {{file: ci.pub}}}}}}\nrules: [{rule}]\n"
    (tmp_path / "policy.yaml").write_text(text)
    with collector() as (port, sent):
        own = free_port()
        environment = ("env", f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port}", "OTEL_TRACES_EXPORTER=otlp", "OTEL_BSP_SCHEDULE_DELAY=100")
        words = ("serve", "--policy", tmp_path / "policy.yaml", "--listen", f"127.0.0.1:{own}", "--allow-host", registry, "--admission", "enforce")
        process = start([*environment, sys.executable, "-m", "verifier", *words], f"http://127.0.0.1:{own}/healthz", tmp_path)
        try:
            post(f"http://127.0.0.1:{own}/v1/verify", {"reference": f"oci://{registry}/acme/web@{digest}"})
            post(f"http://127.0.0.1:{own}/admission/validate?timeout=10s", review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")))
        finally:
            stop(process)
    heard = spans(sent)
    assert {span.trace_id.hex() for span in heard} == {TRACE}, "probes are not told, and what is goes on from the caller's trace"
    by_id = {span.span_id: span for span in heard}
    above = {(span.name, by_id[span.parent_span_id].name if span.parent_span_id in by_id else "") for span in heard}
    decided = {("decide", "POST /v1/verify"), ("decide", "POST /admission/validate")}
    assert above == {*decided, *((name, "decide") for name in ("resolve", "gather", "judge")), *((name, "") for _, name in decided)}
    told = {attribute.key: attribute.value.string_value for span in heard for attribute in span.attributes if span.name == "decide"}
    assert (told["verifier.outcome"], told["verifier.rule"]) == ("allowed", "ours")
    assert not any(CANARY.encode() in data for data in sent)
    lines = [json.loads(line) for line in (tmp_path / "env.log").read_text().splitlines() if line.startswith("{")]
    assert {line["trace"] for line in lines if line["event"] in ("decision", "admission")} == {TRACE}


def test_nothing_is_exported_unless_it_is_said_where() -> None:
    assert is_wanted({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"})
    assert not is_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": ""})
    assert telemetry(exported=False)["auto_configure"] is False
    assert telemetry(exported=True)["logs"] is False, "FastAPI's would hold the texts of exceptions"
