"""Prometheus metrics. Labels come from closed sets only, never from a request (threats T-23)."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from verifier.model.decision import Decision, Outcome
from verifier.operations.verdict import Verdict
from verifier.policy.cluster import GIT, Leniency

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One registry per server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = Counter("verifier_decisions", "Decisions by outcome.", ["outcome"], registry=self.registry)
        self.codes = Counter("verifier_decision_codes", "Decisions that are no allow, by code.", ["code"], registry=self.registry)
        self.seconds = Histogram("verifier_decision_seconds", "Time to an answer.", registry=self.registry)
        self.cache_hits = Counter("verifier_cache_hits", "Answers from the decision cache.", registry=self.registry)
        self.in_hand = Gauge("verifier_decisions_in_hand", "Decisions being made.", registry=self.registry)
        self.unsafe = Counter("verifier_unsafe_decisions", "Decisions that an unsafe switch touched.", registry=self.registry)
        self.refused = Counter("verifier_requests_refused", "Requests that were not judged, by status.", ["status"], registry=self.registry)
        self.policy_stale = Gauge("verifier_policy_stale", "1 while a changed policy or trust file does not load.", registry=self.registry)
        self.root_time = Gauge("verifier_trusted_root_timestamp_seconds", "Of when each trusted root is.", ["root"], registry=self.registry)
        self.admissions = Counter("verifier_admissions", "Reviews by outcome, and what a denial does.", ["outcome", "mode"], registry=self.registry)
        self.admission_codes = Counter("verifier_admission_codes", "Findings that are no allow, by code.", ["code"], registry=self.registry)
        self.unverified = Counter("verifier_admission_unverified", "What passed unverified, by which permission.", ["permission"], registry=self.registry)
        self.admission_seconds = Histogram("verifier_admission_seconds", "Time to an answer to the API server.", registry=self.registry)
        for outcome in Outcome:
            self.decisions.labels(outcome.value)
        for permission in (*Leniency, GIT):
            self.unverified.labels(permission)

    def count(self, decision: Decision, seconds: float) -> None:
        """Count one answer."""
        self.decisions.labels(decision.outcome.value).inc()
        self.seconds.observe(seconds)
        if not decision.allowed and decision.check.code is not None:
            self.codes.labels(decision.check.code.name).inc()
        if decision.unsafe:
            self.unsafe.inc()

    def count_admission(self, verdict: Verdict, mode: str, seconds: float) -> None:
        """Count one answer of the webhook."""
        self.admissions.labels(verdict.outcome.value, mode).inc()
        self.admission_seconds.observe(seconds)
        for finding in verdict.findings:
            if finding.unsafe is not None:
                self.unverified.labels(finding.unsafe).inc()
            if finding.code is not None:
                self.admission_codes.labels(finding.code.name).inc()

    def text(self) -> bytes:
        """In the exposition format."""
        return generate_latest(self.registry)
