"""What scanners, bills of materials and VEX documents say, each kind in one shape; None where a predicate is of no shape that is known.

Sources: sigstore/cosign specs/COSIGN_VULN_ATTESTATION_SPEC.md with the reports of Trivy and Grype in it; in-toto/attestation
spec/predicates/vuln.md (0.1, 0.2); openvex/spec OPENVEX-SPEC.md; SPDX 2.3 JSON; CycloneDX 1.x JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

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
    scanner, metadata = _map(_get(predicate, "scanner")), _map(_get(predicate, "metadata"))
    result = scanner.get("result")
    found = _listed(result) if predicate_type in IN_TOTO_VULNS else _reported(result)
    if found is None or len(found) > _MOST:
        return None
    return Scan(scanner=_text(scanner.get("uri")), finished=_time(metadata.get("scanFinishedOn")), found=tuple(found))


def read_statuses(predicate: Any) -> tuple[tuple[str, str], ...] | None:
    """An OpenVEX document's statements: the vulnerability and the status that is said of it."""
    statements = _get(predicate, "statements")
    if not isinstance(statements, list) or not statements or len(statements) > _MOST:
        return None
    found = []
    for item in statements:
        status, vulnerability = _text(_get(item, "status")), _get(item, "vulnerability")
        name = _text(_get(vulnerability, "name")) or _text(_get(vulnerability, "@id")) or _text(vulnerability)
        if status not in VEX_STATUSES:
            return None
        found.append((name or "a vulnerability without a name", status))
    return tuple(found)


def read_packages(predicate_type: str, predicate: Any) -> tuple[Package, ...] | None:
    """The packages of an SPDX or CycloneDX document; None where it holds none, too."""
    items = list(_spdx(predicate) if predicate_type == SPDX else _cyclonedx(_get(predicate, "components")))
    return tuple(items) if 0 < len(items) <= _MOST else None


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
        severities = [_score(_get(entry, "score")) for entry in _items(_get(item, "severity"))]
        found.append((_text(_get(item, "id")), min(severities, key=SEVERITIES.index) if severities else "unknown"))
    return found


def _reported(result: Any) -> list[tuple[str, str]] | None:
    """Trivy's or Grype's report inside cosign's predicate."""
    if isinstance(_get(result, "matches"), list):
        return [(_text(_get(item, "id")), _severity(_get(item, "severity"))) for match in result["matches"] for item in (_get(match, "vulnerability"),)]
    # Trivy leaves Results out where it found nothing to scan, and Vulnerabilities where it found none.
    if isinstance(result, dict) and "SchemaVersion" in result and isinstance(result.get("Results", []), list | None):
        items = [item for target in result.get("Results") or () for item in _items(_get(target, "Vulnerabilities"))]
        return [(_text(_get(item, "VulnerabilityID")), _severity(_get(item, "Severity"))) for item in items]
    return None


def _spdx(predicate: Any) -> Iterator[Package]:
    for item in _items(_get(predicate, "packages")):
        purls = tuple(_text(_get(ref, "referenceLocator")) for ref in _items(_get(item, "externalRefs")) if _get(ref, "referenceType") == "purl")
        licenses = tuple(_text(_get(item, key)) for key in ("licenseConcluded", "licenseDeclared"))
        yield Package(names=_names(item, "versionInfo", purls), licenses=tuple(text for text in licenses if text not in ("", "NOASSERTION", "NONE")))


def _cyclonedx(components: Any) -> Iterator[Package]:
    """Components in components too; how deep they can lie is bounded by the reader of the JSON."""
    for item in _items(components):
        licenses = []
        for entry in _items(_get(item, "licenses")):
            one = _map(_get(entry, "license"))
            licenses.append(_text(one.get("id")) or _text(one.get("name")) or _text(_get(entry, "expression")))
        yield Package(names=_names(item, "version", (_text(_get(item, "purl")),)), licenses=tuple(filter(None, licenses)))
        yield from _cyclonedx(_get(item, "components"))


def _names(item: Any, version_key: str, purls: tuple[str, ...]) -> tuple[str, ...]:
    name, version = _text(_get(item, "name")), _text(_get(item, version_key))
    return tuple(filter(None, (name, f"{name}@{version}" if version else "", *purls)))


def _score(value: Any) -> str:
    """A word, or a number of CVSS."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _severity(value)
    return next((word for floor, word in _SCORES if number >= floor), "unknown")


def _severity(value: Any) -> str:
    word = _text(value).lower()
    return word if word in SEVERITIES else "unknown"


def _time(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None


def _plain(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
