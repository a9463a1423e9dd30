"""Exceptions: failures that somebody lets pass, for one chart, for a while, with name and reason (semantics 23).

1. An exception is bound to repository, digest, rule and codes; nothing else is let pass by it.
2. It can let pass what a requirement or a condition says. The digest chain, the rules of archives, binding, the deny list, forgery and
   whatever could not be told are no matter of exceptions: their codes are refused where an exception is read.
3. A signed one counts as long as its key does: inside the key's window, and not if the deny list names the key.
4. Of several for the same failure the one that ends first holds: after its end nothing is let pass until it is taken away.

A check that is let pass stays failed, and says by whom.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from msgspec.structs import replace

from verifier.formats.yaml import Node
from verifier.model import codes
from verifier.model.decision import Check, Result, Waiver
from verifier.policy.case import Case
from verifier.policy.claims import in_window
from verifier.policy.contents import repository_of
from verifier.policy.document import ExceptionSources, Exemption, Policy, TrustKind
from verifier.policy.fields import Fields, fail, known, moment, one_of, sequence, text, texts
from verifier.policy.requirements import Names, by_names_of, digest_text

PAYLOAD_TYPE = "application/vnd.helm-verifier.exception.v1+json"
API_VERSION, KIND = "verifier/v1", "Exception"
_FIELDS = ("repository", "digest", "rule", "codes", "owner", "reason", "ticket", "expires")
_WAIVABLE = (
    codes.UNSIGNED,
    codes.SIGNER_NOT_ALLOWED,
    codes.IDENTITY_MISMATCH,
    codes.KEY_OUTSIDE_WINDOW,
    codes.KEY_EXPIRED,
    codes.KEY_RETIRED,
    codes.TLOG_REQUIRED,
    codes.ROOT_TOO_OLD,
    codes.ATTESTATION_MISSING,
    codes.ATTESTATION_CONDITION,
    codes.SUMMARY_MISSING,
    codes.SUMMARY_REFUSED,
    codes.THRESHOLD,
    codes.WINDOW_CLOSED,
    codes.DIGEST_NOT_LISTED,
    codes.NOT_PINNED,
    codes.VERSION_REFUSED,
    codes.PRERELEASE,
    codes.CHART_CONDITION,
    codes.TOO_OLD,
    codes.AGE_UNPROVEN,
    codes.SUBCHART_UNPACKED,
    codes.SUBCHART_UNJUDGED,
    codes.IMAGE_REFUSED,
    codes.EXPRESSION_FALSE,
)
_OF_PARTS = (codes.SUBCHART_UNPACKED, codes.SUBCHART_UNJUDGED, codes.IMAGE_REFUSED)
WAIVABLE = frozenset(code.name for code in _WAIVABLE)  # 2


def read_exceptions(node: Node, names: Names) -> tuple[ExceptionSources, tuple[Exemption, ...]]:
    """Read `exceptions:` of a policy; raises YamlError."""
    fields = Fields(node, "exceptions", ("by", "signed", "granted"))
    if fields.has("by") != fields.has("signed"):
        fail(node, "by and signed go together: whose exceptions count, and where they lie")
    by = by_names_of(fields, names) if fields.has("by") else ()
    for name in by:
        if names.kinds[name] is not TrustKind.KEY:
            fail(fields.need("by"), f"{name} is no key: exceptions are signed with keys")
    granted = fields.get("granted", lambda inner: tuple(read_exemption(item) for item in sequence(inner)), ())
    return ExceptionSources(by=by, signed=fields.get("signed", texts, ())), granted


def read_exemption(node: Node) -> Exemption:
    """Read one exception; raises YamlError."""
    fields = Fields(node, "an exception", _FIELDS)
    return Exemption(
        repository=repository_of(fields.need("repository")),
        digest=digest_text(fields.need("digest")),
        rule=text(fields.need("rule")),
        codes=frozenset(_code(item) for item in sequence(fields.need("codes"))),
        waiver=Waiver(
            owner=text(fields.need("owner")), reason=text(fields.need("reason")), ticket=text(fields.need("ticket")), expires=moment(fields.need("expires"))
        ),
        place=f"line {fields.node.line}",
    )


def read_document(node: Node) -> Exemption:
    """Read an exception that stands alone, as it is signed: the same fields under `apiVersion` and `kind`; raises YamlError."""
    fields = Fields(node, "an exception", ("apiVersion", "kind", "exception"))
    one_of(API_VERSION)(fields.need("apiVersion"))
    one_of(KIND)(fields.need("kind"))
    return read_exemption(fields.need("exception"))


def excused(check: Check, case: Case) -> Check:
    """The check, let pass where an exception that holds now says so."""
    if check.outcome is not Result.FAILED or check.code is None or not case.policy.exceptions:
        return check
    bound = [item for item in bound_to(case) if check.code.name in item.codes]
    if not bound:
        return check
    first = min(bound, key=lambda item: item.waiver.expires)  # 4
    return replace(check, waived=first.waiver) if case.now < first.waiver.expires else check


def excused_part(check: Check, case: Case) -> Check:
    """The same of a part of the chart: only what the chart's own rule says of its parts; a subchart's rule has exceptions of its own."""
    return excused(check, case) if check.code in _OF_PARTS else check


def bound_to(case: Case) -> Iterator[Exemption]:  # 1, 3
    """The exceptions for this chart under this rule whose signer counts now."""
    digests = {str(digest) for digest in case.artifact.digests}
    for item in case.policy.exceptions:
        if item.rule == case.rule.name and item.repository == case.repository and item.digest in digests and _counts(item, case.policy, case.now):
            yield item


def overlapping(policy: Policy) -> Iterator[tuple[Exemption, Exemption]]:
    """Pairs that are for the same failure, the one that ends first before the other."""
    ordered = sorted(policy.exceptions, key=lambda item: item.waiver.expires)
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if (one.repository, one.digest, one.rule) == (other.repository, other.digest, other.rule) and one.codes & other.codes:
                yield one, other


def _counts(item: Exemption, policy: Policy, now: datetime) -> bool:
    if item.key is None:
        return True
    if any(entry.key == item.key for entry in policy.deny):
        return False
    return any(entry.name == item.waiver.granted_by and in_window(entry, now) for entry in policy.trust)


def _code(node: Node) -> str:
    written = text(node)
    if written not in codes.ALL:
        fail(node, f"{written[:60]!r} is no code; {known(written, WAIVABLE)}")
    if written not in WAIVABLE:
        fail(node, f"{written} is never let pass: an exception cannot replace what the chart is, nor what could not be told")
    return written
