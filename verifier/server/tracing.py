"""Traces for OpenTelemetry: FastAPI's of each request, and below it what a decision took.

They are exported only where the environment names a collector (OTEL_EXPORTER_OTLP_ENDPOINT and its companions; the extra `otel`); without one a span
costs some microseconds. A caller's `traceparent` is gone on from, and stands in the log; nothing of it goes to registries.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace

from verifier.model.decision import Decision

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROBES = ("/healthz", "/readyz", "/metrics")
_tracer = trace.get_tracer("verifier")
T = TypeVar("T")


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether a collector is named."""
    return any(environment.get(name) for name in _ENDPOINTS)


def telemetry(*, exported: bool) -> TelemetryConfig:
    """What FastAPI records: requests that are answers, and no exceptions' texts, for those may hold what a caller sent. Metrics are Prometheus' matter."""
    return TelemetryConfig(auto_configure=exported, tracing=exported, metrics=False, logs=False, operation_spans=False, exclude=_is_probe)


@contextmanager
def span(name: str) -> Iterator[trace.Span]:
    """What happens in the block, under what is going on. An error is told by its type alone."""
    with _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as started:
        try:
            yield started
        except BaseException as error:
            started.set_attribute("error.type", type(error).__name__)
            raise


def tell(started: trace.Span, decision: Decision) -> None:
    """What came of it."""
    code = decision.check.code
    told = {"outcome": decision.outcome.value, "code": code.name if code is not None else None, "rule": decision.policy.rule, "decision": decision.id}
    started.set_attributes({f"verifier.{key}": value for key, value in told.items() if value is not None})


def current() -> trace.Span:
    """What is going on; one that records nothing where nobody listens."""
    return trace.get_current_span()


def trace_id() -> str | None:
    """The trace that we are in, as W3C Trace Context writes it; None where there is none."""
    found = trace.get_current_span().get_span_context()
    return trace.format_trace_id(found.trace_id) if found.is_valid else None


def carried(work: Callable[[], T]) -> Callable[[], T]:
    """The same, on whichever thread, under what is going on here."""
    context = contextvars.copy_context()
    return lambda: context.run(work)


def _is_probe(scope: MutableMapping[str, Any]) -> bool:
    return scope.get("path") in _PROBES
