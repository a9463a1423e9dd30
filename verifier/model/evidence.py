"""Evidence: untrusted bytes that might prove something, with where they lay; and gaps, where we could not look."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from verifier.model.codes import Code
from verifier.model.digest import Digest


class Kind(StrEnum):
    """Where evidence was found; part of the published decision."""

    REFERRER = "referrer"
    FALLBACK_TAG = "fallback-tag"
    COSIGN_TAG = "cosign-tag"
    PROV_LAYER = "prov-layer"
    FILE = "file"
    CHART = "chart"  # the chart itself: its manifest, config or archive


class Location(Struct, frozen=True, kw_only=True):
    """`where` is readable (a file name, a digest); `digest` is of the evidence's own manifest or bytes."""

    kind: Kind
    where: str
    digest: Digest | None = None
    media_type: str = ""


class Evidence(Struct, frozen=True, kw_only=True):
    """Bytes to judge; `annotations` are as untrusted as the rest."""

    location: Location
    media_type: str
    payload: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)


class Gap(Struct, frozen=True, kw_only=True):
    """Evidence that could not be looked up or was past a limit. Data, not an exception: the policy must know."""

    kind: str
    where: str
    code: Code
    reason: str
    retry_after: float | None = None
