"""Binding and chart conditions: facts about the chart itself, not about who signed it."""

from __future__ import annotations

from collections.abc import Iterator

from verifier.charts.version import Version, parse_range, parse_version, tag_fits
from verifier.model import codes
from verifier.model.artifact import ChartFacts
from verifier.model.codes import Code
from verifier.model.decision import Action, Check, Result
from verifier.model.errors import MisuseError
from verifier.model.reference import WEB_SCHEMES, parse_oci
from verifier.policy.case import Case
from verifier.policy.document import ChartIs, Dependencies, DigestIn, Policy, Rule, Window
from verifier.policy.exceptions import excused
from verifier.policy.logic import all_of
from verifier.policy.parts import missing_dependency


def check_binding(case: Case) -> Check:
    """Name and version bound to what was asked for (semantics 4); always on, never relaxed by an action."""
    facts = case.chart.facts
    if case.repository is None:
        return _passed("binding", f"{facts.label} is judged as a file; no reference to bind it to")
    wanted = case.rule.chart.name if case.rule.chart and case.rule.chart.name else case.repository.rpartition("/")[2]
    names, versions = ("reference", "reference") if case.repository.startswith(WEB_SCHEMES) else ("repository", "tag")
    children = [
        _check("name", facts.name == wanted, codes.NAME_MISMATCH, f"the chart says name {facts.name!r}", f"the {names} says {wanted!r}"),
    ]
    if case.tag is not None:
        fits = case.tag in case.rule.channels or tag_fits(case.tag, facts.version)
        children.append(_check("version", fits, codes.VERSION_MISMATCH, f"the chart says version {facts.version!r}", f"the {versions} says {case.tag!r}"))
    return all_of("binding", children)


def check_chart(requirement: ChartIs, case: Case, name: str) -> Check:
    """Each condition that is written, as a check of its own, which an exception may let pass."""
    children = [excused(check, case) for check in _conditions(requirement, case)]
    return all_of(name, children or [_passed("conditions", "judged with the signatures")], action=requirement.action)


def has_version_floor(policy: Policy, rule: Rule) -> bool:
    """Whether no version below some version passes this rule, today and later: what only warns, or has a window, is no floor."""
    asked = [rule.chart, *(item for item in policy.baseline if isinstance(item, ChartIs))]
    return any(
        item is not None and item.version is not None and item.version.has_floor and item.action is Action.ENFORCE and item.window == Window() for item in asked
    )


def check_dependencies(facts: ChartFacts) -> Iterator[Check]:
    """A chart whose declared dependencies do not lie in it makes whoever installs it fetch them (semantics 25); Helm itself refuses it."""
    missing = missing_dependency(facts)
    if missing is not None:
        reason = f"dependency {missing!r} is declared and does not lie in charts/"
        yield Check(name="dependencies", outcome=Result.FAILED, reason=reason, code=codes.DEPENDENCY_MISSING)


def check_digest(requirement: DigestIn, case: Case, name: str) -> Check:
    """The chart's own digest, or its archive's, is among the reviewed ones and the review has not ended."""
    for entry in requirement.entries:
        if entry.digest in {str(digest) for digest in case.artifact.digests}:
            if case.now >= entry.expires:
                reason = f"the review by {entry.owner} ended at {entry.expires:%Y-%m-%d}"
                return Check(name=name, outcome=Result.FAILED, reason=reason, code=codes.DIGEST_NOT_LISTED, action=requirement.action)
            return Check(name=name, outcome=Result.PASSED, reason=f"reviewed by {entry.owner}: {entry.reason}", action=requirement.action)
    reason = f"{case.artifact.digests[0].short}... is not among the {len(requirement.entries)} reviewed digests"
    return Check(name=name, outcome=Result.FAILED, reason=reason, code=codes.DIGEST_NOT_LISTED, action=requirement.action)


def _conditions(wanted: ChartIs, case: Case) -> Iterator[Check]:
    facts, metadata = case.chart.facts, case.chart.facts.metadata
    version = parse_version(facts.version)
    if wanted.name is not None:
        yield _check("name", facts.name == wanted.name, codes.NAME_MISMATCH, f"the chart is {facts.name!r}", f"expected {wanted.name!r}")
    if wanted.pinned is not None:
        yield _check("pinned", case.pinned, codes.NOT_PINNED, "the digest was asked for" if case.pinned else "only a tag was asked for", "expected a digest")
    if wanted.version is not None:
        fits = version is not None and wanted.version.admits(version)
        yield _check("version", fits, codes.VERSION_REFUSED, f"the version is {facts.version}", f"expected {wanted.version.text}")
    if wanted.prerelease is not None:
        pre = version is not None and bool(version.pre)
        yield _check("prerelease", not pre or wanted.prerelease, codes.PRERELEASE, f"the version is {facts.version}", "expected a release")
    annotations = metadata.get("annotations") or {}
    for key in wanted.annotations:
        has = bool(annotations.get(key))
        yield _check(f"annotation {key}", has, codes.CHART_CONDITION, f"annotation {key!r} is {'there' if has else 'missing'}", "expected a value")
    if wanted.type is not None:
        kind = metadata.get("type") or "application"
        yield _check("type", kind == wanted.type, codes.CHART_CONDITION, f"the type is {kind}", f"expected {wanted.type}")
    if wanted.deprecated is not None:
        old = bool(metadata.get("deprecated"))
        yield _check(
            "deprecated", not old, codes.CHART_CONDITION, "the chart is deprecated" if old else "the chart is maintained", "expected one that is maintained"
        )
    if wanted.max_bytes is not None:
        size = len(case.chart.archive)
        yield _check("size", size <= wanted.max_bytes, codes.CHART_CONDITION, f"the archive has {size} bytes", f"expected at most {wanted.max_bytes}")
    if wanted.kube_version is not None:
        yield _kube_version(wanted.kube_version, str(metadata.get("kubeVersion") or ""))
    if wanted.dependencies is not None:
        yield from _dependencies(wanted.dependencies, case)


def _kube_version(cluster: Version, stated: str) -> Check:
    """A chart that states no range is not known to run anywhere: nothing means no."""
    try:
        fits = bool(stated) and parse_range(stated).admits(cluster)
    except ValueError:
        fits = False
    found = f"the chart states kubeVersion {stated!r}" if stated else "the chart states no kubeVersion"
    return _check("kubeVersion", fits, codes.CHART_CONDITION, found, f"expected a range that admits {'.'.join(map(str, cluster.numbers))}")


def _dependencies(wanted: Dependencies, case: Case) -> Iterator[Check]:
    facts = case.chart.facts
    for declared in facts.metadata.get("dependencies") or ():
        if wanted.scopes is not None:
            name, repository = declared["name"], declared["repository"]
            found = f"dependency {name!r} comes from {repository!r}" if repository else f"dependency {name!r} names no repository"
            expected = "expected one of those that the rule lists"
            yield _check(f"dependency {name}", _is_listed(wanted, name, repository), codes.CHART_CONDITION, found, expected)
    if wanted.locked:
        problem = facts.lock_problem
        yield _check("lock", problem is None, codes.CHART_CONDITION, problem or "the dependencies are locked", "expected a lock of these dependencies")


def _is_listed(wanted: Dependencies, name: str, repository: str) -> bool:
    """`file://`, `@alias` and no repository at all are listed by nobody."""
    if not repository.startswith("oci://"):
        return repository.rstrip("/") in wanted.urls
    try:
        reference = parse_oci(f"{repository.rstrip('/')}/{name}")
    except MisuseError:
        return False
    return any(scope.matches(reference.registry, reference.repository) for scope in wanted.scopes or ())


def _check(name: str, holds: bool, code: Code, found: str, expected: str) -> Check:
    return _passed(name, found) if holds else Check(name=name, outcome=Result.FAILED, reason=f"{found}, {expected}", code=code)


def _passed(name: str, reason: str) -> Check:
    return Check(name=name, outcome=Result.PASSED, reason=reason)
