"""Notes about a policy that loads but may not mean what its author thinks, and a rule in words."""

from __future__ import annotations

from collections.abc import Iterator

from verifier.policy.document import (
    All,
    AnyOf,
    AtLeast,
    Attested,
    By,
    ChartIs,
    Dependencies,
    DigestIn,
    Policy,
    Requirement,
    Rule,
    Signed,
    Verified,
    requirements_of,
    walk,
)


def lint(policy: Policy) -> list[str]:
    """Sentences for a person; an empty list is a clean policy."""
    return [*_unused_trust(policy), *_wide_scopes(policy), *_open_versions(policy), *_any_key(policy), *_wide_identities(policy)]


def describe(policy: Policy, rule: Rule) -> Iterator[str]:
    """What a chart must meet under a rule, line by line."""
    yield f"scopes    {', '.join(scope.text for scope in rule.scopes)}"
    for key, values in rule.context:
        yield f"when      {key} is {' or '.join(sorted(values))}"
    for requirement in policy.baseline:
        yield from (f"baseline  {line}" for line in _words(requirement, ""))
    if rule.chart is not None:
        yield from (f"chart     {line}" for line in _words(rule.chart, ""))
    yield from (f"require   {line}" for line in _words(rule.require, ""))


def _words(requirement: Requirement, indent: str) -> Iterator[str]:
    window = requirement.window
    notes = "".join(f", {word} {moment:%Y-%m-%d}" for word, moment in (("since", window.since), ("until", window.until)) if moment)
    notes += f", enforced from {window.enforce_from:%Y-%m-%d}" if window.enforce_from else ""
    notes += ", warns only" if requirement.action == "warn" else ""
    match requirement:
        case Signed():
            yield f"{indent}signed by {' or '.join(requirement.by)}{notes}"
        case Attested():
            yield f"{indent}attested {requirement.predicate_type} by {' or '.join(requirement.by)}{notes}"
        case Verified():
            yield f"{indent}verified by {requirement.verifier}, signed by {' or '.join(requirement.by)}{notes}"
        case DigestIn():
            yield f"{indent}one of {len(requirement.entries)} reviewed digests{notes}"
        case ChartIs():
            yield f"{indent}the chart itself: {_conditions(requirement)}{notes}"
        case All(of=of):
            yield f"{indent}all of{notes}:"
            yield from _below(of, indent)
        case AnyOf(of=of):
            yield f"{indent}any of{notes}:"
            yield from _below(of, indent)
        case AtLeast(of=of):
            yield f"{indent}at least {requirement.count} distinct signers of{notes}:"
            yield from _below(of, indent)


def _below(requirements: tuple[Requirement, ...], indent: str) -> Iterator[str]:
    for requirement in requirements:
        yield from _words(requirement, indent + "  ")


def _conditions(chart: ChartIs) -> str:
    pairs = {
        "name": chart.name,
        "pinned": chart.pinned,
        "version": chart.version.text if chart.version else None,
        "prerelease": chart.prerelease,
        "signed within": chart.max_age,
        "annotations": ", ".join(chart.annotations) or None,
        "type": chart.type,
        "deprecated": chart.deprecated,
        "at most bytes": chart.max_bytes,
        "for Kubernetes": ".".join(map(str, chart.kube_version.numbers)) if chart.kube_version else None,
        "dependencies": _origins(chart.dependencies) if chart.dependencies else None,
    }
    return "; ".join(f"{key} {value}" for key, value in pairs.items() if value is not None)


def _origins(wanted: Dependencies) -> str:
    listed = [*(scope.text for scope in wanted.scopes or ()), *sorted(wanted.urls)]
    return ", ".join([*(["locked"] if wanted.locked else []), *([f"from {' or '.join(listed)}"] if wanted.scopes is not None else [])])


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
