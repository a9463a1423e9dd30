"""Findings about a policy that loads, but may not mean what its author thinks: each with where, why, and what to do.

An `error` has let attackers through elsewhere, or says something that can never be; a `warning` will, one day; a `note` is worth a look.
The names of the findings are stable; docs/policy.md lists them, and tests hold the list.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from verifier.model.context import Context, Facts, Request
from verifier.model.decision import Action
from verifier.model.reference import WEB_SCHEMES, ChartRepositoryReference, FileReference, Origin, Reference
from verifier.policy.document import (
    All,
    AnyOf,
    AtLeast,
    Attested,
    By,
    ChartIs,
    DigestIn,
    Expr,
    Policy,
    Requirement,
    Rule,
    Signed,
    TrustEntry,
    Verified,
    requirements_of,
    walk,
)
from verifier.policy.exceptions import overlapping
from verifier.policy.identity import GITHUB_ISSUER, How
from verifier.policy.scopes import Scope
from verifier.policy.select import select_rule

_SOON = timedelta(days=14)
_UNESCAPED = re.compile(r"(?<!\\)\.(com|org|net|io|dev|example|test|ya?ml)\b")
_ANY_REF = re.compile(r"@(\*|\*\*|refs/\*|refs/\*\*|refs/pull/.*)$")
_LOOP = re.compile(r"\.(?:all|exists|exists_one|map|filter)\(")
_LOOPS = 2  # one in another is what a list of lists takes
_PRODUCTION = ("production", "prod", "live")


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(Struct, frozen=True, kw_only=True):
    """One finding. `path` leads to the field in the document, by names and, for rules, by the rule's name."""

    name: str
    level: Level
    path: tuple[str, ...]
    why: str
    fix: str


class Expiry(Struct, frozen=True, kw_only=True):
    """When something that a trust name or a root holds ends, as its file says; `what` names it."""

    path: tuple[str, ...]
    what: str
    at: datetime


def lint(policy: Policy, now: datetime, expiries: tuple[Expiry, ...] = ()) -> list[Finding]:
    """All findings, the worst first; `expiries` are of the trust files, which this module does not read."""
    found = [finding for check in _CHECKS for finding in check(policy, now)]
    found += [finding for expiry in expiries for finding in _ended(expiry, now)]
    order = list(Level)
    return sorted(found, key=lambda finding: order.index(finding.level))


# Trust


def _unused_trust(policy: Policy, _: datetime) -> Iterator[Finding]:
    used = {name for node in requirements_of(policy, policy.rules) if isinstance(node, By) for name in node.by} | set(policy.exception_sources.by)
    for entry in policy.trust:
        if entry.name not in used:
            why, fix = "no rule uses it: a leftover, or a rule names another than it should", "use it in a rule, or take it away"
            yield _finding("unused-trust", Level.WARNING, ("trust", entry.name), (why, fix))


def _any_key(policy: Policy, _: datetime) -> Iterator[Finding]:
    for entry in policy.trust:
        if entry.any_key:
            why = "whoever adds a key to the keyring adds a signer"
            yield _finding("any-key", Level.WARNING, ("trust", entry.name, "openpgp", "anyKey"), (why, "name the fingerprints of the keys that you mean"))


def _wide_identities(policy: Policy, _: datetime) -> Iterator[Finding]:
    for entry in policy.trust:
        if entry.identity is None:
            continue
        text, path = entry.identity.san.text, _identity_path(entry)
        if text.endswith(("**", ".*", ".+")) and not _ANY_REF.search(text):
            why = f"{text} covers any workflow and any ref below it, those of pull requests too"
            yield _finding("wide-identity", Level.ERROR, path, (why, "name the workflow's file, and end with @refs/tags/* or one branch"))
        elif entry.identity.issuer == GITHUB_ISSUER and _ANY_REF.search(text):
            why = f"{text} covers refs of pull requests, which anybody can open"
            yield _finding("any-ref", Level.ERROR, path, (why, "end the identity with @refs/tags/* or one branch"))
        if entry.identity.san.how is How.REGEXP and (dot := _UNESCAPED.search(text)):
            why = f"the dot in {dot[0]!r} stands for any character, so another host's or file's name fits as well"
            yield _finding("unescaped-dot", Level.ERROR, path, (why, f"write \\{dot[0]}, or use identity: with * instead of a regular expression"))


def _ended_windows(policy: Policy, now: datetime) -> Iterator[Finding]:
    for entry in policy.trust:
        if entry.not_after is not None:
            yield from _ended(Expiry(path=("trust", entry.name, str(entry.kind), "notAfter"), what="its window", at=entry.not_after), now)
    for root in policy.roots:
        if root.max_age is not None and root.as_of is not None:
            yield from _ended(Expiry(path=("roots", root.name, "maxAge"), what="the age that is allowed for the root", at=root.as_of + root.max_age), now)


def _ended(expiry: Expiry, now: datetime) -> Iterator[Finding]:
    left = expiry.at - now
    if left <= timedelta():
        why = f"{expiry.what} ended at {expiry.at:%Y-%m-%d}: nothing that is signed now counts"
        yield _finding("expired", Level.ERROR, expiry.path, (why, "put the successor in, or take it away"))
    elif left <= _SOON:
        yield _finding("expires-soon", Level.WARNING, expiry.path, (f"{expiry.what} ends at {expiry.at:%Y-%m-%d}", "put the successor in beside it"))


# Rules


def _never_matches(policy: Policy, _: datetime) -> Iterator[Finding]:
    """Each scope's patterns are filled with words that nobody writes: if another rule wins for all of them, this one never does."""
    for rule in policy.rules:
        context = Context(**{key: sorted(values)[0] for key, values in rule.context})
        winners = [select_rule(policy, Facts(request=Request(reference=item, context=context), artifact=None)) for item in _witnesses(rule)]
        if winners and all(winner is not rule for winner in winners):
            other = next((winner.name for winner in winners if isinstance(winner, Rule)), None)
            why = f"whatever it speaks of, the rule {other!r} is more specific" if other else "it needs context that another rule for the same charts demands"
            yield _finding("never-matches", Level.ERROR, ("rules", rule.name, "charts"), (why, "take the rule away, or correct its scopes"))


def _witnesses(rule: Rule) -> Iterator[Origin | FileReference]:
    for scope in rule.scopes:
        for times in (0, 1, 2):
            path = "/".join(part for segment in scope.segments for part in _filled(segment, times))
            if path:
                yield _reference(scope, path)


def _filled(segment: str, times: int) -> list[str]:
    return ["zzq"] * times if segment == "**" else [segment.replace("*", "zzq")]


def _reference(scope: Scope, path: str) -> Origin | FileReference:
    if scope.host.startswith(WEB_SCHEMES):
        return ChartRepositoryReference(registry=scope.host, repository=path, version=None, digest=None, written=path)
    if scope.host:
        return Reference(registry=scope.host, repository=path, tag=None, digest=None, written=path)
    return FileReference(path=f"/{path}", written=path)


def _no_evidence(policy: Policy, _: datetime) -> Iterator[Finding]:
    """A branch that only looks at the chart passes for whoever writes the chart."""
    baseline = [item for item in policy.baseline if _proves(item)]
    for rule in policy.rules:
        if baseline or _proves(rule.require):
            continue
        why = "a chart can pass without a signature, an attestation or a review: anybody who can push may write such a chart"
        yield _finding("no-evidence", Level.ERROR, ("rules", rule.name, "require"), (why, "demand signed, attested or digest in every branch"))


def _proves(requirement: Requirement) -> bool:
    """Whether meeting it takes something that not everybody can make."""
    match requirement:
        case Signed() | Attested() | Verified() | DigestIn() | AtLeast():
            return True
        case ChartIs() | Expr():
            return False
        case All(of=of):
            return any(_proves(item) for item in of)
        case AnyOf(of=of):
            return all(_proves(item) for item in of)


def _warns_only(policy: Policy, now: datetime) -> Iterator[Finding]:
    for rule in policy.rules:
        environments = dict(rule.context).get("environment")
        production = environments is None or any(name in environments for name in _PRODUCTION)
        if not any(_enforces(item, now) for item in (*policy.baseline, rule.require)):
            why = "all that it demands only warns, so it never denies" + ("; nothing says that this is not production" if production else "")
            fix = "enforce something, or say `when: {environment: [dev]}`"
            yield _finding("warns-only", Level.ERROR if production else Level.NOTE, ("rules", rule.name, "require"), (why, fix))


def _enforces(requirement: Requirement, now: datetime) -> bool:
    if requirement.action is Action.WARN or (requirement.window.enforce_from is not None and now < requirement.window.enforce_from):
        return requirement.action is not Action.WARN  # what is enforced later is a plan, no hole
    if isinstance(requirement, All):
        return any(_enforces(item, now) for item in requirement.of)
    return True


def _dead_branches(policy: Policy, now: datetime) -> Iterator[Finding]:
    for rule in policy.rules:
        for node in walk(rule.require):
            if node.window.until is not None and node.window.until <= now:
                why = f"a branch counted until {node.window.until:%Y-%m-%d} and will never count again"
                yield _finding("dead-branch", Level.WARNING, ("rules", rule.name, "require"), (why, "take the branch away, with what only it uses"))
            if isinstance(node, DigestIn) and all(entry.expires <= now for entry in node.entries):
                why = "every review of a digest has ended"
                yield _finding("reviews-ended", Level.WARNING, ("rules", rule.name, "require"), (why, "review again, or take the branch away"))


def _wide_scopes(policy: Policy, _: datetime) -> Iterator[Finding]:
    for rule in policy.rules:
        for scope in rule.scopes:
            if scope.host and scope.segments == ("**",):
                why = f"{scope.text} covers everything on {scope.host}, also what strangers may publish there"
                yield _finding("wide-scope", Level.WARNING, ("rules", rule.name, "charts"), (why, "name the organisation's path"))


def _open_versions(policy: Policy, _: datetime) -> Iterator[Finding]:
    for rule in policy.rules:
        floor = rule.chart is not None and (rule.chart.version is not None or rule.chart.pinned or rule.chart.max_age is not None)
        pinned = any(isinstance(item, ChartIs) and item.pinned for item in policy.baseline)
        digests_only = all(isinstance(node, DigestIn | All | AnyOf) for node in walk(rule.require))
        if not floor and not pinned and not digests_only:
            why = "an old signed version can be served again (rollback)"
            yield _finding("rollback", Level.NOTE, ("rules", rule.name), (why, "give it a version floor, an age or `pinned: true` under chart:"))


def _message_form(policy: Policy, _: datetime) -> Iterator[Finding]:
    for rule in policy.rules:
        if any(isinstance(node, Signed) and "message" in node.forms for node in walk(rule.require)):
            why = "a plain signature names no purpose: what was signed for something else counts as well"
            yield _finding("message-form", Level.NOTE, ("rules", rule.name, "require"), (why, "sign with `verifier sign`, and leave forms out"))


def _slow_expressions(policy: Policy, _: datetime) -> Iterator[Finding]:
    """Loops in loops multiply: over a predicate of some size the library's budget ends them, and the expression fails."""
    for rule in policy.rules:
        for node in walk(rule.require):
            text = node.text if isinstance(node, Expr) else node.expr if isinstance(node, Signed | Attested) else None
            if text is not None and len(_LOOP.findall(text)) > _LOOPS:
                why = f"an expression with {len(_LOOP.findall(text))} loops can run out of steps, and then fails: {text[:60]}"
                yield _finding(
                    "slow-expression", Level.WARNING, ("rules", rule.name, "require"), (why, "split it, or use packages, vulnerabilities, statuses or fields")
                )


def _exceptions(policy: Policy, now: datetime) -> Iterator[Finding]:
    for item in policy.exceptions:
        left = item.waiver.expires - now
        if left <= _SOON:
            level, what = (Level.WARNING, "ended") if left <= timedelta() else (Level.NOTE, "ends")
            why = f"the exception {item.waiver.ticket} {what} at {item.waiver.expires:%Y-%m-%d}"
            yield _finding("exception-ends", level, ("exceptions",), (why, "`verifier policy exceptions` says what breaks; take away what ended"))
    for first, later in overlapping(policy):
        why = f"{first.waiver.ticket} and {later.waiver.ticket} are for the same failure: the one that ends first holds"
        yield _finding("exceptions-overlap", Level.WARNING, ("exceptions",), (why, f"take {first.waiver.ticket} away"))


_CHECKS: tuple[Callable[[Policy, datetime], Iterator[Finding]], ...] = (
    _unused_trust,
    _any_key,
    _wide_identities,
    _ended_windows,
    _never_matches,
    _no_evidence,
    _warns_only,
    _dead_branches,
    _wide_scopes,
    _open_versions,
    _message_form,
    _slow_expressions,
    _exceptions,
)
FINDINGS = (
    "unused-trust",
    "any-key",
    "wide-identity",
    "any-ref",
    "unescaped-dot",
    "expired",
    "expires-soon",
    "never-matches",
    "no-evidence",
    "warns-only",
    "dead-branch",
    "reviews-ended",
    "wide-scope",
    "rollback",
    "message-form",
    "slow-expression",
    "exception-ends",
    "exceptions-overlap",
)


def _finding(name: str, level: Level, path: tuple[str, ...], said: tuple[str, str]) -> Finding:
    return Finding(name=name, level=level, path=path, why=said[0], fix=said[1])


def _identity_path(entry: TrustEntry) -> tuple[str, ...]:
    regexp = entry.identity is not None and entry.identity.san.how is How.REGEXP
    return ("trust", entry.name, "keyless", "identityRegexp" if regexp else "identity")
