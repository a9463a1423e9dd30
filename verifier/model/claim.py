"""Claims: what a scheme proved. Rejections: what proved nothing, never thrown away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from verifier.model.codes import Code
from verifier.model.digest import Digest
from verifier.model.evidence import Location


class Role(StrEnum):
    """Which digest of the chart a signature speaks of (semantics 5)."""

    MANIFEST = "manifest"
    ARCHIVE = "archive"


class Clock(StrEnum):
    """By whose clock a signing time is known (semantics 18)."""

    SIGNER = "signer"
    LOG = "log"
    TIMESTAMP = "timestamp"


class Form(StrEnum):
    """The form of a signature (semantics 8)."""

    PROVENANCE = "provenance"
    STATEMENT = "statement"
    SIMPLE_SIGNING = "simple-signing"
    MESSAGE = "message"


class SigningTime(Struct, frozen=True, kw_only=True):
    """When something was signed, and by whose clock."""

    at: datetime
    clock: Clock

    @property
    def proven(self) -> bool:
        """Only a log or a timestamp authority proves a time."""
        return self.clock is not Clock.SIGNER


class OpenPGPSigner(Struct, frozen=True, kw_only=True):
    """An OpenPGP certificate, named by its primary key; `signing_key` may be a subkey.

    `key_id` names the signing key as a plain public key would be named, where it could be one (RSA, ECDSA): the same key in
    two kinds is one principal (semantics 10).
    """

    fingerprint: str
    signing_key: str
    user_id: str = ""
    key_id: str | None = None

    @property
    def principal(self) -> str:
        """What is counted."""
        return f"openpgp:{self.fingerprint}"

    def __str__(self) -> str:
        return f"OpenPGP {self.fingerprint}" + (f" ({self.user_id})" if self.user_id else "")


class KeySigner(Struct, frozen=True, kw_only=True):
    """A public key, named by the SHA-256 of its SubjectPublicKeyInfo."""

    key_id: str
    algorithm: str

    @property
    def principal(self) -> str:
        """What is counted."""
        return f"key:{self.key_id}"

    def __str__(self) -> str:
        return f"key {self.key_id} ({self.algorithm})"


class SanType(StrEnum):
    """The type of the name in a signing certificate; an identity is only ever compared within its type (semantics 9)."""

    EMAIL = "email"
    URI = "uri"
    OTHER = "other"


# The extensions of Fulcio's certificates by the names under which policies and decisions speak of them.
CERTIFICATE_CLAIMS = (
    "githubWorkflowTrigger",
    "githubWorkflowSHA",
    "githubWorkflowName",
    "githubWorkflowRepository",
    "githubWorkflowRef",
    "buildSignerURI",
    "buildSignerDigest",
    "runnerEnvironment",
    "sourceRepositoryURI",
    "sourceRepositoryDigest",
    "sourceRepositoryRef",
    "sourceRepositoryIdentifier",
    "sourceRepositoryOwnerURI",
    "sourceRepositoryOwnerIdentifier",
    "buildConfigURI",
    "buildConfigDigest",
    "buildTrigger",
    "runInvocationURI",
    "sourceRepositoryVisibilityAtSigning",
    "deploymentEnvironment",
    "tokenSubject",
)


class CertificateSigner(Struct, frozen=True, kw_only=True):
    """A keyless identity: what a CA of the trust root `root` certified. `extensions` are Fulcio's, by the names of docs/keyless.md."""

    identity: str
    san_type: SanType
    issuer: str
    root: str
    extensions: Mapping[str, str] = field(default_factory=dict)

    @property
    def source_repository(self) -> str:
        """The URI of the repository whose workflow signed; empty where the certificate names none."""
        old = self.extensions.get("githubWorkflowRepository")
        return self.extensions.get("sourceRepositoryURI") or (f"https://github.com/{old}" if old else "")

    @property
    def principal(self) -> str:
        """Issuer, source repository, and the identity without a workflow's ref (semantics 10)."""
        workflow = self.identity.partition("@")[0] if self.san_type is SanType.URI else self.identity
        return f"keyless:{self.root}:{self.issuer} {self.source_repository} {workflow}"

    def __str__(self) -> str:
        return f"{self.identity} (certified for {self.issuer}, root {self.root})"


Signer = OpenPGPSigner | KeySigner | CertificateSigner


class Signature(Struct, frozen=True, kw_only=True):
    """The claim kind "this signs the chart", in one of its forms."""

    form: Form


class Attestation(Struct, frozen=True, kw_only=True):
    """The claim kind "this says something about the chart"; never satisfies `signed`."""

    predicate_type: str
    predicate: Any


class Claim(Struct, frozen=True, kw_only=True):
    """A fact that a scheme proved.

    `anchors` are the names of the trust entries that it verifies under; of a keyless claim the policy finds them by its
    identity. `logs` is the number of distinct transparency logs that hold the signature. `repository` is the repository that the signed
    content itself names, if any. `key_expires` and `key_revoked` leave the judgement of time to the policy.
    """

    scheme: str
    kind: Signature | Attestation
    signer: Signer
    anchors: frozenset[str]
    role: Role
    digest: Digest
    location: Location
    times: tuple[SigningTime, ...] = ()
    repository: str | None = None
    logs: int = 0
    key_expires: datetime | None = None
    key_revoked: bool = False


class Rejection(Struct, frozen=True, kw_only=True):
    """Evidence that proved nothing; the family is the code's."""

    scheme: str | None
    code: Code
    reason: str
    location: Location
    signer: str | None = None
