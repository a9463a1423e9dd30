"""Restoring the list of what is attached, where a registry has no referrers API and the last writer of the list won (semantics 30).

1. What is known: what this user attached (oci.journal), digests that are given, and what another place (a copy, an image layout, a bundle) lists.
2. Each that the list lacks is looked up in the registry by its digest, and must say itself that it refers to the chart. One that is gone is fetched from
   the other place, if that has it, with its blobs.
3. Entries without a type, which older clients wrote, are completed from their manifests; nothing is ever taken out of the list.
4. A list that cannot be read is replaced by what is known; its digest is told, under which the registry may still have it.
5. The new list is read back, and again after a settling time.

Where the API is offered the registry makes the list itself: then it can be told that something is missing, and not be mended.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from verifier.model import codes, limits
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, InconclusiveError, VerifierError, error
from verifier.model.evidence import Kind
from verifier.oci.journal import Journal
from verifier.oci.manifest import INDEX, MANIFEST, Manifest, read_manifest, write_index
from verifier.oci.referrers import fallback_tag, list_by_tag, read_list
from verifier.oci.repository import Repository, describe
from verifier.oci.source import Source, manifest_if_there


class State(Enum):
    """Of one thing that is known to be attached."""

    LISTED = "listed"
    ADDED = "added"
    COMPLETED = "completed"  # it was listed without its type
    RESTORED = "restored"  # the registry had lost it
    UNLISTED = "unlisted"  # by the API, which only the registry can mend
    GONE = "gone"
    FOREIGN = "foreign"  # it refers to something else
    UNKNOWN = "unknown"


_BY_API = "the registry's own API does not list it; ask its operator"
_WHOLE = (State.LISTED, State.ADDED, State.COMPLETED, State.RESTORED, State.FOREIGN)


class Entry(Struct, frozen=True, kw_only=True):
    """One attached manifest; `source` says who knew of it, `descriptor` is how it is listed from now on."""

    digest: Digest
    state: State
    source: str
    reason: str = ""
    descriptor: Descriptor | None = None


class Repaired(Struct, frozen=True, kw_only=True):
    """What was done, or would be; `replaced` is a list that could not be read."""

    kind: Kind
    entries: tuple[Entry, ...]
    replaced: Digest | None = None

    @property
    def complete(self) -> bool:
        """Whether all that is known is listed now."""
        return all(entry.state in _WHOLE for entry in self.entries)


class Known(Struct, frozen=True, kw_only=True):
    """Where knowledge comes from (1)."""

    journal: Journal | None = None
    given: tuple[Digest, ...] = ()
    other: Source | None = None


def repair(place: Repository, subject: Digest, known: Known, *, dry_run: bool = False) -> Repaired:
    """Make the list of `subject` whole; raises VerifierError when the registry cannot be asked or written to."""
    listed = place.referrers(subject)
    by_api = listed.kind is Kind.REFERRER and not listed.gaps
    present, damaged = (listed.descriptors, None) if by_api else _read(place, subject)
    there = {item.digest: item for item in present}
    wanted = {**dict(_wanted(place, subject, known)), **dict.fromkeys(there, "the list")}
    entries = tuple(_look(place, subject, there.get(digest), (digest, source), known.other) for digest, source in sorted(wanted.items(), key=str))
    if by_api:
        entries = tuple(replace(entry, state=State.UNLISTED, reason=_BY_API) if entry.state is State.ADDED else entry for entry in entries)
    if not dry_run:
        _write(place, subject, Repaired(kind=listed.kind, entries=entries, replaced=damaged), known.other, by_api=by_api)
    return Repaired(kind=Kind.REFERRER if by_api else Kind.FALLBACK_TAG, entries=entries, replaced=damaged)


def _read(place: Repository, subject: Digest) -> tuple[tuple[Descriptor, ...], Digest | None]:
    """4; what is listed, or the digest of a list that cannot be read."""
    try:
        return read_list(place, subject), None
    except (FailedError, InconclusiveError) as trouble:
        if isinstance(trouble, InconclusiveError) and trouble.code is not codes.REGISTRY_NONSENSE:
            raise
    return (), place.resolve(fallback_tag(subject)).digest


def _wanted(place: Repository, subject: Digest, known: Known) -> Iterator[tuple[Digest, str]]:
    if known.other is not None:
        listed = known.other.referrers(subject)
        for gap in listed.gaps:
            raise error(gap.code, gap.reason, where=gap.where)
        yield from ((item.digest, known.other.where) for item in listed.descriptors)
    yield from ((digest, "what was given") for digest in known.given)
    if known.journal is not None:
        yield from ((item.digest, "what was attached from here") for item in known.journal.known(place.where, subject))


def _look(place: Repository, subject: Digest, old: Descriptor | None, wanted: tuple[Digest, str], other: Source | None) -> Entry:
    """2 and 3, for one; nothing is written."""
    digest, source = wanted
    if old is not None and old.artifact_type:
        return Entry(digest=digest, state=State.LISTED, source=source, descriptor=old)
    state = State.ADDED if old is None else State.COMPLETED
    try:
        fetched = manifest_if_there(place, digest)
        if fetched is None and other is not None and (fetched := manifest_if_there(other, digest)) is not None:
            state = State.RESTORED
        parsed = read_manifest(fetched.data, where=place.where) if fetched is not None else None
    except VerifierError as trouble:
        return Entry(digest=digest, state=State.UNKNOWN, source=source, reason=str(trouble), descriptor=old)
    if fetched is None or parsed is None:
        return Entry(digest=digest, state=State.GONE, source=source, reason="the registry does not have it any more", descriptor=old)
    if not isinstance(parsed, Manifest) or parsed.subject is None or parsed.subject.digest != subject:
        return Entry(digest=digest, state=State.FOREIGN, source=source, reason="it does not refer to this chart", descriptor=old)
    return Entry(digest=digest, state=state, source=source, descriptor=describe(fetched.data, MANIFEST))


def _write(place: Repository, subject: Digest, planned: Repaired, other: Source | None, *, by_api: bool) -> None:
    """What is gone is brought first; then the list (5). One that cannot be read is written over, since it cannot be added to."""
    for entry in planned.entries:
        if entry.state is State.RESTORED and other is not None:
            _bring(place, entry.digest, other)
    listed = [entry.descriptor for entry in planned.entries if entry.descriptor is not None]
    if by_api or (planned.replaced is None and all(entry.state is State.LISTED for entry in planned.entries)):
        return
    if planned.replaced is not None or any(entry.state is State.COMPLETED for entry in planned.entries):
        place.push_manifest(write_index(listed), INDEX, fallback_tag(subject))
    if listed:
        list_by_tag(place, subject, listed)


def _bring(place: Repository, digest: Digest, other: Source) -> None:
    """Copy a manifest with its blobs; each is compared with its digest on the way."""
    fetched = other.manifest(digest)
    parsed = read_manifest(fetched.data, where=other.where)
    if isinstance(parsed, Manifest):
        for item in (parsed.config, *parsed.layers):
            place.push_blob(other.blob(item, limits.EVIDENCE_BYTES))
        place.push_manifest(fetched.data, MANIFEST)
