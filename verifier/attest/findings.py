"""What scanners, bills of materials and VEX documents say, each kind in one shape; None where a predicate is of no shape that is known.

Sources: sigstore/cosign specs/COSIGN_VULN_ATTESTATION_SPEC.md with the reports of Trivy and Grype in it; in-toto/attestation
spec/predicates/vuln.md (0.1, 0.2); openvex/spec OPENVEX-SPEC.md; SPDX 2.3 JSON; CycloneDX 1.x JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from verifier.formats.loose import get, items, mapping, text

COSIGN_VULN = "https://cosign.sigstore.dev/attestation/vuln/v1"
IN_TOTO_VULNS = ("https://in-toto.io/attestation/vulns/v0.1", "https://in-toto.io/attestation/vulns/v0.2")
VULNERABILITIES = (COSIGN_VULN, *IN_TOTO_VULNS)
SPDX, CYCLONEDX, OPENVEX = "https://spdx.dev/Document", "https://cyclonedx.org/bom", "https://openvex.dev/ns"
SEVERITIES = ("critical", "high", "medium", "low", "negligible", "unknown")
VEX_STATUSES = ("affected", "under_investigation", "fixed", "not_affected")
_SCORES = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.1, "low"), (0.0, "negligible"))
_MOST = 200_000  # findings or packages of one predicate; beyond, it is of no known shape


class Scan(Struct, frozen=True, kw_only=True):
    """A scanner's findings: pairs of id and severity, one of SEVERITIES; what cannot be told is `unknown`."""

    scanner: str
    finished: datetime | None
    found: tuple[tuple[str, str], ...]


class Package(Struct, frozen=True, kw_only=True):
    """One package of a bill of materials; `names` are all by which it can be meant."""

    names: tuple[str, ...]
    licenses: tuple[str, ...]


def read_scan(predicate_type: str, predicate: Any) -> Scan | None:
    """A vulnerability scan."""
    scanner, metadata = mapping(predicate, "scanner"), mapping(predicate, "metadata")
    result = scanner.get("result")
    found = _listed(result) if predicate_type in IN_TOTO_VULNS else _reported(result)
    if found is None or len(found) > _MOST:
        return None
    return Scan(scanner=text(scanner.get("uri")), finished=_time(metadata.get("scanFinishedOn")), found=tuple(found))


def read_statuses(predicate: Any) -> tuple[tuple[str, str], ...] | None:
    """An OpenVEX document's statements: the vulnerability and the status that is said of it."""
    statements = get(predicate, "statements")
    if not isinstance(statements, list) or not statements or len(statements) > _MOST:
        return None
    found = []
    for item in statements:
        status, vulnerability = text(get(item, "status")), get(item, "vulnerability")
        name = text(get(vulnerability, "name")) or text(get(vulnerability, "@id")) or text(vulnerability)
        if status not in VEX_STATUSES:
            return None
        found.append((name or "a vulnerability without a name", status))
    return tuple(found)


def read_packages(predicate_type: str, predicate: Any) -> tuple[Package, ...] | None:
    """The packages of an SPDX or CycloneDX document; None where it holds none, too."""
    packages = list(_spdx(predicate) if predicate_type == SPDX else _cyclonedx(get(predicate, "components")))
    return tuple(packages) if 0 < len(packages) <= _MOST else None


def leaf(predicate: Any, path: str) -> str | None:
    """The text at a dotted path, list items by their index; None where there is none. Keys may hold dots: the longest that fits is taken."""
    if not path:
        return None if isinstance(predicate, dict | list) or predicate is None else _plain(predicate)
    parts = path.split(".")
    if isinstance(predicate, list) and parts[0].isdigit() and int(parts[0]) < len(predicate):
        return leaf(predicate[int(parts[0])], ".".join(parts[1:]))
    if isinstance(predicate, dict):
        for end in range(len(parts), 0, -1):
            if (key := ".".join(parts[:end])) in predicate:
                return leaf(predicate[key], ".".join(parts[end:]))
    return None


def _listed(result: Any) -> list[tuple[str, str]] | None:
    """in-toto's own list."""
    if not isinstance(result, list):
        return None
    found = []
    for item in result:
        severities = [_score(get(entry, "score")) for entry in items(get(item, "severity"))]
        found.append((text(get(item, "id")), min(severities, key=SEVERITIES.index) if severities else "unknown"))
    return found


def _reported(result: Any) -> list[tuple[str, str]] | None:
    """Trivy's or Grype's report inside cosign's predicate."""
    if isinstance(get(result, "matches"), list):
        return [(text(get(item, "id")), _severity(get(item, "severity"))) for match in result["matches"] for item in (get(match, "vulnerability"),)]
    # Trivy leaves Results out where it found nothing to scan, and Vulnerabilities where it found none.
    if isinstance(result, dict) and "SchemaVersion" in result and isinstance(result.get("Results", []), list | None):
        reported = [item for target in result.get("Results") or () for item in items(get(target, "Vulnerabilities"))]
        return [(text(get(item, "VulnerabilityID")), _severity(get(item, "Severity"))) for item in reported]
    return None


def _spdx(predicate: Any) -> Iterator[Package]:
    for item in items(get(predicate, "packages")):
        purls = tuple(text(get(ref, "referenceLocator")) for ref in items(get(item, "externalRefs")) if get(ref, "referenceType") == "purl")
        licenses = tuple(text(get(item, key)) for key in ("licenseConcluded", "licenseDeclared"))
        yield Package(names=_names(item, "versionInfo", purls), licenses=tuple(text for text in licenses if text not in ("", "NOASSERTION", "NONE")))


def _cyclonedx(components: Any) -> Iterator[Package]:
    """Components in components too; how deep they can lie is bounded by the reader of the JSON."""
    for item in items(components):
        licenses = []
        for entry in items(get(item, "licenses")):
            one = mapping(entry, "license")
            licenses.append(text(one.get("id")) or text(one.get("name")) or text(get(entry, "expression")))
        yield Package(names=_names(item, "version", (text(get(item, "purl")),)), licenses=tuple(filter(None, licenses)))
        yield from _cyclonedx(get(item, "components"))


def _names(item: Any, version_key: str, purls: tuple[str, ...]) -> tuple[str, ...]:
    name, version = text(get(item, "name")), text(get(item, version_key))
    return tuple(filter(None, (name, f"{name}@{version}" if version else "", *purls)))


def _score(value: Any) -> str:
    """A word, or a number of CVSS."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _severity(value)
    return next((word for floor, word in _SCORES if number >= floor), "unknown")


def _severity(value: Any) -> str:
    word = text(value).lower()
    return word if word in SEVERITIES else "unknown"


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
