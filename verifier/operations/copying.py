"""Promotion: a chart with everything that is attached to it, byte for byte, from one registry or layout to another.

1. The chart is decided on at its source; what is not allowed is not copied.
2. Everything that belongs to it is found: what refers to it, what refers to that, and cosign's tags. What cannot be listed or read ends the copy:
   a copy that lost a signature would be a new, worse chart.
3. Blobs and manifests are pushed under their digests, referrers attached and read back; the tag is still missing.
4. The copy is decided on, where the destination's policy speaks of it; what it does not allow gets no tag.
5. The tag is written last. One that names something else is never moved; what is there already is not pushed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from verifier.model import codes, limits
from verifier.model.artifact import Descriptor
from verifier.model.decision import Decision
from verifier.model.digest import Digest
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.oci.manifest import INDEX, MANIFEST, Index, Manifest, read_manifest
from verifier.oci.source import Fetched, Source, Target, resolve_if_there
from verifier.operations.cosign_tags import cosign_tag

_COSIGN = ("sig", "att", "sbom")
_DEPTH = 5  # what refers to what refers to ...; real ones stay at two
Decide = Callable[[Digest], Decision | None]


class Copied(Struct, frozen=True, kw_only=True):
    """What was done. `decision` is the destination's, None where no policy speaks of it; a copy that it does not allow has no tag."""

    digest: Digest
    manifests: int
    evidence: int
    existed: bool
    decision: Decision | None


class Piece(Struct, frozen=True, kw_only=True):
    """A manifest that belongs to a chart: what it refers to, or the tag that it lies under; the chart itself has neither."""

    fetched: Fetched
    subject: Descriptor | None = None
    tag: str | None = None


def collect(source: Source, chart: Fetched) -> tuple[Piece, ...]:
    """2: the chart and all that belongs to it, subjects before what refers to them; raises FailedError or InconclusiveError."""
    found: dict[Digest, Piece] = {}
    _add(found, source, Piece(fetched=chart), 0)
    for suffix in _COSIGN:
        tag = cosign_tag(chart.digest, suffix)
        fetched = resolve_if_there(source, tag)
        if fetched is not None:
            _add(found, source, Piece(fetched=fetched, tag=tag), 0)
    return tuple(found.values())


def _add(found: dict[Digest, Piece], source: Source, piece: Piece, depth: int) -> None:
    if piece.fetched.digest in found:
        return
    if len(found) >= limits.COPY_MANIFESTS or depth > _DEPTH:
        reason = f"more than {limits.COPY_MANIFESTS} manifests belong to it, or they refer to each other more than {_DEPTH} deep"
        raise InconclusiveError(codes.EVIDENCE_LIMIT, reason, where=source.where)
    parsed = read_manifest(piece.fetched.data, where=f"{source.where}@{piece.fetched.digest.short}")
    if isinstance(parsed, Index):
        for child in parsed.manifests:
            _add(found, source, Piece(fetched=source.manifest(child.digest)), depth + 1)
    found[piece.fetched.digest] = piece
    listed = source.referrers(piece.fetched.digest)
    for gap in listed.gaps:
        raise InconclusiveError(gap.code, f"what is attached could not be listed whole: {gap.reason}", where=gap.where, retry_after=gap.retry_after)
    for descriptor in listed.descriptors:
        if descriptor.digest != piece.fetched.digest and descriptor.digest not in found:
            attached = source.manifest(descriptor.digest)
            if _subject(attached, source) == piece.fetched.digest:  # a list is a hint
                _add(found, source, Piece(fetched=attached, subject=piece.fetched.descriptor), depth + 1)


def _subject(fetched: Fetched, source: Source) -> Digest | None:
    parsed = read_manifest(fetched.data, where=f"{source.where}@{fetched.digest.short}")
    return parsed.subject.digest if isinstance(parsed, Manifest) and parsed.subject is not None else None


def copy(source: Source, chart: Fetched, target: Target, tag: str, decide: Decide) -> Copied:
    """2 to 5; raises MisuseError `tag-exists`, FailedError or InconclusiveError. `decide` judges the copy by its digest."""
    _is_named(target, tag, chart.digest)
    pieces = collect(source, chart)
    lacking = [piece for piece in pieces if not _is_there(piece, target)]
    _push(lacking, source, target)  # 3
    decision = decide(chart.digest)  # 4
    existed = _is_named(target, tag, chart.digest)  # again: it may have been published meanwhile
    if not existed and (decision is None or decision.allowed):  # 5
        target.push_manifest(chart.data, chart.media_type, tag)
        _is_named(target, tag, chart.digest)
    return Copied(
        digest=chart.digest,
        manifests=len(lacking),
        evidence=len(pieces) - 1,
        existed=existed and not lacking,
        decision=decision,
    )


def _push(pieces: Sequence[Piece], source: Source, target: Target) -> None:
    """3: each with its blobs; what refers to one subject is listed together, and last."""
    attached: dict[Digest, tuple[Descriptor, list[bytes]]] = {}
    for piece in pieces:
        fetched = piece.fetched
        parsed = read_manifest(fetched.data, where=source.where)
        if isinstance(parsed, Manifest):
            for blob in {item.digest: item for item in (parsed.config, *parsed.layers)}.values():
                target.push_blob(source.blob(blob, limits.COPY_BLOB_BYTES))
        if piece.subject is None:
            media_type = INDEX if isinstance(parsed, Index) and not fetched.media_type else fetched.media_type or MANIFEST
            target.push_manifest(fetched.data, media_type, piece.tag)
        elif fetched.media_type in (MANIFEST, ""):
            attached.setdefault(piece.subject.digest, (piece.subject, []))[1].append(fetched.data)
        else:
            raise MisuseError(codes.USAGE, f"an attached {fetched.media_type[:100]} cannot be copied; only manifests refer to charts", where=source.where)
    for subject, manifests in attached.values():
        target.attach(manifests, subject)


def _is_there(piece: Piece, target: Target) -> bool:
    """What is listed there already is whole, since it was listed last."""
    if piece.tag is not None:
        held = resolve_if_there(target, piece.tag)
        if held is not None and held.digest != piece.fetched.digest:
            reason = f"{piece.tag} holds other signatures there ({held.digest.short}...); cosign's old form keeps all in one, and it is not replaced"
            raise MisuseError(codes.TAG_EXISTS, reason, where=target.where)
        return held is not None
    try:
        if piece.subject is not None:
            return piece.fetched.digest in {item.digest for item in target.referrers(piece.subject.digest).descriptors}
        return target.manifest(piece.fetched.digest).digest == piece.fetched.digest
    except InconclusiveError as error:
        if error.code is codes.NOT_FOUND:
            return False
        raise


def _is_named(target: Target, tag: str, digest: Digest) -> bool:
    """Whether the tag names the chart already; raises MisuseError `tag-exists` where it names something else."""
    held = resolve_if_there(target, tag)
    if held is not None and held.digest != digest:
        reason = f"{tag} is published there as {held.digest.short}..., this is {digest.short}...; a tag is never moved"
        raise MisuseError(codes.TAG_EXISTS, reason, where=target.where)
    return held is not None
