"""Charts that no field names: Helm's own release records, and archives inside of objects (semantics 32).

1. A record is recognised by its name, its labels or its type, on the new object and on the old.
2. An update of a record changes nothing of what was installed: chart, manifest, config, hooks, name and version are frozen.
3. The chart may come from the repositories that the policy lists as sources for this context. Each that holds this version must allow it. Where none
   does, charts that look the same and were verified before are candidates, if that is kept.
4. What is recorded must be what was verified: all files byte for byte, metadata, and the chart's own values. Of charts inside a record says nothing.
   A version that Flux has marked with a digest must be of that digest.

What this proves is that the record matches a verified chart. What the client applies beside it, a post-renderer changes, or another storage driver
keeps elsewhere, no record shows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.archive import read_archive
from verifier.charts.fingerprint import Fingerprint, fingerprint_of
from verifier.charts.release_record import ReleaseRecord, changed_parts, differences, read_release, values_differ
from verifier.formats.loose import get, mapping, text
from verifier.model import codes
from verifier.model.decision import Decision, Outcome
from verifier.model.digest import Digest, sha256
from verifier.model.errors import FailedError, MisuseError
from verifier.model.reference import WEB_SCHEMES, Origin, canonical_tag, parse_chart_repository, parse_oci
from verifier.operations.review import Review
from verifier.operations.verdict import Finding, Judged, Verdict, World, decided, finding, finding_of
from verifier.policy.cluster import Leniency
from verifier.policy.sources import repositories_for
from verifier.workloads.use import Inline

_PREFIX = "sh.helm.release.v1."
_TYPE = "helm.sh/release.v1"
_MOST = 5  # differences that are told
# Flux' helm-controller writes the beginning of an OCIRepository's digest into the version, so that it notices a tag that moved
# (fluxcd/helm-controller internal/controller helmrelease_controller.go mutateChartWithSourceRevision).
_MARKED = re.compile(r"([^+]+)\+([0-9a-f]{12})")


class _Candidates(Struct, frozen=True, kw_only=True):
    """Those that hold the chart, all allowed; or why there is none."""

    judged: tuple[tuple[str, Judged], ...] = ()
    trouble: Finding | None = None


def is_record(value: Mapping[str, Any] | None) -> bool:
    """1: whether Helm would take an object for a release record."""
    metadata = mapping(value, "metadata")
    named = text(get(metadata, "name")).startswith(_PREFIX) or text(get(metadata, "generateName")).startswith(_PREFIX)
    return named or get(mapping(metadata, "labels"), "owner") == "helm" or get(value, "type") == _TYPE


def admit_record(review: Review, world: World) -> Verdict:
    """The verdict on a Secret or ConfigMap; raises FailedError `record-invalid`."""
    was = review.operation == "UPDATE" and is_record(review.old)
    if not was and not is_record(review.new):
        return Verdict()
    record = read_record(review.new, review.kind, review.what)
    if was:  # 2
        return _frozen(read_record(review.old, review.kind, review.what), record)
    return Verdict(findings=tuple(world.softened(found) for found in judge_record(record, review.namespace, world)))


def read_record(value: Mapping[str, Any] | None, kind: str, where: str) -> ReleaseRecord:
    """The record in a Secret or ConfigMap; raises FailedError `record-invalid`."""
    written = mapping(value, "data").get("release")
    if not isinstance(written, str) or mapping(value, "stringData") or mapping(value, "binaryData"):
        raise FailedError(codes.RECORD_INVALID, "it looks like a release record of Helm's, and holds no `data.release`", where=where)
    if kind == "ConfigMap":
        return read_release(written.encode(), where=where)
    try:
        return read_release(base64.b64decode(written, validate=True), where=where)
    except (binascii.Error, ValueError) as error:
        raise FailedError(codes.RECORD_INVALID, "data.release is no base64", where=where) from error


def _frozen(old: ReleaseRecord, new: ReleaseRecord) -> Verdict:
    changed = changed_parts(old, new)
    if not changed:
        return Verdict()
    reason = f"the update changes {', '.join(changed)} of release {new.name!r}, revision {old.revision}"
    return Verdict(findings=(finding("data.release", codes.RECORD_FROZEN, reason),))


def judge_record(record: ReleaseRecord, namespace: str, world: World) -> Iterator[Finding]:
    """3 and 4: what comes of a record that was read."""
    recorded, prefix = record.fingerprint, ""
    found = _candidates(recorded.name, recorded.version, namespace, world)
    if found.trouble is not None and found.trouble.code is codes.NO_SOURCE and (marked := _MARKED.fullmatch(recorded.version)):
        version, prefix = marked[1], marked[2]
        recorded = replace(recorded, version=version, metadata={**recorded.metadata, "version": version})
        found = _candidates(recorded.name, version, namespace, world)
    if found.trouble is not None and found.trouble.code is codes.NO_SOURCE:
        found = _remembered(recorded, found, namespace, world)
    if found.trouble is not None:
        yield replace(found.trouble, place="data.release")
        return
    compared = [_compare(recorded, where, judged, world) for where, judged in found.judged if _is_marked(judged.decision, prefix)]
    fitting = [item for item in compared if item.outcome is Outcome.ALLOWED]
    if not compared:
        reason = f"its version is marked with the digest {prefix}..., which none of the sources has: {', '.join(where for where, _ in found.judged)}"
        yield finding("data.release", codes.RECORD_MISMATCH, reason)
    else:
        yield fitting[0] if fitting else compared[0]


def _remembered(recorded: Fingerprint, unknown: _Candidates, namespace: str, world: World) -> _Candidates:
    """3, where no source is meant: charts of this fingerprint that were verified before, each decided on anew; all must be allowed."""
    known = world.verified(recorded.digest) if world.verified is not None else ()
    judged = _decided_on([parse_oci(f"oci://{item.repository}@{item.digest}") for item in known], namespace, world)
    return _unless_refused(judged) if judged else unknown


def _is_marked(decision: Decision, prefix: str) -> bool:
    return decision.artifact is not None and decision.artifact.digests[0].hex.startswith(prefix)


def judge_inline(use: Inline, namespace: str, world: World) -> Iterator[Finding]:
    """An archive inside of an object: the same bytes must lie in a source, and be allowed there."""
    digest = sha256(use.archive)
    try:
        facts = read_archive(use.archive, where=use.place).facts
    except FailedError as error:
        yield finding_of(use.place, error)
        return
    found = _candidates(facts.name, facts.version, namespace, world)
    if found.trouble is not None:
        yield replace(found.trouble, place=use.place)
        return
    fitting = [judged.decision for _, judged in found.judged if _archive_of(judged.decision) == digest]
    if fitting:
        yield replace(decided(use.place, fitting[0]), reason=f"the archive is the one of {_label(fitting[0])}")
        return
    decision = found.judged[0][1].decision
    reason = f"the archive is {digest.short}..., and {_label(decision)} is another, {_archive_of(decision)}"
    yield replace(finding(use.place, codes.RECORD_MISMATCH, reason), decision=decision)


def _candidates(name: str, version: str, namespace: str, world: World) -> _Candidates:
    """3: the sources that hold the version; all must allow it."""
    references = list(_references(repositories_for(world.policy, name, world.within(namespace)), version))
    if not references:
        reason = f"no source of the policy is meant for {name!r} {version} in namespace {namespace!r}"
        return _Candidates(trouble=finding("", codes.NO_SOURCE, reason))
    judged = _decided_on(references, namespace, world)
    held = [(where, item) for where, item in judged if not _is_absent(item.decision)]
    if not held:
        reason = f"none of the policy's sources holds {name!r} {version}: {', '.join(where for where, _ in judged)}"
        return _Candidates(trouble=finding("", codes.NO_SOURCE, reason))
    return _unless_refused(held)


def _decided_on(references: Sequence[Origin], namespace: str, world: World) -> list[tuple[str, Judged]]:
    return [(str(reference), world.decide(reference, world.within(namespace))) for reference in references]


def _unless_refused(judged: Sequence[tuple[str, Judged]]) -> _Candidates:
    """All must be allowed."""
    refused = next((item.decision for _, item in judged if not item.decision.allowed), None)
    return _Candidates(trouble=decided("", refused)) if refused is not None else _Candidates(judged=tuple(judged))


def _references(repositories: Sequence[str], version: str) -> Iterator[Origin]:
    for repository in repositories:
        try:
            if repository.startswith(WEB_SCHEMES):
                yield parse_chart_repository(f"{repository}:{version}")
            else:
                yield parse_oci(f"oci://{repository}:{canonical_tag(version, written=version)}")
        except MisuseError as error:
            raise FailedError(codes.RECORD_INVALID, f"the chart's name or version is none that a registry could hold: {error.reason}") from error


def _is_absent(decision: Decision) -> bool:
    """Whether the registry says that it has no such version; any other trouble is no answer (semantics 21)."""
    return not decision.allowed and decision.artifact is None and {gap.code for gap in decision.gaps} == {codes.NOT_FOUND} and not decision.rejections


def _compare(record: Fingerprint, where: str, judged: Judged, world: World) -> Finding:  # 4
    decision, verified = judged.decision, judged.fingerprint
    assert verified is not None
    found = Finding(place="data.release", outcome=Outcome.ALLOWED, reason=f"the record matches {_label(decision)}", decision=decision)
    others = differences(record, verified)
    if others:
        more = f", and {len(others) - _MOST} more" if len(others) > _MOST else ""
        return _denied(found, codes.RECORD_MISMATCH, f"it is not the chart of {where}: {'; '.join(others[:_MOST])}{more}")
    if verified.partial or record.partial:
        if world.lets_pass(decision, Leniency.PARTIAL_RECORDS):
            return replace(found, unsafe=Leniency.PARTIAL_RECORDS, reason=f"{found.reason}, but for charts inside: the rule says {Leniency.PARTIAL_RECORDS}")
        return _denied(found, codes.RECORD_PARTIAL, f"the files are those of {where}, but of the charts inside it a record says nothing")
    if values_differ(record, verified):
        if world.lets_pass(decision, Leniency.OTHER_VALUES):
            return replace(found, unsafe=Leniency.OTHER_VALUES, reason=f"{found.reason}, but for its own values: the rule says {Leniency.OTHER_VALUES}")
        return _denied(found, codes.RECORD_VALUES, f"its own values are others than those of {where}, or cannot be compared")
    return found


def _denied(found: Finding, code: codes.Code, reason: str) -> Finding:
    return replace(found, outcome=Outcome.DENIED, code=code, reason=reason)


def _archive_of(decision: Decision) -> Digest | None:
    return decision.artifact.archive_digest if decision.artifact is not None else None


def _label(decision: Decision) -> str:
    return f"{decision.request.reference}, verified as {decision.artifact.digests[0] if decision.artifact is not None else 'nothing'}"


def fingerprint_for(decision: Decision) -> Fingerprint | None:
    """What of an allowed chart can be compared with a record."""
    if not decision.allowed or decision.artifact is None:
        return None
    return fingerprint_of(read_archive(decision.artifact.archive, where=str(decision.request.reference)))
