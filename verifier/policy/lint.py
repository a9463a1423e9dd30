"""Notes about a policy that loads but may not mean what its author thinks."""

from __future__ import annotations

from collections.abc import Iterator

from verifier.policy.document import (
    All,
    AnyOf,
    By,
    ChartIs,
    DigestIn,
    Policy,
    requirements_of,
    walk,
)


def lint(policy: Policy) -> list[str]:
    """Sentences for a person; an empty list is a clean policy."""
    return [*_unused_trust(policy), *_wide_scopes(policy), *_open_versions(policy), *_any_key(policy), *_wide_identities(policy)]


def _unused_trust(policy: Policy) -> Iterator[str]:
    used = {name for node in requirements_of(policy, policy.rules) if isinstance(node, By) for name in node.by}
    for entry in policy.trust:
        if entry.name not in used:
            yield f"trust name {entry.name!r} is used by no rule"


def _wide_scopes(policy: Policy) -> Iterator[str]:
    for rule in policy.rules:
        for scope in rule.scopes:
            if scope.host and scope.segments == ("**",):
                yield f"rule {rule.name!r}: {scope.text} covers everything on {scope.host}, also what strangers may publish there"


def _open_versions(policy: Policy) -> Iterator[str]:
    for rule in policy.rules:
        floor = rule.chart is not None and (rule.chart.version is not None or rule.chart.pinned or rule.chart.max_age is not None)
        pinned = any(isinstance(item, ChartIs) and item.pinned for item in policy.baseline)
        digests_only = all(isinstance(node, DigestIn | All | AnyOf) for node in walk(rule.require))
        if not floor and not pinned and not digests_only:
            yield f"rule {rule.name!r}: no version floor, pin or age, so an old signed version can be served again (rollback)"


def _any_key(policy: Policy) -> Iterator[str]:
    for entry in policy.trust:
        if entry.any_key:
            yield f"trust name {entry.name!r}: whoever adds a key to the keyring adds a signer; name fingerprints instead"


def _wide_identities(policy: Policy) -> Iterator[str]:
    for entry in policy.trust:
        if entry.identity is not None and entry.identity.san.text.endswith(("**", ".*", ".+")):
            yield f"trust name {entry.name!r}: {entry.identity.san.text} covers any workflow and any ref below it, those of pull requests too"
