"""The deny list, which beats everything else (semantics 16).

1. A digest or a name denies the chart: also where it lies inside of another one, at any depth, or is an image that was looked up.
2. A fingerprint, a key or an identity strikes out what it signed: it counts nowhere, and is told as a rejection. What it provably signed
   before `revokedAt` still counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from verifier.charts.version import Version, parse_version
from verifier.model import codes
from verifier.model.artifact import Chart, Subchart
from verifier.model.claim import CertificateSigner, Claim, KeySigner, OpenPGPSigner, Rejection
from verifier.model.context import Facts, PartKind
from verifier.model.decision import Check, Result
from verifier.policy.claims import attributed
from verifier.policy.document import Denied, Policy


def counted(policy: Policy, facts: Facts) -> Facts:  # 2
    """The facts with their claims attributed; those of signers on the deny list are rejections."""
    found = tuple(attributed(policy, claim) for claim in facts.claims)
    struck = tuple(_struck(policy, claim) for claim in found)
    claims = tuple(claim for claim, entry in zip(found, struck, strict=True) if entry is None)
    rejections = facts.rejections + tuple(_as_rejection(claim, entry) for claim, entry in zip(found, struck, strict=True) if entry)
    return replace(facts, claims=claims, rejections=rejections)


def deny_listed(policy: Policy, facts: Facts, chart: Chart) -> Check | None:  # 1
    """The entry that names the chart or something in it, as a check that failed; None if there is none."""
    named = tuple(_named(facts, chart)) if policy.deny else ()
    for entry in policy.deny:
        if any(_names(entry, name, version, digests) for name, version, digests in named):
            reason = f"the deny list names {entry.what}" + (f": {entry.reason}" if entry.reason else "")
            return Check(name="deny", outcome=Result.FAILED, reason=reason, code=codes.DENY_LISTED)
    return None


def _named(facts: Facts, chart: Chart) -> Iterator[tuple[str, str, frozenset[str]]]:
    yield chart.facts.name, chart.facts.version, frozenset(str(digest) for digest in chart.digests)
    yield from _named_below(chart.facts.subcharts)
    for part in facts.parts:
        if part.facts is not None and part.facts.artifact is not None and part.kind is PartKind.IMAGE:
            yield "", "", frozenset(str(digest) for digest in part.facts.artifact.digests)


def _named_below(subcharts: Sequence[Subchart]) -> Iterator[tuple[str, str, frozenset[str]]]:
    for item in subcharts:
        yield item.name, item.version, frozenset((str(item.digest),)) if item.digest else frozenset()
        yield from _named_below(item.subcharts)


def _names(entry: Denied, name: str, version: str, digests: frozenset[str]) -> bool:
    if entry.digest is not None:
        return entry.digest in digests
    if entry.name is None or entry.name != name:
        return False
    parsed = parse_version(version)
    return entry.versions is None or parsed is None or _in_range(entry, parsed)


def _in_range(entry: Denied, version: Version) -> bool:
    """A pre-release of a denied version is denied too, whatever the range's own rule for pre-releases."""
    assert entry.versions is not None
    return entry.versions.admits(version) or entry.versions.admits(replace(version, pre=()))


def _struck(policy: Policy, claim: Claim) -> Denied | None:
    """The deny entry that keeps a claim from counting."""
    for entry in policy.deny:
        if _names_signer(entry, claim):
            proven = [time.at for time in claim.times if time.proven]
            if entry.revoked_at is None or not proven or max(proven) >= entry.revoked_at:
                return entry
    return None


def _names_signer(entry: Denied, claim: Claim) -> bool:
    match claim.signer:
        case OpenPGPSigner(fingerprint=fingerprint, signing_key=signing_key, key_id=key_id):
            return (entry.fingerprint is not None and entry.fingerprint in (fingerprint, signing_key)) or (entry.key is not None and entry.key == key_id)
        case KeySigner(key_id=key_id):
            return entry.key is not None and entry.key == key_id
        case CertificateSigner(identity=identity, issuer=issuer):
            return entry.identity is not None and entry.identity.matches(identity) and entry.issuer in (None, issuer)


def _as_rejection(claim: Claim, entry: Denied) -> Rejection:
    reason = f"the deny list names {entry.what}" + (f": {entry.reason}" if entry.reason else "")
    return Rejection(scheme=claim.scheme, code=codes.DENY_LISTED, reason=reason, location=claim.location, signer=str(claim.signer))
