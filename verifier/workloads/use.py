"""A chart that something names: where, and as what; or why it cannot be verified."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from verifier.charts.version import parse_version
from verifier.model.digest import parse_digest
from verifier.model.errors import MisuseError
from verifier.model.reference import SCHEME, is_tag, parse_oci

_VERIFIED = "verified+oci://"


class ChartUse(Struct, frozen=True, kw_only=True):
    """`place` is the file and the path in it; exactly one of `reference` (to be parsed) and `problem` is set."""

    place: str
    reference: str | None = None
    problem: str | None = None


class Document(Struct, frozen=True, kw_only=True):
    """One YAML document of a file; `place` names both."""

    place: str
    value: Any


def unverifiable(place: str, problem: str) -> ChartUse:
    """A chart that nobody can verify as it is named."""
    return ChartUse(place=place, problem=problem)


def from_repository(place: str, repository: str, name: str, version: str) -> ChartUse:
    """A chart by repository, name and version, as Helm's users write it."""
    where = repository.rstrip("/")
    if where.startswith(_VERIFIED):
        where = f"{SCHEME}{where.removeprefix(_VERIFIED)}"
    if not where:
        return unverifiable(place, f"{name or 'a chart'} names no repository")
    if not where.startswith(SCHEME):
        return unverifiable(place, f"{name or 'the chart'} comes from {where[:200]!r}; only charts in OCI registries can be verified")
    return pinned(place, f"{where}/{name}" if name else where, version)


def pinned(place: str, repository: str, version: str, digest: str = "") -> ChartUse:
    """A chart by its own oci:// URL, with a version, a digest, or both; a range means another chart tomorrow."""
    for text in (repository, version, digest):
        if "{{" in text or "${" in text:
            return unverifiable(place, f"{text[:200]!r} is a template; render the file first")
    if digest and not _is_digest(digest):
        return unverifiable(place, f"{digest[:80]!r} is not a digest")
    if not version and not digest and not _says_which(repository):
        return unverifiable(place, f"{repository[:200]} names no version")
    if version and parse_version(version) is None and not is_tag(version.replace("+", "_")):
        return unverifiable(place, f"{repository[:200]} in version {version[:60]!r}, which is not one version: it may mean another chart tomorrow")
    tag = f":{version}" if version else ""
    return ChartUse(place=place, reference=f"{repository}{tag}{f'@{digest}' if digest else ''}")


def _says_which(repository: str) -> bool:
    try:
        reference = parse_oci(repository)
    except MisuseError:
        return False
    return reference.tag is not None or reference.digest is not None


def _is_digest(text: str) -> bool:
    try:
        parse_digest(text)
    except ValueError:
        return False
    return True
