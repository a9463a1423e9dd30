"""The recipe: who made the signature in a bundle, when, and who vouches for it. One recipe for every form (ADR 8).

Source: sigstore/architecture-docs client-spec.md, "Verification". The steps, with a certificate:

1. Read the certificate: for code signing, one identity, one issuer (certificate.py, 1 and 2).
2. Its key made the signature over the envelope or the artifact.
3. Timestamps of the root's authorities over the signature give proven times; others are passed over.
4. Log entries of the root's logs hold this signature; an entry of a trusted log that does not verify rejects the bundle.
   The time of an entry counts where the log signed it.
5. The thresholds of the root hold, counted by distinct authority, and at least one time is proven.
6. The certificate's chain leads to a CA of the root at each proven time.
7. Certificate transparency logs vouch for the certificate, as many as the root demands.

With a key, steps 2, 3, 4; the key's window is judged by the policy, at the proven time if there is one. Steps 3 and 4 are left out
where the policy names no root for the key: then nothing could prove them, and nothing is claimed of them.

Step 2 is here, since keys need no more; the others are in certified.py, whose imports keys should not pay for.
"""

from __future__ import annotations

import hashlib

from msgspec import Struct

from verifier.attest.bundle import MessageSignature
from verifier.attest.dsse import Envelope, pae
from verifier.attest.log_entry import ALGORITHMS
from verifier.model import codes
from verifier.model.claim import SigningTime
from verifier.model.errors import FailedError
from verifier.signers.public import PublicKey


class Signed(Struct, frozen=True, kw_only=True):
    """What a message signature is over: the bytes, or only their SHA-256."""

    sha256: bytes
    data: bytes | None = None

    @classmethod
    def of(cls, data: bytes) -> Signed:
        """Bytes that are at hand."""
        return cls(sha256=hashlib.sha256(data).digest(), data=data)

    def digest(self, algorithm: str) -> bytes | None:
        """The digest, if it can be known."""
        if algorithm == "sha256":
            return self.sha256
        return hashlib.new(algorithm, self.data).digest() if self.data is not None else None


class Vouched(Struct, frozen=True, kw_only=True):
    """What timestamps and logs prove: times, and the number of distinct logs."""

    times: tuple[SigningTime, ...] = ()
    logs: int = 0


def signature_holds(content: Envelope | MessageSignature, signed: Signed, key: PublicKey) -> bool:
    """2. A signature hashed with SHA-256 is taken from any key, since clients before 2026 knew no other hash for larger curves."""
    match content:
        case Envelope():
            message = pae(content.payload_type, content.payload)
            return key.verifies(content.signature, message) or (key.hash != "sha256" and key.verifies(content.signature, message, "sha256"))
        case MessageSignature():
            return any(_message_holds(content.signature, signed, key, algorithm) for algorithm in dict.fromkeys((key.hash, "sha256")))


def check_digest(content: Envelope | MessageSignature, signed: Signed) -> None:
    """The digest beside a message signature is a hint; where it is there it must be right. Raises FailedError `subject-mismatch`."""
    if isinstance(content, Envelope) or not (content.algorithm or content.digest):
        return
    algorithm = ALGORITHMS.get(content.algorithm)
    if algorithm is None or signed.digest(algorithm) != content.digest:
        raise FailedError(codes.SUBJECT_MISMATCH, "the message signature is over other bytes")


def _message_holds(signature: bytes, signed: Signed, key: PublicKey, algorithm: str) -> bool:
    if signed.data is not None:
        return key.verifies(signature, signed.data, algorithm)
    digest = signed.digest(algorithm)
    return digest is not None and key.verifies_digest(signature, digest, algorithm)
