"""SLSA verification summaries (VSA): a decision that another decision may rest on.

Source: slsa.dev/spec/v1.0/verification_summary. What the specification has no field for (rule, context, trust, and what the
decision leaned on) stands in an extension of ours, and a summary without it is none of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from verifier.formats.protojson import Message
from verifier.model import codes
from verifier.model.errors import FailedError

SUMMARY = "https://slsa.dev/verification_summary/v1"
_EXTENSION = "helmVerifier"


class Summary(Struct, frozen=True, kw_only=True):
    """What a summary says. `resource` is `oci://REPOSITORY@DIGEST`; `leaned_on` are things that no other decision may rest on."""

    verifier: str
    time: datetime
    resource: str
    passed: bool
    policy: str
    trust: str
    rule: str
    context: Mapping[str, str]
    leaned_on: tuple[str, ...] = ()


def write_summary(summary: Summary, version: str) -> dict[str, Any]:
    """The predicate as a JSON value."""
    algorithm, _, value = summary.policy.partition(":")
    return {
        "verifier": {"id": summary.verifier, "version": {"helm-verifier": version}},
        "timeVerified": summary.time.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z"),
        "resourceUri": summary.resource,
        "policy": {"digest": {algorithm: value}},
        "inputAttestations": [],
        "verificationResult": "PASSED" if summary.passed else "FAILED",
        "verifiedLevels": [],
        "slsaVersion": "1.0",
        _EXTENSION: {"rule": summary.rule, "trust": summary.trust, "context": dict(summary.context), "leanedOn": list(summary.leaned_on)},
    }


def read_summary(predicate: Any) -> Summary | None:
    """A summary of ours; None for one that is malformed or of another verifier's making."""
    try:
        value = Message(predicate, "the summary", codes.JSON_INVALID, "")
        extension = value.need(_EXTENSION)
        policy, at = value.need("policy").need("digest").text("sha256"), value.time("timeVerified")
        context, leaned_on = extension.get("context"), extension.get("leanedOn")
        if at is None or not isinstance(context, dict) or not isinstance(leaned_on, list):
            return None
        return Summary(
            verifier=value.need("verifier").text("id"),
            time=at,
            resource=value.text("resourceUri"),
            passed=value.text("verificationResult") == "PASSED",
            policy=f"sha256:{policy}",
            trust=extension.text("trust"),
            rule=extension.text("rule"),
            context={str(key): str(item) for key, item in context.items()},
            leaned_on=tuple(str(item) for item in leaned_on),
        )
    except FailedError:
        return None
