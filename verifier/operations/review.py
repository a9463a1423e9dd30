"""Reading what the API server asks.

Strictly and within bounds: what is no AdmissionReview is misuse. Source: kubernetes/api admission/v1 types.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.formats.loose import get, mapping, text
from verifier.model import codes
from verifier.model.errors import FailedError, MisuseError

_API = "admission.k8s.io/v1"


class Review(Struct, frozen=True, kw_only=True):
    """What the API server asks: `new` is the object as it will be, `old` as it is."""

    uid: str
    operation: str
    group: str
    version: str
    kind: str
    namespace: str
    name: str
    subresource: str
    user: str
    dry_run: bool
    new: Mapping[str, Any] | None
    old: Mapping[str, Any] | None

    @property
    def what(self) -> str:
        """Kind, namespace and name, for people."""
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


def read_review(data: bytes) -> Review:
    """An AdmissionReview; raises MisuseError `review-invalid`."""
    try:
        value = parse_object(data, where="the review")
    except FailedError as error:
        raise MisuseError(codes.REVIEW_INVALID, error.reason) from error
    request = mapping(value, "request")
    kind = mapping(request, "kind")
    if value.get("apiVersion") != _API or value.get("kind") != "AdmissionReview" or not text(get(request, "uid")) or not text(get(kind, "kind")):
        raise MisuseError(codes.REVIEW_INVALID, f"no AdmissionReview of {_API} with a request")
    new, old = request.get("object"), request.get("oldObject")
    if not all(isinstance(item, dict | None) for item in (new, old)):
        raise MisuseError(codes.REVIEW_INVALID, "object and oldObject are objects, or null")
    return Review(
        uid=text(request["uid"]),
        operation=text(get(request, "operation")),
        group=text(get(kind, "group")),
        version=text(get(kind, "version")),
        kind=text(get(kind, "kind")),
        namespace=text(get(request, "namespace")),
        name=text(get(request, "name")),
        subresource=text(get(request, "subResource")),
        user=text(get(mapping(request, "userInfo"), "username")),
        dry_run=request.get("dryRun") is True,
        new=new,
        old=old,
    )
