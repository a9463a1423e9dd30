"""Deleting old charts of a repository, with what is attached to them (see `retention` for what stays).

1. All tags are resolved; one that cannot be ends the run, since what it names could be what another tag loses.
2. What is attached to a doomed chart is listed, and what is attached to that; cosign's tags and the fallback tag count. Lists under a fallback tag whose chart
   is gone, and what they name, are orphans.
3. The order of deletion is from the leaves: what is attached, its lists, then the chart with its tags. So an interrupted run leaves a chart with less
   attached to it and its tag still there, and the next run finds and ends it.
4. Right before a chart is deleted the tags are read once more: a tag that came meanwhile and names it keeps it.
5. A registry that deletes nothing says so at the first attempt, and nothing more is tried. Space is freed by the registry's own collection.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import Struct

from verifier.model import codes, limits
from verifier.model.digest import Digest, parse_digest
from verifier.model.errors import InconclusiveError, error
from verifier.model.reference import is_evidence_tag
from verifier.oci.manifest import Index, read_manifest
from verifier.oci.referrers import fallback_tag
from verifier.oci.repository import Repository
from verifier.oci.source import manifest_if_there, resolve_if_there
from verifier.operations.cosign_tags import cosign_tag
from verifier.operations.retention import Held, Keep, Plan, plan

_CREATED = "org.opencontainers.image.created"
_COSIGN = ("sig", "att", "sbom")
_DEPTH = 4


class Doomed(Struct, frozen=True, kw_only=True):
    """A chart that goes, or evidence of one that is gone (no tags): what is attached, in the order of deletion."""

    digest: Digest
    tags: tuple[str, ...]
    attached: tuple[Digest, ...]


class Pruning(Struct, frozen=True, kw_only=True):
    """A plan for one repository."""

    plan: Plan
    charts: tuple[Doomed, ...]
    orphans: tuple[Doomed, ...]


class Deleted(Struct, frozen=True, kw_only=True):
    """One thing that was done; `kept` says why it was not."""

    digest: Digest
    tags: tuple[str, ...]
    attached: int
    kept: str = ""


def plan_pruning(place: Repository, keep: Keep) -> Pruning:
    """1 and 2; raises VerifierError when anything could not be read, so that nothing is ever deleted on half a picture."""
    tags = place.tags()
    held = tuple(_held(place, tag) for tag in tags if not is_evidence_tag(tag))
    made = plan(held, keep, datetime.now(UTC))
    staying = made.kept_digests | {parse_digest(text) for text in keep.pins.digests}
    charts = tuple(_doomed(place, digest, names, staying) for digest, names in sorted(made.doomed.items(), key=lambda item: str(item[0])))
    subjects = {item.digest for item in held} | {child for item in held for child in item.children}
    orphans = tuple(_orphans(place, tags, subjects, staying))
    return Pruning(plan=made, charts=charts, orphans=orphans)


def execute(place: Repository, pruning: Pruning) -> Iterator[Deleted]:
    """3 and 4; raises InconclusiveError, `unsupported` where the registry deletes nothing (5)."""
    known = set(pruning.plan.kept) | {tag for chart in pruning.charts for tag in chart.tags}
    for chart in pruning.charts:
        newcomers = [tag for tag in place.tags() if tag not in known and not is_evidence_tag(tag)]
        if any(place.resolve(tag).digest == chart.digest for tag in newcomers):
            yield Deleted(digest=chart.digest, tags=chart.tags, attached=0, kept="a tag came meanwhile that names it")
            continue
        yield _delete(place, chart)
    for orphan in pruning.orphans:
        yield _delete(place, orphan)


def _delete(place: Repository, doomed: Doomed) -> Deleted:
    gone = sum(_delete_one(place, digest) for digest in doomed.attached)
    if doomed.tags:
        _delete_one(place, doomed.digest)
    return Deleted(digest=doomed.digest, tags=doomed.tags, attached=gone)


def _delete_one(place: Repository, digest: Digest) -> bool:
    try:
        place.delete_manifest(str(digest))
    except InconclusiveError as trouble:
        if trouble.code is codes.NOT_FOUND:  # an earlier run got this far, or the registry let it go with its subject
            return False
        raise
    return True


def _held(place: Repository, tag: str) -> Held:
    fetched = place.resolve(tag)
    parsed = read_manifest(fetched.data, where=f"{place.where}:{tag}")
    if isinstance(parsed, Index):
        return Held(tag=tag, digest=fetched.digest, children=tuple(_children(place, parsed, 0)))
    return Held(tag=tag, digest=fetched.digest, created=_time(parsed.annotations.get(_CREATED, "")))


def _children(place: Repository, index: Index, depth: int) -> Iterator[Digest]:
    for item in index.manifests:
        yield item.digest
        parsed = read_manifest(place.manifest(item.digest).data, where=place.where) if depth < _DEPTH and "index" in item.media_type else None
        if isinstance(parsed, Index):
            yield from _children(place, parsed, depth + 1)


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _doomed(place: Repository, digest: Digest, tags: tuple[str, ...], staying: frozenset[Digest] | set[Digest]) -> Doomed:
    return Doomed(digest=digest, tags=tags, attached=tuple(dict.fromkeys(item for item in _attached(place, digest, 0) if item not in staying)))


def _attached(place: Repository, subject: Digest, depth: int) -> Iterator[Digest]:
    """From the leaves."""
    listed = place.referrers(subject)
    for gap in listed.gaps:
        raise error(gap.code, f"what is attached could not be listed: {gap.reason}", where=gap.where)
    if len(listed.descriptors) > limits.COPY_MANIFESTS or depth > _DEPTH:
        raise InconclusiveError(codes.EVIDENCE_LIMIT, f"more than {limits.COPY_MANIFESTS} are attached, or more than {_DEPTH} deep", where=place.where)
    for item in listed.descriptors:
        if item.digest != subject:
            yield from _attached(place, item.digest, depth + 1)
            yield item.digest
    for tag in (*(cosign_tag(subject, suffix) for suffix in _COSIGN), fallback_tag(subject)):
        fetched = resolve_if_there(place, tag)
        if fetched is not None and fetched.digest != subject:  # GitLab answers with the subject itself
            yield fetched.digest


def _orphans(place: Repository, tags: tuple[str, ...], subjects: set[Digest], staying: frozenset[Digest] | set[Digest]) -> Iterator[Doomed]:
    """Tags of evidence whose subject no tag names and the registry does not have."""
    seen: set[Digest] = set()
    for tag in tags:
        subject = _subject(tag) if is_evidence_tag(tag) else None
        if subject is None or subject in subjects or subject in seen or subject in staying or manifest_if_there(place, subject) is not None:
            continue
        seen.add(subject)
        yield _doomed(place, subject, (), staying)


def _subject(tag: str) -> Digest | None:
    algorithm, _, rest = tag.partition("-")
    try:
        return parse_digest(f"{algorithm}:{rest.partition('.')[0]}")
    except ValueError:
        return None  # sha512 is cut off in such a tag: what it is of cannot be told
