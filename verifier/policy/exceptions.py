"""Exceptions: failures that somebody lets pass, for one chart, for a while, with name and reason (semantics 23).

1. An exception is bound to repository, digest, rule and codes; nothing else is let pass by it.
2. It can let pass what a requirement or a condition says. The digest chain, the rules of archives, binding, the deny list, forgery and
   whatever could not be told are no matter of exceptions: their codes are refused where an exception is read.
3. A signed one counts as long as its key does: inside the key's window, and not if the deny list names the key.
4. Of several that share a code the one that ends first holds: after its end none of them lets anything pass until it is taken away.

5. Where a requirement looks for evidence, the code of there being none (`unsigned`, `attestation-missing`, `summary-missing`) and those of
   strangers' evidence (`signer-not-allowed`, `identity-mismatch`) all let pass that none counts, whatever lies there: otherwise whoever may
   attach something could take the exception away, or make one hold. Another code lets a signature count that fails for nothing else.

A check that is let pass stays failed, and says by whom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from msgspec.structs import replace

from verifier.formats.yaml import Node
from verifier.model import codes
from verifier.model.codes import Code
from verifier.model.decision import Check, Result, Waiver
from verifier.policy.case import Case
from verifier.policy.claims import in_window
from verifier.policy.contents import chart_of
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
_STRANGERS = (codes.SIGNER_NOT_ALLOWED.name, codes.IDENTITY_MISMATCH.name)
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
        repository=chart_of(fields.need("repository")),
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
    return _excused(check, case, lambda codes_: check.code is not None and check.code.name in codes_)


def excused_evidence(check: Check, case: Case, nothing: Code) -> Check:
    """The same of a requirement that looks for evidence: strangers' evidence neither takes an exception away nor makes one hold (5).

    `nothing` is the code of there being none.
    """
    none_counts = {nothing.name, *_STRANGERS}
    return _excused(check, case, lambda waived: not none_counts.isdisjoint(waived) or any(_all_codes(child) <= waived for child in check.children))


def _excused(check: Check, case: Case, holds: Callable[[frozenset[str]], bool]) -> Check:
    if check.outcome is not Result.FAILED or not case.policy.exceptions:
        return check
    bound = list(bound_to(case))
    ended = [item.codes for item in bound if item.waiver.expires <= case.now]
    live = [item for item in bound if item.waiver.expires > case.now and not any(item.codes & codes_ for codes_ in ended)]  # 4
    holding = [item for item in live if holds(item.codes)]
    return replace(check, waived=min(holding, key=lambda item: item.waiver.expires).waiver) if holding else check


def _all_codes(check: Check) -> frozenset[str]:
    """All that keeps one claim from counting."""
    own = frozenset((check.code.name,)) if check.code is not None else frozenset[str]()
    return own.union(*(_all_codes(child) for child in check.children))


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
