"""Judging what a chart is made of: the charts inside it (semantics 25) and the images that it names.

Subcharts, where the rule says `packed: judged`:

1. A packed one whose parent declares an oci:// repository, or a chart repository over https, counts as from there only if that repository's
   chart layer or archive, under the version that lies here, has the same hash; then the rule for that repository decides about it, as it would alone.
2. A packed one without such a repository, or without a rule for it, is unjudged: refused, unless the rule accepts `partial`.
3. An unpacked one has no origin: refused, unless the rule says that the chart's own signature stands for it; what it carries is looked at too.

Images, each: it is a reference, pinned if the rule says so, of a listed repository, and meets the rule's requirement for images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from verifier.model import codes
from verifier.model.artifact import ChartFacts, OciChart, OciImage, RepositoryChart, Subchart
from verifier.model.codes import Code, Family
from verifier.model.context import Facts, Part, PartKind
from verifier.model.decision import Check, JudgedPart, PartState, Result
from verifier.model.errors import MisuseError
from verifier.model.reference import Origin, Reference, chart_in
from verifier.policy.case import Case
from verifier.policy.document import Images, Requirement, Subcharts
from verifier.policy.exceptions import excused
from verifier.policy.logic import all_of

Judge = Callable[[Facts], Check]
Meets = Callable[[Requirement, Case], Check]
_STATES = {Result.PASSED: PartState.VERIFIED, Result.FAILED: PartState.DENIED, Result.SKIPPED: PartState.DENIED, Result.INCONCLUSIVE: PartState.UNKNOWN}


def subcharts_of(facts: ChartFacts) -> Iterator[tuple[str, Subchart]]:
    """The charts that lie in a chart, those in unpacked ones too, by their whole path; what is in a packed one is part of that one."""
    yield from _below("", facts.subcharts)


def origin_of(subchart: Subchart) -> Origin | None:
    """The reference that a packed subchart is compared with; None where its parent names no repository that others can find."""
    if subchart.digest is None or not subchart.repository:
        return None
    try:
        return chart_in(subchart.repository, subchart.name, subchart.version)
    except MisuseError:
        return None


def missing_dependency(facts: ChartFacts) -> str | None:
    """The first dependency that is declared and does not lie in `charts/`: whoever installs the chart would have to fetch it."""
    here = {item.name for item in facts.subcharts}
    return next((str(item["name"]) for item in facts.metadata.get("dependencies") or () if item["name"] not in here), None)


def judge_subcharts(wanted: Subcharts, case: Case, facts: ChartFacts, judge: Judge) -> tuple[JudgedPart, ...]:
    """Each subchart with its state."""
    found = {part.path: part for part in case.facts.parts if part.kind is PartKind.SUBCHART}
    parts = (_subchart(path, item, wanted, found.get(path, found.get("all")), judge) for path, item in subcharts_of(facts))
    return tuple(_excused(part, case) for part in parts)


def judge_images(wanted: Images, case: Case, meets: Meets) -> tuple[JudgedPart, ...]:
    """Each image with its state; where nobody has looked as the rule says, nothing is known of them."""
    if wanted.source not in case.facts.images_from:
        check = _refused(f"images from {wanted.source}", codes.IMAGES_UNKNOWN, f"nobody has looked for images in its {wanted.source}")
        return (JudgedPart(kind=PartKind.IMAGE, path=str(wanted.source), state=PartState.UNKNOWN, check=check),)
    return tuple(_excused(_image(part, wanted, case, meets), case) for part in case.facts.parts if part.kind is PartKind.IMAGE)


def join(name: str, parts: Sequence[JudgedPart], none: str) -> Check:
    """All parts as one check; of those that passed only because nobody could judge them it says so."""
    if not parts:
        return Check(name=name, outcome=Result.PASSED, reason=none)
    check = all_of(name, [part.check for part in parts])
    left = sum(part.kind is PartKind.SUBCHART and part.state is PartState.UNJUDGED and not part.check.leans for part in parts)
    if not left or check.outcome is not Result.PASSED:
        return check
    return replace(check, reason=f"partial: {left} of {len(parts)} are judged by nobody, which the rule accepts")


def _excused(part: JudgedPart, case: Case) -> JudgedPart:
    """A part that fails by what the chart's own rule says of it may be let pass; what a decision of its own or several checks say is theirs.

    One that leans on an exception is never called verified.
    """
    check = part.check if part.check.children else excused(part.check, case)
    return replace(part, check=check, state=PartState.UNJUDGED if check.leans else part.state)


def _below(above: str, items: Sequence[Subchart]) -> Iterator[tuple[str, Subchart]]:
    for item in items:
        path = f"{above}{item.path}"
        yield path, item
        if item.digest is None:
            yield from _below(f"{path}/", item.subcharts)


def _subchart(path: str, item: Subchart, wanted: Subcharts, part: Part | None, judge: Judge) -> JudgedPart:
    name = f"subchart {path}"
    if item.problem is not None:
        return _judged(path, PartState.DENIED, _failed(name, codes.METADATA_INVALID, f"it cannot be read: {item.problem}"))
    if item.digest is None:  # 3
        if wanted.unpacked or not wanted.judged:
            return _judged(path, PartState.PARENT, Check(name=name, outcome=Result.PASSED, reason="unpacked: the chart's own signature stands for it"))
        return _judged(path, PartState.DENIED, _failed(name, codes.SUBCHART_UNPACKED, "unpacked, so nothing says where it comes from"))
    if not wanted.judged:
        return _judged(path, PartState.PARENT, Check(name=name, outcome=Result.PASSED, reason="the chart's own signature stands for it"))
    check, state = _packed(name, item, wanted, part, judge)
    reference = str(part.facts.request.reference) if part is not None and part.facts is not None else None
    return JudgedPart(kind=PartKind.SUBCHART, path=path, state=state, check=check, reference=reference, digest=str(item.digest))


def _packed(name: str, item: Subchart, wanted: Subcharts, part: Part | None, judge: Judge) -> tuple[Check, PartState]:
    if part is not None and part.facts is not None:  # 1
        artifact = part.facts.artifact
        if isinstance(artifact, OciChart | RepositoryChart) and artifact.archive_digest != item.digest:
            reason = f"{part.facts.request.reference} holds {artifact.archive_digest.short}..., here lies {item.digest.short if item.digest else ''}..."
            return _failed(name, codes.SUBCHART_DIFFERS, reason), PartState.DENIED
        check = judge(part.facts)
        if check.code is not codes.NO_RULE:
            return replace(check, name=name), _STATES[check.outcome]
        code, reason = codes.SUBCHART_UNJUDGED, check.reason
    elif part is not None and part.code is not None and part.code is not codes.SUBCHART_UNJUDGED:
        return _refused(name, part.code, part.reason), PartState.UNKNOWN
    elif part is None and (origin := origin_of(item)) is not None:
        return _refused(name, codes.EVIDENCE_LIMIT, f"nobody has looked at {origin}"), PartState.UNKNOWN
    else:  # 2
        code, reason = codes.SUBCHART_UNJUDGED, f"declared from {item.repository!r}, which nobody else can find" if item.repository else "not declared"
    if wanted.partial:
        return Check(name=name, outcome=Result.PASSED, reason=f"not judged: {reason}; the rule accepts that"), PartState.UNJUDGED
    return _failed(name, code, reason), PartState.UNJUDGED


def _image(part: Part, wanted: Images, case: Case, meets: Meets) -> JudgedPart:
    name = f"image {part.path}"
    if part.facts is None:
        check = _refused(name, part.code or codes.IMAGES_UNKNOWN, part.reason)
        return JudgedPart(kind=PartKind.IMAGE, path=part.path, state=_STATES[check.outcome], check=check)
    reference, artifact = part.facts.request.reference, part.facts.artifact
    assert isinstance(reference, Reference)
    check = all_of(name, list(_image_checks(part.facts, reference, wanted, case, meets)))
    digest = artifact.reference.digest if isinstance(artifact, OciImage) else reference.digest
    state = PartState.UNJUDGED if wanted.require is None and check.outcome is Result.PASSED else _STATES[check.outcome]
    return JudgedPart(kind=PartKind.IMAGE, path=part.path, state=state, check=check, reference=str(reference), digest=str(digest) if digest else None)


def _image_checks(facts: Facts, reference: Reference, wanted: Images, case: Case, meets: Meets) -> Iterator[Check]:
    if wanted.pinned:
        pinned = reference.digest is not None
        yield excused(_plain("pinned", pinned, "named by digest" if pinned else "named by tag only: expected a digest"), case)
    if wanted.scopes is not None:
        listed = any(scope.matches(reference.registry, reference.repository) for scope in wanted.scopes)
        said = f"{reference.name} is {'' if listed else 'not '}among the repositories that the rule lists"
        yield excused(_plain("repository", listed, said), case)
    if wanted.require is not None:
        if facts.artifact is None:
            gap = next(iter(facts.gaps), None)
            refused = next(iter(facts.rejections), None)
            if refused is not None:
                yield _failed("require", refused.code, refused.reason)
            else:
                yield _refused("require", gap.code if gap else codes.IMAGES_UNKNOWN, gap.reason if gap else "it was not looked at")
            return
        yield meets(wanted.require, replace(case, facts=facts, artifact=facts.artifact, claims=facts.claims))


def _plain(name: str, holds: bool, reason: str) -> Check:
    return Check(name=name, outcome=Result.PASSED, reason=reason) if holds else _failed(name, codes.IMAGE_REFUSED, reason)


def _judged(path: str, state: PartState, check: Check) -> JudgedPart:
    return JudgedPart(kind=PartKind.SUBCHART, path=path, state=state, check=check)


def _failed(name: str, code: Code, reason: str) -> Check:
    return Check(name=name, outcome=Result.FAILED, reason=reason, code=code)


def _refused(name: str, code: Code, reason: str) -> Check:
    outcome = Result.INCONCLUSIVE if code.family is Family.INCONCLUSIVE else Result.FAILED
    return Check(name=name, outcome=outcome, reason=reason, code=code)
