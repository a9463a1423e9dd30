"""The webhook over HTTP: the answer's form, in time, to whom, and what a denial does in each mode (threats T-15, T-22, T-23)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.simulators.registry import Switches, simulated
from tests.support.charts import archive
from tests.support.reviews import an_object, oci_repository, review
from tests.support.signers import pair
from tests.support.webhook import Server, Webhook
from tests.support.world import connect, key_policy, publish, sign
from verifier.operations.policies import LoadedPolicy
from verifier.server import service as serving_room
from verifier.server.admission import AdmissionSettings, seconds_for
from verifier.server.callers import Caller, Callers
from verifier.server.decider import ServiceSettings
from verifier.server.listeners import WebhookOnly


@contextmanager
def serving(
    loaded: LoadedPolicy, mode: str = "enforce", callers: Callers | None = None, only: bool | None = None, pins: bool = False, **settings: Any
) -> Iterator[Webhook]:
    admission = AdmissionSettings(seconds=5.0, mode=mode, pins=pins)
    server = Server(loaded=loaded, settings=ServiceSettings(**settings), admission=admission, callers=callers or Callers())
    with server.running(partial(WebhookOnly, authenticated=only) if only is not None else lambda app: app) as webhook:
        yield webhook


def release(registry: str, by: str | None = "ci") -> str:
    connections = connect()
    digest = publish(connections, registry, archive())
    if by is not None:
        sign(connections, registry, digest, pair(by))
    return str(digest)


def test_allowed_and_denied(registry: str) -> None:
    digest = release(registry)
    with serving(key_policy(registry, pair())) as webhook:
        good = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", digest=digest)))
        assert (good["allowed"], "status" in good) == (True, False)
        notes = good["auditAnnotations"]
        assert (notes["outcome"], notes["mode"], digest in notes["charts"], notes["decisions"].count("-")) == ("allowed", "enforce", True, 4)
        bad = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")))
        assert (bad["allowed"], bad["status"]["code"], bad["auditAnnotations"]["codes"]) == (False, 403, "unpinned")
        assert bad["status"]["message"].startswith("verifier: OCIRepository apps/x\n  spec.ref: oci://")
        assert "[unpinned]\n  next: Write the digest" in bad["status"]["message"]
        missing = webhook.ask(review(oci_repository(f"oci://{registry}/acme/none", digest=digest)))
        assert (missing["allowed"], missing["status"]["code"]) == (False, 503)
        text = webhook("GET", "/metrics")[2].decode()
        assert 'verifier_admissions_total{mode="enforce",outcome="denied"} 1.0' in text
        assert 'verifier_admission_codes_total{code="unpinned"} 1.0' in text


def test_the_digest_is_written_only_where_that_is_wanted(registry: str) -> None:
    digest = release(registry)
    asked = review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"))
    for pins in (True, False):
        with serving(key_policy(registry, pair()), pins=pins) as webhook:
            status, _, data = webhook("POST", "/admission/mutate", json.dumps(asked).encode())
            answered = json.loads(data)["response"]
            assert (status, answered["allowed"], answered["uid"], "patch" in answered) == (200, True, asked["request"]["uid"], pins)
            if pins:
                patch = json.loads(base64.b64decode(answered["patch"]))
                assert (answered["patchType"], patch[1]["value"]["ref"]["digest"]) == ("JSONPatch", digest)
            assert webhook("POST", "/admission/mutate", b"{}")[0] == 422


def test_what_cannot_be_found_out_in_time_is_not_written() -> None:
    with simulated(Switches(drip="/manifests/")) as slow, serving(key_policy(slow.host, pair()), pins=True) as webhook:
        asked = review(oci_repository(f"oci://{slow.host}/acme/web", tag="1.4.2"))
        status, _, data = webhook("POST", "/admission/mutate?timeout=2s", json.dumps(asked).encode())
        assert (status, json.loads(data)["response"]) == (200, {"uid": asked["request"]["uid"], "allowed": True})


@pytest.mark.parametrize("mode", ["warn", "audit"])
def test_a_denial_that_does_not_deny(registry: str, mode: str) -> None:
    with serving(key_policy(registry, pair()), mode) as webhook:
        answered = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", digest=release(registry, by=None))))
        assert (answered["allowed"], answered["auditAnnotations"]["outcome"], answered["auditAnnotations"]["mode"]) == (True, "denied", mode)
        assert any("would deny" in warning for warning in answered.get("warnings", [])) is (mode == "warn")


@pytest.mark.parametrize("mode", ["warn", "audit"])
def test_a_rule_that_does_not_enforce_yet(registry: str, mode: str) -> None:
    """Only what is denied under this rule is let in: a chart that no rule speaks of is not."""
    with serving(key_policy(registry, pair(), rule=f"    admission: {mode}\n")) as webhook:
        answered = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", digest=release(registry, by=None))))
        notes = answered["auditAnnotations"]
        assert (answered["allowed"], notes["softened"], notes["codes"]) == (True, "true", "unsigned")
        assert any("would deny" in warning for warning in answered.get("warnings", [])) is (mode == "warn")
        other = webhook.ask(review(oci_repository("oci://elsewhere.test/x", tag="1.0.0")))
        assert (other["allowed"], other["auditAnnotations"]["codes"]) == (False, "no-rule")
        status, _, _ = webhook("POST", "/v1/verify", json.dumps({"reference": f"oci://{registry}/acme/web:1.4.2"}).encode(), Content_Type="application/json")
        assert status == 403, "over HTTP it denies all the same"


def test_a_rule_s_leniency_and_warnings_are_told(registry: str) -> None:
    release(registry)
    with serving(key_policy(registry, pair(), rule="    unsafe_allow_unpinned: true\n")) as webhook:
        answered = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")))
        assert (answered["allowed"], "unsafe_allow_unpinned" in answered["warnings"][0]) == (True, True)


def test_names_are_escaped_and_bounded(registry: str) -> None:
    with serving(key_policy(registry, pair())) as webhook:
        value = oci_repository("oci://reg.test/\x1b[31m\n<b>" + "x" * 5000, tag="1.4.2")
        value["metadata"]["name"] = "a\x1b[31m\nb"
        answered = webhook.ask(review(value))
        message = answered["status"]["message"]
        assert (answered["allowed"], "\x1b" in message, "a\nb" in message, len(message) < 4000) == (False, False, False, True)


def test_an_answer_in_time_while_the_registry_hangs() -> None:
    with simulated(Switches(drip="/manifests/")) as slow, serving(key_policy(slow.host, pair()), slots=1, patience=0.2) as webhook:
        asked = review(oci_repository(f"oci://{slow.host}/acme/web", tag="1.4.2"))
        late = webhook.ask(asked, "?timeout=2s")
        assert (late["allowed"], late["auditAnnotations"]["codes"], late["status"]["code"]) == (False, "timeout", 503)
        full = webhook.ask(asked, "?timeout=2s")
        assert (full["allowed"], full["auditAnnotations"]["codes"]) == (False, "overloaded"), "the thread that was given up keeps its slot"


def test_how_long_an_answer_may_take() -> None:
    assert [seconds_for(text, 8.0) for text in ("10s", "5s", "1m30s", "1s", "", "x", "30")] == [8.0, 4.0, 8.0, 0.5, 8.0, 8.0, 8.0]


def test_what_is_known_takes_no_thread_and_no_request(registry: str) -> None:
    digest = release(registry)
    with serving(key_policy(registry, pair()), slots=1) as webhook:
        asked = review(oci_repository(f"oci://{registry}/acme/web", digest=digest))
        assert webhook.ask(asked)["allowed"]
        before = webhook("GET", "/metrics")[2].decode()
        assert webhook.ask(asked)["allowed"]
        tagged = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", digest=digest, tag="1.4.2")))
        assert tagged["allowed"]
        assert before.count("verifier_cache_hits_total 0.0") == 1
        assert "verifier_cache_hits_total 2.0" in webhook("GET", "/metrics")[2].decode()


def test_what_passes_unverified_is_counted_by_its_permission(registry: str) -> None:
    """Semantics 31: allowed, counted, and never called verified."""
    release(registry)
    with serving(key_policy(registry, pair(), rule="    unsafe_allow_unpinned: true\n")) as webhook:
        answered = webhook.ask(review(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")))
        assert (answered["allowed"], answered["auditAnnotations"]["unverified"]) == (True, "unsafe_allow_unpinned")
        assert "unsafe_allow_unpinned" in answered["warnings"][0]
        text = webhook("GET", "/metrics")[2].decode()
        for permission, count in (("unsafe_allow_unpinned", 1), ("unsafe_allow_git", 0), ("unsafe_allow_other_values", 0), ("unsafe_allow_partial_records", 0)):
            assert f'verifier_admission_unverified_total{{permission="{permission}"}} {count}.0' in text


def test_a_fault_of_ours_denies(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(serving_room, "admit", broken)
    with serving(key_policy(registry, pair())) as webhook:
        answered = webhook.ask(review(oci_repository("oci://reg.test/web", tag="1.4.2")))
        assert (answered["allowed"], answered["auditAnnotations"]["codes"], "secret" in str(answered)) == (False, "internal", False)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"kind": "AdmissionReview"}'])
def test_what_is_no_review_is_misuse(registry: str, body: bytes) -> None:
    with serving(key_policy(registry, pair())) as webhook:
        status, _, data = webhook("POST", "/admission/validate", body, Content_Type="application/json")
        assert (status, json.loads(data)["title"]) == (422, "review-invalid")


def test_a_review_may_be_large_and_not_endless(registry: str) -> None:
    with serving(key_policy(registry, pair())) as webhook:
        assert webhook.ask(review(an_object("v1", "Secret", data={"x": "a" * 3_000_000})))["allowed"]
        assert webhook("POST", "/admission/validate", b" " * (8 * 1024 * 1024 + 1))[0] == 413
        assert webhook("POST", "/v1/verify", b" " * 100_000)[0] == 413


def test_who_may_ask(registry: str) -> None:
    token = "token-of-the-api-server"
    callers = Callers((Caller(name="api", token_sha256=hashlib.sha256(token.encode()).hexdigest(), roles=frozenset(("admission",))),))
    asked = review(oci_repository("oci://reg.test/web", tag="1.4.2"))
    with serving(key_policy(registry, pair()), callers=callers) as webhook:
        status, _, data = webhook("POST", "/admission/validate", json.dumps(asked).encode())
        assert (status, json.loads(data)["title"]) == (401, "unauthenticated")
        assert webhook.ask(asked, Authorization=f"Bearer {token}")["allowed"] is False
    with serving(key_policy(registry, pair()), callers=callers, only=True) as webhook:
        assert webhook.ask(asked)["allowed"] is False, "the listener has seen a certificate"
    with serving(key_policy(registry, pair()), callers=callers, only=False) as webhook:
        assert webhook("POST", "/admission/validate", json.dumps(asked).encode())[0] == 401


def test_the_webhook_s_own_address_answers_nothing_else(registry: str) -> None:
    with serving(key_policy(registry, pair()), only=True) as webhook:
        assert [webhook("GET", path)[0] for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/verify")] == [200, 200, 404, 404, 404]
