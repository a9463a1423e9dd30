"""The policy as values: what was loaded and checked. See `loader` for how it is read, `engine` for what it means.

Requirements are a closed union; each carries where it stands (`place`), its window and its action.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property

from msgspec import Struct, field

from verifier.charts.version import Range, Version
from verifier.model.claim import Clock, Form
from verifier.model.context import Selection
from verifier.model.decision import Action, Waiver
from verifier.policy.cluster import Admission, Leniency, Source, Whose
from verifier.policy.identity import Identity, Pattern
from verifier.policy.index import ScopeIndex
from verifier.policy.scopes import Scope
from verifier.trust.anchors import Thresholds

API_VERSION = "verifier/v1"
KIND = "ChartPolicy"
DEFAULT_FORMS = frozenset((Form.PROVENANCE, Form.STATEMENT, Form.SIMPLE_SIGNING))  # semantics 8


class TrustKind(StrEnum):
    """What a trust name can hold; each holds one kind (semantics 9)."""

    OPENPGP = "openpgp"
    KEY = "key"
    KEYLESS = "keyless"


class SecretKey(Struct, frozen=True, kw_only=True):
    """Where a key lies in the namespace of the object that is judged: in which Secret, under which name (semantics 33)."""

    name: str
    key: str


class TrustEntry(Struct, frozen=True, kw_only=True):
    """A name for what we believe in. `path` is as written, relative to the policy's file; `inline` is PEM or armor in it.

    `gnupg_home` names a GnuPG home (`default`: the caller's) whose keys with `fingerprints` are meant. `root` names the sigstore
    root of a keyless identity, or the one under which a key's log entries are verified.
    """

    name: str
    kind: TrustKind
    path: str | None = None
    inline: str | None = None
    gnupg_home: str | None = None
    secret: SecretKey | None = None
    fingerprints: tuple[str, ...] = ()
    any_key: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None
    identity: Identity | None = None
    root: str | None = None
    tlog_required: bool = False
    place: str = ""


class RootEntry(Struct, frozen=True, kw_only=True):
    """A sigstore instance by name; without a path, the built-in root. `max_age` bounds how old it may be.

    `digest` and `as_of` are filled in when the root is read: what it holds, and of when it is.
    """

    name: str
    path: str | None = None
    thresholds: Thresholds = Thresholds()
    max_age: timedelta | None = None
    digest: str = ""
    as_of: datetime | None = None
    place: str = ""


class Window(Struct, frozen=True, kw_only=True):
    """When a branch counts, and since when its failure is enforced (semantics 12)."""

    since: datetime | None = None
    until: datetime | None = None
    enforce_from: datetime | None = None

    @property
    def edges(self) -> tuple[datetime, ...]:
        """The moments at which the answer may change."""
        return tuple(moment for moment in (self.since, self.until, self.enforce_from) if moment is not None)


class Common(Struct, frozen=True, kw_only=True):
    """What every requirement carries."""

    place: str = ""
    window: Window = field(default_factory=Window)
    action: Action = Action.ENFORCE


class By(Common, frozen=True, kw_only=True):
    """What every requirement carries that somebody must have signed: one of the trust names `by`."""

    by: tuple[str, ...]
    bind_repository: bool = False
    expired_keys: bool = False
    retired_keys: bool = False


class Signed(By, frozen=True, kw_only=True):
    """A signature in one of these forms."""

    forms: frozenset[Form] = DEFAULT_FORMS
    expr: str | None = None


class BuildConditions(Struct, frozen=True, kw_only=True):
    """What build provenance must say; None means that nothing is asked. `parameters` are external ones by dotted path; others than
    these are refused unless `other_parameters` (SLSA: what is not recognised should fail).
    """

    builder: Pattern | None = None
    build_type: Pattern | None = None
    source_repository: str | None = None
    ref: Pattern | None = None
    parameters: tuple[tuple[str, Pattern], ...] | None = None
    other_parameters: bool = False


class ScanConditions(Struct, frozen=True, kw_only=True):
    """What a vulnerability scan must say; `none` are severities, `accepted` ids that do not matter."""

    none: frozenset[str] = frozenset()
    accepted: frozenset[str] = frozenset()
    scanner: Pattern | None = None
    max_age: timedelta | None = None


class PackageConditions(Struct, frozen=True, kw_only=True):
    """What a bill of materials must not hold."""

    none: tuple[Pattern, ...] = ()
    licenses: tuple[Pattern, ...] = ()


class PredicateConditions(Struct, frozen=True, kw_only=True):
    """What a predicate must say, beside build provenance; None and nothing ask nothing."""

    scan: ScanConditions | None = None
    packages: PackageConditions | None = None
    statuses: frozenset[str] = frozenset()
    fields: tuple[tuple[str, Pattern], ...] = ()


class Attested(By, frozen=True, kw_only=True):
    """An attestation of exactly this predicate type; `build` holds conditions on provenance, `conditions` those on other predicates."""

    predicate_type: str
    build: BuildConditions | None = None
    conditions: PredicateConditions | None = None
    expr: str | None = None


class Verified(By, frozen=True, kw_only=True):
    """A summary of another verifier's decision: by which verifier, how old at most, under which policies, trust and rules."""

    verifier: str
    max_age: timedelta
    policies: frozenset[str]
    trusts: frozenset[str]
    rules: frozenset[str] = frozenset()


class ReviewedDigest(Struct, frozen=True, kw_only=True):
    """A digest that a person has looked at (semantics 14)."""

    digest: str
    owner: str
    reason: str
    expires: datetime


class DigestIn(Common, frozen=True, kw_only=True):
    """The chart is one of these."""

    entries: tuple[ReviewedDigest, ...]


class Dependencies(Struct, frozen=True, kw_only=True):
    """Where a chart's dependencies may come from, and whether they must be locked; None means that nothing is asked."""

    scopes: tuple[Scope, ...] | None = None
    urls: frozenset[str] = frozenset()
    locked: bool = False


class ChartIs(Common, frozen=True, kw_only=True):
    """Conditions on the chart itself; None means that nothing is asked."""

    name: str | None = None
    pinned: bool | None = None
    version: Range | None = None
    prerelease: bool | None = None
    max_age: timedelta | None = None
    clock: Clock | None = None
    annotations: tuple[str, ...] = ()
    type: str | None = None
    deprecated: bool | None = None
    max_bytes: int | None = None
    kube_version: Version | None = None
    dependencies: Dependencies | None = None


class Expr(Common, frozen=True, kw_only=True):
    """An expression in CEL about chart and request; see `expression`."""

    text: str


class All(Common, frozen=True, kw_only=True):
    """Every one of `of`."""

    of: tuple[Requirement, ...]


class AnyOf(Common, frozen=True, kw_only=True):
    """At least one of `of`."""

    of: tuple[Requirement, ...]


class AtLeast(Common, frozen=True, kw_only=True):
    """`count` of `of`, each by another principal (semantics 10)."""

    count: int
    of: tuple[Requirement, ...]


Requirement = Signed | Attested | Verified | DigestIn | ChartIs | Expr | All | AnyOf | AtLeast


class Subcharts(Struct, frozen=True, kw_only=True):
    """What stands for the charts inside a chart (semantics 25).

    `judged`: each packed one must be what its repository holds, and be allowed by the rule for that repository. `unpacked`: the signature
    of the whole may stand for those without an origin. `partial`: those that nobody can judge are accepted, and told.
    """

    judged: bool
    unpacked: bool = False
    partial: bool = False


class ImageSource(StrEnum):
    """Where the images of a chart are found."""

    VALUES = "values"
    RENDERED = "rendered"


class Images(Struct, frozen=True, kw_only=True):
    """What each image of the chart must meet; None means that nothing is asked."""

    source: ImageSource
    pinned: bool = False
    scopes: tuple[Scope, ...] | None = None
    require: Requirement | None = None


class Denied(Struct, frozen=True, kw_only=True):
    """One entry of the deny list; exactly one of digest, name, fingerprint, key and identity says what is meant."""

    digest: str | None = None
    name: str | None = None
    versions: Range | None = None
    fingerprint: str | None = None
    key: str | None = None
    identity: Pattern | None = None
    issuer: str | None = None
    revoked_at: datetime | None = None
    reason: str = ""

    @property
    def what(self) -> str:
        """Readable."""
        if self.name is not None:
            return f"name {self.name}" + (f" {self.versions.text}" if self.versions else "")
        if self.identity is not None:
            return f"identity {self.identity.text}"
        kind = "digest" if self.digest else "fingerprint" if self.fingerprint else "key"
        return f"{kind} {self.digest or self.fingerprint or self.key}"


class Exemption(Struct, frozen=True, kw_only=True):
    """What lets a failure pass: for one chart at one digest, under one rule, and for these codes only (semantics 23).

    `key` is the id of the key that signed it, where it was signed, so that the deny list can strike it out.
    """

    repository: str
    digest: str
    rule: str
    codes: frozenset[str]
    waiver: Waiver
    key: str | None = None
    place: str = ""


class ExceptionSources(Struct, frozen=True, kw_only=True):
    """Whose signed exceptions count, and the files, relative to the policy's, or directories that hold them."""

    by: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()


class Rule(Struct, frozen=True, kw_only=True):
    """Which charts, in which context, and what they must meet. `context` maps a key to the values that match."""

    name: str
    scopes: tuple[Scope, ...]
    require: Requirement
    chart: ChartIs | None = None
    context: Selection = ()
    origins: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    subcharts: Subcharts | None = None
    images: Images | None = None
    lenient: frozenset[Leniency] = frozenset()
    admission: Admission = Admission.ENFORCE
    credentials: Whose = Whose.NAMESPACE
    place: str = ""


class Policy(Struct, frozen=True, kw_only=True, dict=True):  # `dict`, for what is computed once
    """A checked policy. `digest` is of the document's bytes; the trust material has a digest of its own.

    After `expires`, and after `stale_at` (of one that came from a registry), it decides nothing any more (semantics 27).
    """

    name: str
    digest: str
    trust: tuple[TrustEntry, ...]
    roots: tuple[RootEntry, ...] = ()
    rules: tuple[Rule, ...]
    baseline: tuple[Requirement, ...] = ()
    deny: tuple[Denied, ...] = ()
    exceptions: tuple[Exemption, ...] = ()
    exception_sources: ExceptionSources = ExceptionSources()
    sources: tuple[Source, ...] = ()
    serial: int | None = None
    expires: datetime | None = None
    stale_at: datetime | None = None

    @cached_property
    def tells_namespaces_apart(self) -> bool:
        """Whether the same chart may get other answers in other namespaces."""
        selections = [*(rule.context for rule in self.rules), *(source.context for source in self.sources)]
        return any(key == "namespace" for selection in selections for key, _ in selection) or any(entry.secret is not None for entry in self.trust)

    @cached_property
    def index(self) -> ScopeIndex:
        """The rules' scopes, for look-ups."""
        index = ScopeIndex()
        for number, rule in enumerate(self.rules):
            for scope in rule.scopes:
                index.add(scope, number)
        return index


def walk(requirement: Requirement) -> Iterator[Requirement]:
    """The requirement and all below it, depth first."""
    yield requirement
    match requirement:
        case All(of=of) | AnyOf(of=of) | AtLeast(of=of):
            for child in of:
                yield from walk(child)
        case Signed() | Attested() | Verified() | DigestIn() | ChartIs() | Expr():
            return


def requirements_of(policy: Policy, rules: Iterable[Rule]) -> Iterator[Requirement]:
    """Every requirement of the baseline and of `rules`, with all below it, those of images too."""
    for tree in policy.baseline:
        yield from walk(tree)
    for rule in rules:
        yield from walk(rule.require)
        if rule.images is not None and rule.images.require is not None:
            yield from walk(rule.images.require)


def signers_of_summaries(policy: Policy) -> tuple[frozenset[str], frozenset[str]]:
    """The trust names that sign summaries, and those that sign charts; semantics 24 keeps them apart."""
    nodes = [node for node in requirements_of(policy, policy.rules) if isinstance(node, By)]
    summaries = frozenset(name for node in nodes if isinstance(node, Verified) for name in node.by)
    return summaries, frozenset(name for node in nodes if not isinstance(node, Verified) for name in node.by)
