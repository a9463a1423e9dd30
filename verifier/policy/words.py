"""A policy in words, line by line: what `policy show` prints and `policy diff` compares.

Everything that a value holds is said, so that two policies with the same words mean the same; tests change each field to see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from verifier.model.decision import Action
from verifier.model.digest import sha256
from verifier.policy.cluster import Admission, Source, Whose
from verifier.policy.document import (
    DEFAULT_FORMS,
    All,
    AnyOf,
    AtLeast,
    Attested,
    BuildConditions,
    By,
    ChartIs,
    Denied,
    Dependencies,
    DigestIn,
    ExceptionSources,
    Exemption,
    Expr,
    Images,
    Policy,
    PredicateConditions,
    Requirement,
    RootEntry,
    Rule,
    Signed,
    Subcharts,
    TrustEntry,
    Verified,
)
from verifier.policy.identity import Identity, Pattern


def describe(policy: Policy, rule: Rule) -> Iterator[str]:
    """What a chart must meet under a rule, the baseline included."""
    yield from _heads(rule)
    for requirement in policy.baseline:
        yield from (f"baseline  {line}" for line in words(requirement))
    yield from _demands(rule)


def describe_rule(rule: Rule) -> Iterator[str]:
    """What a rule itself says."""
    yield from _heads(rule)
    yield from _demands(rule)


def words(requirement: Requirement, indent: str = "") -> Iterator[str]:
    """A requirement and all below it, a line each."""
    notes = _common(requirement)
    match requirement:
        case Signed():
            yield f"{indent}signed by {_any(requirement.by)}{_by(requirement)}{_forms(requirement)}{_expr(requirement.expr)}{notes}"
        case Attested():
            said = f"{_by(requirement)}{_build(requirement.build)}{_conditions(requirement.conditions)}{_expr(requirement.expr)}"
            yield f"{indent}attested {requirement.predicate_type} by {_any(requirement.by)}{said}{notes}"
        case Verified():
            yield f"{indent}verified by {requirement.verifier}, signed by {_any(requirement.by)}{_by(requirement)}{_summary(requirement)}{notes}"
        case DigestIn():
            yield f"{indent}one of {len(requirement.entries)} reviewed digests{notes}:"
            for entry in requirement.entries:
                yield f"{indent}  {entry.digest}, by {entry.owner} until {_time(entry.expires)}: {entry.reason}"
        case ChartIs():
            yield f"{indent}the chart itself: {_chart(requirement)}{notes}"
        case Expr(text=text):
            yield f"{indent}the expression {text}{notes}"
        case All(of=of):
            yield f"{indent}all of{notes}:"
            yield from _below(of, indent)
        case AnyOf(of=of):
            yield f"{indent}any of{notes}:"
            yield from _below(of, indent)
        case AtLeast(of=of):
            yield f"{indent}at least {requirement.count} distinct signers of{notes}:"
            yield from _below(of, indent)


def trust_words(entry: TrustEntry) -> str:
    """A trust name: what is behind it."""
    inline = f"text in the policy, {sha256(entry.inline.encode())}" if entry.inline else ""
    secret = f"Secret {entry.secret.name} of the object's namespace, {entry.secret.key}" if entry.secret else ""
    source = entry.path or (f"GnuPG home {entry.gnupg_home}" if entry.gnupg_home else inline or secret)
    parts = {
        "from": source or None,
        "fingerprints": ", ".join(entry.fingerprints) or None,
        "": "any key of it" if entry.any_key else None,
        "not before": entry.not_before and _time(entry.not_before),
        "not after": entry.not_after and _time(entry.not_after),
        "identity": entry.identity and _identity(entry.identity),
        "root": entry.root,
        "log": "required" if entry.tlog_required else None,
    }
    return f"{entry.kind}: {_list(parts)}"


def root_words(root: RootEntry) -> str:
    """A root: where it comes from, how much it demands, how old it may be."""
    limits = root.thresholds
    age = f", at most {root.max_age.total_seconds():.0f} s old" if root.max_age else ""
    return f"{root.path or 'stored or built in'}; {limits.sct} SCT, {limits.tlog} log, {limits.timestamp} timestamp{age}"


def deny_words(entry: Denied) -> str:
    """One entry of the deny list."""
    issuer = f" of {entry.issuer}" if entry.issuer else ""
    since = f", from {_time(entry.revoked_at)}" if entry.revoked_at else ""
    return f"{entry.what}{issuer}{since}" + (f": {entry.reason}" if entry.reason else "")


def exempted(item: Exemption) -> str:
    """The chart that an exception is for."""
    return f"{'' if '://' in item.repository else 'oci://'}{item.repository}@{item.digest}"


def exemption_words(item: Exemption) -> str:
    """One exception: for what, and by whom."""
    return f"{exempted(item)}, rule {item.rule!r}, {_any(sorted(item.codes))}: {item.waiver}"


def end_words(policy: Policy) -> Iterator[str]:
    """What the policy says of itself."""
    if policy.serial is not None:
        yield f"serial {policy.serial}"
    if policy.expires is not None:
        yield f"ends at {_time(policy.expires)}"


def source_words(sources: ExceptionSources) -> Iterator[str]:
    """Whose signed exceptions count, and where they lie."""
    if sources.by:
        yield f"signed by {_any(sources.by)}"
    yield from (f"in {name}" for name in sources.signed)


def chart_source_words(source: Source) -> str:
    """Where charts may come from whose installer does not say."""
    said = [*source.repositories, *(["git, unseen"] if source.git else [])]
    return f"{', '.join(said)}{''.join(f', when {key} is {_any(sorted(values))}' for key, values in source.context)}"


def _heads(rule: Rule) -> Iterator[str]:
    yield f"scopes    {', '.join(scope.text for scope in rule.scopes)}"
    for key, values in rule.context:
        yield f"when      {key} is {_any(sorted(values))}"


def _demands(rule: Rule) -> Iterator[str]:
    if rule.chart is not None:
        yield from (f"chart     {line}" for line in words(rule.chart))
    yield from (f"require   {line}" for line in words(rule.require))
    if rule.subcharts is not None:
        yield f"subcharts {_subcharts(rule.subcharts)}"
    if rule.images is not None:
        yield from _images(rule.images)
    if rule.origins:
        yield f"origins   {', '.join(sorted(rule.origins))}"
    if rule.channels:
        yield f"channels  {', '.join(sorted(rule.channels))}"
    if rule.admission is not Admission.ENFORCE:
        done = "told" if rule.admission is Admission.WARN else "written into the audit log"
        yield f"admission {rule.admission}: in Kubernetes a denial is {done}, and denies nothing"
    if rule.credentials is Whose.SERVER:
        yield "reads     with the server's own credentials, too"
    yield from (f"unsafe    {kind}" for kind in sorted(rule.lenient))


def _subcharts(wanted: Subcharts) -> str:
    packed = "packed: each judged by the rule for where it comes from" if wanted.judged else "packed: the chart's own signature stands for them"
    unpacked = "the chart's own signature stands for them" if wanted.unpacked or not wanted.judged else "refused"
    said = " (said)" if wanted.unpacked and not wanted.judged else ""
    return f"{packed}; unpacked: {unpacked}{said}; what nobody can judge: {'accepted' if wanted.partial else 'refused'}"


def _images(wanted: Images) -> Iterator[str]:
    where = {"pinned": "by digest" if wanted.pinned else None, "from": _any(scope.text for scope in wanted.scopes) if wanted.scopes is not None else None}
    yield f"images    of its {wanted.source}{', ' if wanted.pinned or wanted.scopes else ''}{_list(where)}"
    if wanted.require is not None:
        yield from (f"images    {line}" for line in words(wanted.require))


def _below(requirements: Iterable[Requirement], indent: str) -> Iterator[str]:
    for requirement in requirements:
        yield from words(requirement, indent + "  ")


def _common(requirement: Requirement) -> str:
    window = requirement.window
    said = "".join(f", {word} {_time(moment)}" for word, moment in (("since", window.since), ("until", window.until)) if moment)
    said += f", enforced from {_time(window.enforce_from)}" if window.enforce_from else ""
    return said + (", warns only" if requirement.action is Action.WARN else "")


def _by(requirement: By) -> str:
    said = ", naming its repository" if requirement.bind_repository else ""
    said += ", expired keys too" if requirement.expired_keys else ""
    return said + (", retired keys too" if requirement.retired_keys else "")


def _expr(text: str | None) -> str:
    return f", where {text}" if text is not None else ""


def _forms(requirement: Signed) -> str:
    more = sorted(requirement.forms - DEFAULT_FORMS)
    less = sorted(DEFAULT_FORMS - requirement.forms)
    return "".join([*(f", as a {form} too" for form in more), *(f", not as {form}" for form in less)])


def _build(build: BuildConditions | None) -> str:
    if build is None:
        return ""
    parameters = None if build.parameters is None else ", ".join(f"{path} {_pattern(pattern)}" for path, pattern in build.parameters)
    parts = {
        "builder": build.builder and _pattern(build.builder),
        "build type": build.build_type and _pattern(build.build_type),
        "source": build.source_repository,
        "ref": build.ref and _pattern(build.ref),
        "parameters": None if parameters is None else f"({parameters}){' and others' if build.other_parameters else ''}",
    }
    return f", {_list(parts)}"


def _conditions(wanted: PredicateConditions | None) -> str:
    if wanted is None:
        return ""
    scan, packages = wanted.scan, wanted.packages
    parts = {
        "no vulnerability of": ", ".join(sorted(scan.none)) or None if scan else None,
        "but": ", ".join(sorted(scan.accepted)) or None if scan else None,
        "scanner": scan.scanner and _pattern(scan.scanner) if scan else None,
        "scanned within": f"{scan.max_age.total_seconds():.0f} s" if scan and scan.max_age else None,
        "no package": ", ".join(map(_pattern, packages.none)) or None if packages else None,
        "no license": ", ".join(map(_pattern, packages.licenses)) or None if packages else None,
        "no status": ", ".join(sorted(wanted.statuses)) or None,
        "fields": ", ".join(f"{path} {_pattern(pattern)}" for path, pattern in wanted.fields) or None,
    }
    return f", {_list(parts)}"


def _summary(requirement: Verified) -> str:
    rules = f", rules {', '.join(sorted(requirement.rules))}" if requirement.rules else ""
    policies, trusts = (", ".join(sorted(items)) for items in (requirement.policies, requirement.trusts))
    return f", at most {requirement.max_age.total_seconds():.0f} s old, policies {policies}, trust {trusts}{rules}"


def _chart(chart: ChartIs) -> str:
    age = f"{chart.max_age.total_seconds():.0f} s{f' by the clock of the {chart.clock}' if chart.clock else ''}" if chart.max_age else None
    parts = {
        "name": chart.name,
        "pinned": chart.pinned,
        "version": chart.version.text if chart.version else None,
        "prerelease": chart.prerelease,
        "signed within": age,
        "annotations": ", ".join(chart.annotations) or None,
        "type": chart.type,
        "deprecated": chart.deprecated,
        "at most bytes": chart.max_bytes,
        "for Kubernetes": ".".join(map(str, chart.kube_version.numbers)) if chart.kube_version else None,
        "dependencies": _origins(chart.dependencies) if chart.dependencies else None,
    }
    return _list(parts)


def _origins(wanted: Dependencies) -> str:
    listed = [*(scope.text for scope in wanted.scopes or ()), *sorted(wanted.urls)]
    return ", ".join([*(["locked"] if wanted.locked else []), *([f"from {_any(listed)}"] if wanted.scopes is not None else [])])


def _identity(identity: Identity) -> str:
    claims = "".join(f", {name} {_pattern(pattern)}" for name, pattern in identity.claims)
    source = f", source repository {identity.source_repository}" if identity.source_repository else ""
    return f"{_pattern(identity.san)} ({identity.san_type}) of {identity.issuer}{source}{claims}"


def _pattern(pattern: Pattern) -> str:
    return f"{pattern.text!r} ({pattern.how})"


def _list(parts: Mapping[str, object]) -> str:
    return "; ".join(f"{key} {value}".strip() for key, value in parts.items() if value is not None)


def _any(items: Iterable[str]) -> str:
    return " or ".join(items)


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
