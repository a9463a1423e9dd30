"""Conditions on what an attestation says, beside build provenance: scans, bills of materials, VEX, and any field of any predicate.

1. A predicate of a shape that is not known meets no condition: nothing means no.
2. A scan: by a scanner that is meant, finished not longer ago than `maxAge`, and nothing found of the severities that are refused; a severity
   that cannot be told counts as refused.
3. A bill of materials: none of its packages or licenses is refused.
4. VEX: no statement has a status that is refused.
5. Fields: each path holds a text that fits its pattern.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from verifier.attest.findings import OPENVEX, VULNERABILITIES, leaf, read_packages, read_scan, read_statuses
from verifier.attest.predicates import TYPES
from verifier.formats.yaml import Node
from verifier.model import limits
from verifier.model.claim import Attestation, Claim
from verifier.policy.document import Attested, PackageConditions, PredicateConditions, ScanConditions
from verifier.policy.fields import Fields, duration, fail, named, one_of, pattern, sequence, texts

_SBOMS = (TYPES["spdx"], TYPES["cyclonedx"])
KEYS = ("vulnerabilities", "packages", "statuses", "fields")


def read_conditions(fields: Fields, predicate_type: str) -> PredicateConditions | None:
    """Read the conditions beside an attestation's type; raises YamlError for one that says nothing of this type."""
    for key, types in (("vulnerabilities", VULNERABILITIES), ("packages", _SBOMS), ("statuses", (OPENVEX,))):
        if fields.has(key) and predicate_type not in types:
            fail(fields.need(key), f"{key} speaks of {' or '.join(types)}, and this is {predicate_type}")
    if not any(fields.has(key) for key in KEYS):
        return None
    from verifier.attest.findings import VEX_STATUSES

    return PredicateConditions(
        scan=fields.optional("vulnerabilities", _scan),
        packages=fields.optional("packages", _packages),
        statuses=fields.get("statuses", lambda inner: _words(Fields(inner, "statuses", ("none",)).need("none"), VEX_STATUSES), frozenset()),
        fields=fields.get("fields", lambda inner: tuple((path, pattern(item)) for path, item in sorted(named(inner, "fields").items().items())), ()),
    )


def failed_condition(requirement: Attested, claim: Claim, now: datetime) -> str | None:
    """The first condition that an attestation does not meet, in words; None if it meets all."""
    if requirement.conditions is None:
        return None
    assert isinstance(claim.kind, Attestation)
    return next(_failed(requirement.conditions, claim.kind, now), None)


def scan_ends(requirement: Attested, claim: Claim) -> Iterator[datetime]:
    """When a scan will be too old."""
    wanted = requirement.conditions.scan if requirement.conditions is not None else None
    if wanted is not None and wanted.max_age is not None and isinstance(claim.kind, Attestation) and claim.kind.predicate_type == requirement.predicate_type:
        scan = read_scan(claim.kind.predicate_type, claim.kind.predicate)
        if scan is not None and scan.finished is not None:
            yield scan.finished + wanted.max_age


def _failed(wanted: PredicateConditions, said: Attestation, now: datetime) -> Iterator[str]:
    if wanted.scan is not None:
        yield from _failed_scan(wanted.scan, said, now)
    if wanted.packages is not None:
        yield from _failed_packages(wanted.packages, said)
    if wanted.statuses:
        yield from _failed_statuses(wanted.statuses, said.predicate)
    for path, expected in wanted.fields:  # 5
        found = leaf(said.predicate, path)
        if found is None or not expected.matches(found):
            yield f"its {path} is {found!r}, expected {expected.text!r}"


def _failed_scan(wanted: ScanConditions, said: Attestation, now: datetime) -> Iterator[str]:  # 2
    scan = read_scan(said.predicate_type, said.predicate)
    if scan is None:
        yield "the scan is of no shape that is known (Trivy's or Grype's report, or in-toto's list)"
        return
    if wanted.scanner is not None and not wanted.scanner.matches(scan.scanner):
        yield f"its scanner is {scan.scanner!r}, expected {wanted.scanner.text!r}"
    if wanted.max_age is not None:
        if scan.finished is None:
            yield "it does not say when the scan was finished"
        elif not -timedelta(seconds=limits.CLOCK_SKEW_SECONDS) <= now - scan.finished <= wanted.max_age:
            yield f"the scan was finished at {scan.finished:%Y-%m-%d %H:%M}Z, outside the age that the rule allows"
    for name, severity in scan.found:
        if (severity in wanted.none or (severity == "unknown" and wanted.none)) and name not in wanted.accepted:
            yield f"it found {name or 'something without a name'} ({severity})"


def _failed_packages(wanted: PackageConditions, said: Attestation) -> Iterator[str]:  # 3
    packages = read_packages(said.predicate_type, said.predicate)
    if packages is None:
        yield "the bill of materials is of no shape that is known, or names no package"
        return
    for package in packages:
        for refused in wanted.none:
            if any(refused.matches(name) for name in package.names):
                yield f"it holds {package.names[-1]}, which {refused.text!r} refuses"
        for refused in wanted.licenses:
            if any(refused.matches(text) for text in package.licenses):
                yield f"{package.names[0] if package.names else 'a package'} has the license {package.licenses[0]}, which {refused.text!r} refuses"


def _failed_statuses(none: frozenset[str], predicate: Any) -> Iterator[str]:  # 4
    statuses = read_statuses(predicate)
    if statuses is None:
        yield "it is no OpenVEX document, or says nothing"
        return
    yield from (f"it says that {name} is {status}" for name, status in statuses if status in none)


def _scan(node: Node) -> ScanConditions:
    from verifier.attest.findings import SEVERITIES

    fields = Fields(node, "vulnerabilities", ("none", "accepted", "scanner", "maxAge"))
    scan = ScanConditions(
        none=fields.get("none", lambda inner: _words(inner, SEVERITIES), frozenset()),
        accepted=frozenset(fields.get("accepted", texts, ())),
        scanner=fields.optional("scanner", pattern),
        max_age=fields.optional("maxAge", duration),
    )
    if not scan.none and scan.scanner is None and scan.max_age is None:
        fail(node, "vulnerabilities demands nothing: say none, scanner or maxAge")
    if scan.accepted and not scan.none:
        fail(fields.need("accepted"), "accepted goes with none")
    return scan


def _packages(node: Node) -> PackageConditions:
    fields = Fields(node, "packages", ("none", "licenses"))
    licenses = fields.optional("licenses", lambda inner: _patterns(Fields(inner, "licenses", ("none",)).need("none")))
    packages = PackageConditions(none=fields.get("none", _patterns, ()), licenses=licenses or ())
    if not packages.none and not packages.licenses:
        fail(node, "packages demands nothing: say none or licenses")
    return packages


def _patterns(node: Node) -> tuple[Any, ...]:
    return tuple(pattern(item) for item in sequence(node))


def _words(node: Node, allowed: tuple[str, ...]) -> frozenset[str]:
    return frozenset(one_of(*allowed)(item) for item in sequence(node))
