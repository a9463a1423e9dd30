"""Referrers: by the API, or by the fallback tag. Source: distribution-spec spec.md "Listing Referrers", "Referrers Tag Schema".

Reading. Support is a tri-state per registry, learnt once: 200 with exactly the index media type is "supported"; any other
200 (an HTML page), a redirect to one, 400, 405, 406 or a 404 that does not say NAME_UNKNOWN is "unsupported". Then the tag
`sha256-HEX` is read; GitLab resolves that tag to the subject itself, which means that there are none.

Writing. The `OCI-Subject` header is not believed (two big registries sent it without the API): the list is read back. The
fallback tag is last-writer-wins everywhere, so an entry is read back, and again after a settling time (semantics 30).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from verifier.model import codes, limits
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, InconclusiveError, VerifierError
from verifier.model.evidence import Gap, Kind
from verifier.net.transport import Request, Response
from verifier.oci.manifest import INDEX, MANIFEST, Index, read_manifest, write_index
from verifier.oci.repository import Repository, describe, read_answer
from verifier.oci.session import refusal, registry_error
from verifier.oci.source import Referrers

_UNSUPPORTED = (400, 404, 405, 406, 501)
_ATTEMPTS = 12
_SETTLE_SECONDS = 0.4  # longer than a writer needs between reading the index and writing it
_SETTLE_TIMES, _SETTLE_MOST = 4.0, 5.0  # where the way is slow


def list_referrers(repository: Repository, digest: Digest) -> Referrers:
    """What refers to `digest`; trouble becomes a gap, never "none"."""
    try:
        if repository.session.referrers_api.get(repository.registry) is not False:
            found = _by_api(repository, digest)
            if found is not None:
                return found
        return _by_tag(repository, digest)
    except VerifierError as error:
        gap = Gap(kind="referrers", where=repository.where, code=error.code, reason=error.reason, retry_after=error.retry_after)
        return Referrers(descriptors=(), kind=Kind.REFERRER, gaps=(gap,))


def offers_referrers(response: Response) -> bool | None:
    """What an answer of the API says about it; None is no such repository, which says nothing. Raises InconclusiveError for any other trouble."""
    if response.status == 404 and registry_error(response)[0] == "NAME_UNKNOWN":
        return None
    supported = response.status == 200 and response.media_type == INDEX
    if not supported and response.status != 200 and response.status not in _UNSUPPORTED:
        raise refusal(response, "referrers")
    return supported


def fallback_tag(digest: Digest) -> str:
    """`<algorithm, at most 32>-<encoded, at most 64>`: a legal tag also for sha512."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def attach(repository: Repository, manifests: Sequence[bytes], subject: Descriptor) -> None:
    """Push the manifests and see them listed; raises InconclusiveError `attachment-lost` or what the registry answered.

    Several cost one look at the list, and one settling time where there is only the fallback tag.
    """
    attached = [describe(manifest, MANIFEST) for manifest in manifests]
    for manifest in manifests:
        repository.push_manifest(manifest, MANIFEST)
    listed = _by_api(repository, subject.digest)
    if listed is None:
        if repository.session.journal is not None:
            repository.session.journal.note(repository.where, subject.digest, attached)
        list_by_tag(repository, subject.digest, attached)
    elif not _are_in(listed.descriptors, attached):
        raise _lost(repository, "the referrers API does not list it")


def _are_in(listed: Sequence[Descriptor], attached: Sequence[Descriptor]) -> bool:
    return {item.digest for item in attached} <= {item.digest for item in listed}


def _with(listed: Sequence[Descriptor], attached: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
    """The index with each of `attached` in it once, in the order of digests; foreign entries stay as they are."""
    new = {item.digest for item in attached}
    return tuple(sorted([*(item for item in listed if item.digest not in new), *attached], key=lambda item: str(item.digest)))


def _by_api(repository: Repository, digest: Digest) -> Referrers | None:
    """The API's list; None when the registry does not offer it."""
    response = repository.send(Request(method="GET", url=repository.url(f"referrers/{digest}"), headers={"Accept": INDEX}), limits.MANIFEST_BYTES)
    offered = offers_referrers(response)
    if offered is None:
        return Referrers(descriptors=(), kind=Kind.REFERRER)
    repository.session.referrers_api.learn(repository.registry, offered)
    if not offered:
        return None
    found = list(_read_index(response, repository))
    gap: tuple[Gap, ...] = ()
    following = repository.next_page(response)
    for _ in range(limits.REFERRER_PAGES):
        if following is None:
            break
        response = repository.send(Request(method="GET", url=following, headers={"Accept": INDEX}), limits.MANIFEST_BYTES)
        if response.status != 200:
            raise refusal(response, "referrers")
        found += _read_index(response, repository)
        following = repository.next_page(response)
    if following is not None:
        reason = f"more than {limits.REFERRER_PAGES} pages of referrers"
        gap = (Gap(kind="referrers", where=repository.where, code=codes.EVIDENCE_LIMIT, reason=reason),)
    return Referrers(descriptors=tuple(found), kind=Kind.REFERRER, gaps=gap)


def _by_tag(repository: Repository, digest: Digest) -> Referrers:
    return Referrers(descriptors=_read_tag(repository, digest), kind=Kind.FALLBACK_TAG)


def _read_tag(repository: Repository, digest: Digest) -> tuple[Descriptor, ...]:
    try:
        fetched = repository.resolve(fallback_tag(digest))
    except InconclusiveError as error:
        if error.code is codes.NOT_FOUND:
            return ()
        raise
    if fetched.digest == digest:  # GitLab's alias
        return ()
    parsed = read_manifest(fetched.data, where=f"{repository.where}:{fallback_tag(digest)}")
    if not isinstance(parsed, Index):
        raise InconclusiveError(codes.REGISTRY_NONSENSE, "the fallback tag names a manifest that is no index", where=repository.where)
    return parsed.manifests


def _read_index(response: Response, repository: Repository) -> tuple[Descriptor, ...]:
    value = read_answer(response)
    try:
        parsed = read_manifest(response.body, where="referrers")
    except FailedError as error:
        raise InconclusiveError(codes.REGISTRY_NONSENSE, f"referrers: {error.reason}", where=repository.where) from error
    if not isinstance(parsed, Index):
        raise InconclusiveError(codes.REGISTRY_NONSENSE, f"referrers: not an index ({len(value)} keys)", where=repository.where)
    return parsed.manifests


def list_by_tag(repository: Repository, subject: Digest, attached: Sequence[Descriptor]) -> None:
    """See these entries in the list under the fallback tag; raises InconclusiveError `attachment-lost`, or what the registry answered.

    Whoever read the list before we wrote it may still write it without us. So it is read again after a settling time that is longer than a
    writer needs between reading and writing, measured by how long that took here.
    """
    import random  # only writers pay for it

    tag, took = fallback_tag(subject), 0.0
    for attempt in range(_ATTEMPTS):
        started = time.monotonic()
        present = _read_tag(repository, subject)
        if not _are_in(present, attached):
            repository.push_manifest(write_index(_with(present, attached)), INDEX, tag)
            took = max(took, time.monotonic() - started)
            time.sleep(random.uniform(0.01, 0.05 * (attempt + 1)))  # noqa: S311  # jitter, no secret
            continue
        time.sleep(min(max(_SETTLE_SECONDS, _SETTLE_TIMES * took), _SETTLE_MOST))
        if _are_in(_read_tag(repository, subject), attached):
            return
    raise _lost(repository, f"other writers replaced the tag {tag} {_ATTEMPTS} times")


def read_list(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    """The list under the fallback tag; raises VerifierError when it is none."""
    return _read_tag(repository, subject)


def _lost(repository: Repository, why: str) -> InconclusiveError:
    return InconclusiveError(codes.ATTACHMENT_LOST, f"what was attached is not listed: {why}", where=repository.where)
