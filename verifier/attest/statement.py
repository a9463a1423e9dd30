"""in-toto statements. Source: in-toto/attestation spec/v1/statement.md; v0.1 is still written by older clients.

The signature that `cosign sign` 3 writes is such a statement, with predicateType SIGN_PREDICATE and an empty predicate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from verifier.formats.json import dump_json, parse_object
from verifier.model import codes, limits
from verifier.model.digest import Digest
from verifier.model.errors import FailedError

SIGN_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
_TYPES = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")


class Subject(Struct, frozen=True, kw_only=True):
    """What a statement speaks of; `name` proves nothing by itself."""

    name: str
    digest: Mapping[str, str]

    def names(self, digest: Digest) -> bool:
        """Whether this subject carries exactly this digest."""
        return self.digest.get(digest.algorithm) == digest.hex


class Statement(Struct, frozen=True, kw_only=True):
    """Subjects, and what is said of them."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Any

    def subject_of(self, digests: Iterable[Digest]) -> tuple[Subject, Digest] | None:
        """The first subject that carries one of `digests`; any subject counts, wherever it stands in the list."""
        return next(((subject, digest) for digest in digests for subject in self.subjects if subject.names(digest)), None)


def read_statement(payload: bytes, *, where: str) -> Statement:
    """Read a statement; raises FailedError `json-invalid` or `bundle-malformed`."""
    value = parse_object(payload, where=where)
    if value.get("_type") not in _TYPES:
        raise _malformed(f"_type is {str(value.get('_type'))[:100]!r}, expected an in-toto statement", where)
    subjects = value.get("subject")
    if not isinstance(subjects, list) or not 1 <= len(subjects) <= limits.SUBJECTS:
        raise _malformed(f"a statement has 1 to {limits.SUBJECTS} subjects", where)
    predicate_type = value.get("predicateType")
    if not isinstance(predicate_type, str) or not predicate_type:
        raise _malformed("predicateType is missing", where)
    return Statement(subjects=tuple(_subject(item, where) for item in subjects), predicate_type=predicate_type, predicate=value.get("predicate"))


def write_sign_statement(digest: Digest, *, name: str) -> bytes:
    """The statement that `cosign sign` 3 writes, with the repository as the subject's name so that it can be bound."""
    return write_statement(digest, SIGN_PREDICATE, {}, name=name)


def write_statement(digest: Digest, predicate_type: str, predicate: Any, *, name: str) -> bytes:
    """A statement about one subject."""
    subject = {"name": name, "digest": {digest.algorithm: digest.hex}}
    return dump_json({"_type": _TYPES[0], "subject": [subject], "predicateType": predicate_type, "predicate": predicate})


def _subject(value: Any, where: str) -> Subject:
    if not isinstance(value, dict) or not isinstance(value.get("digest"), dict):
        raise _malformed("a subject without a digest", where)
    name = value.get("name")
    if not isinstance(name, str | None):
        raise _malformed("a subject's name is not text", where)
    return Subject(name=name or "", digest={str(key): str(item) for key, item in value["digest"].items()})


def _malformed(reason: str, where: str) -> FailedError:
    return FailedError(codes.BUNDLE_MALFORMED, reason, where=where)
