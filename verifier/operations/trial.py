"""What only writing shows of a registry: whether tags can be moved, whether what is attached is listed, and whether it can be deleted.

1. A manifest without content is stored under a tag of its own, `verifier-check-HEX`. 2. Another is stored under that tag.
3. Two referrers are attached to the first, one after the other: without the referrers API it is the second that an immutable tag refuses.
4. All of it is deleted; what the registry keeps is named.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.formats.json import dump_json
from verifier.model import codes
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest, sha256
from verifier.model.errors import InconclusiveError, VerifierError
from verifier.oci.manifest import EMPTY, EMPTY_BYTES, MANIFEST, write_referrer
from verifier.oci.referrers import fallback_tag
from verifier.oci.repository import Repository
from verifier.operations.doctor import Line, State, wrong

_TYPE = "application/vnd.helm-verifier.check.v1+json"


class _Traces(Struct, frozen=True):
    """What was written, to be deleted."""

    digests: list[Digest] = field(default_factory=list)


def try_writing(place: Repository) -> Iterator[Line]:
    """The lines, as they are found."""
    tag = f"verifier-check-{secrets.token_hex(4)}"
    traces = _Traces()
    try:
        place.push_blob(EMPTY_BYTES)
        subject = _store(place, traces, tag, "first")  # 1
    except VerifierError as error:
        yield wrong("write", error)
        return
    yield Line(topic="write", state=State.OK, text=f"a manifest was stored under the tag {tag}")
    yield _move(place, traces, tag)  # 2
    yield _attach(place, traces, subject)  # 3
    yield _clear(place, traces)  # 4


def _manifest(note: str) -> bytes:
    empty = {"mediaType": EMPTY, "digest": str(sha256(EMPTY_BYTES)), "size": len(EMPTY_BYTES)}
    about = {"org.opencontainers.image.title": f"verifier registry check, {note}"}
    return dump_json({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": _TYPE, "config": empty, "layers": [empty], "annotations": about})


def _store(place: Repository, traces: _Traces, tag: str, note: str) -> Descriptor:
    data = _manifest(f"{note} under {tag}")
    traces.digests.append(place.push_manifest(data, MANIFEST, tag))
    return Descriptor(media_type=MANIFEST, digest=sha256(data), size=len(data))


def _move(place: Repository, traces: _Traces, tag: str) -> Line:
    try:
        _store(place, traces, tag, "second")
    except InconclusiveError as error:
        if error.code is codes.TAG_IMMUTABLE:
            return Line(topic="tags", state=State.OK, text="are kept as they are: a published version cannot be replaced")
        return wrong("tags", error)
    return Line(
        topic="tags",
        state=State.NOTE,
        text="can be moved: whoever may push may replace a published version",
        advice="Make tags immutable (but for `sha256-*` where the referrers API is not offered), and install by digest.",
    )


def _attach(place: Repository, traces: _Traces, subject: Descriptor) -> Line:
    payload = Descriptor(media_type=_TYPE, digest=sha256(EMPTY_BYTES), size=len(EMPTY_BYTES))
    for number in (1, 2):
        referrer = write_referrer(subject, payload, {"org.opencontainers.image.title": f"verifier registry check, {number}"})
        try:
            place.attach([referrer], subject)
        except InconclusiveError as error:
            return wrong("attach", error) if number == 1 else _second_refused(error)
        finally:
            traces.digests.append(sha256(referrer))
            with contextlib.suppress(VerifierError):  # there is no such list where the API is offered
                traces.digests.append(place.resolve(fallback_tag(subject.digest)).digest)
    offered = place.session.referrers_api.get(place.registry)
    return Line(topic="attach", state=State.OK, text=f"two were attached and are listed, by {'the API' if offered else 'the tag sha256-HEX'}")


def _second_refused(error: InconclusiveError) -> Line:
    return replace(wrong("attach", error), text=f"a second signature finds no place: {error.reason}")


def _clear(place: Repository, traces: _Traces) -> Line:
    kept, refused = [], None
    for digest in reversed(traces.digests):
        try:
            place.delete_manifest(str(digest))
        except InconclusiveError as error:
            if error.code is not codes.NOT_FOUND:
                kept.append(digest)
                refused = error
    if refused is None:
        return Line(topic="delete", state=State.OK, text="what was written is gone")
    text = f"not possible ({refused.reason}); left behind: {', '.join(digest.short for digest in kept)}"
    return Line(topic="delete", state=State.NOTE, text=text, code=refused.code)
