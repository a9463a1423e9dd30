"""Signing configs: where an instance's services are (sigstore/protobuf-specs sigstore_trustroot.proto, SigningConfig v0.2)."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.formats.protojson import Message
from verifier.model import codes, limits
from verifier.model.errors import FailedError, MisuseError

_MEDIA_TYPE = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class Service(Struct, frozen=True, kw_only=True):
    """One service; `version` is the major version of its API."""

    url: str
    version: int


class SigningConfig(Struct, frozen=True, kw_only=True):
    """The services to use now, the best one first."""

    logs: tuple[Service, ...]
    timestamp_authorities: tuple[Service, ...]


def read_signing_config(data: bytes, now: datetime, *, where: str) -> SigningConfig:
    """Read a signing config; services outside their window at `now` are left out. Raises MisuseError `trust-invalid`."""
    try:
        value = Message(parse_object(data, where=where), "the signing config", codes.JSON_INVALID, where)
        if value.text("mediaType") != _MEDIA_TYPE:
            value.refuse(f"has mediaType {value.text('mediaType')[:100]!r}, expected {_MEDIA_TYPE!r}")
        return SigningConfig(logs=_services(value, "rekorTlogUrls", now), timestamp_authorities=_services(value, "tsaUrls", now))
    except FailedError as error:
        raise MisuseError(codes.TRUST_INVALID, error.reason, where=where) from error


def _services(value: Message, key: str, now: datetime) -> tuple[Service, ...]:
    """Highest API version first, then the newest (the proto's rule for choosing)."""
    found = []
    for item in value.messages(key, most=limits.AUTHORITIES):
        window = item.message("validFor")
        start, end = (window.time("start"), window.time("end")) if window is not None else (None, None)
        if (start is None or start <= now) and (end is None or now <= end):
            found.append(
                (item.integer("majorApiVersion"), start or _EARLIEST, Service(url=item.text("url").rstrip("/"), version=item.integer("majorApiVersion")))
            )
    return tuple(service for _, _, service in sorted(found, key=lambda item: item[:2], reverse=True))
