"""Keys that never leave their keeper: what every KMS and hardware token has in common.

1. The public half is fetched first; its algorithm must be one of ours (signers.public).
2. The message is hashed here, with the hash that goes with the key; only the digest is sent.
3. What comes back must verify with the public half. So a key that was rotated in between, or a service that answers for
   another key, is noticed before anything is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa, utils
from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import InconclusiveError, MisuseError, first_line
from verifier.signers.public import PublicKey, checked_public_key

SECONDS = 30  # for one answer of a key's keeper
CONNECT_SECONDS = 10
SignDigest = Callable[[bytes], bytes]


class Access(Struct, frozen=True):
    """What opening a key may need: settings from the environment, and its passphrase or PIN, asked for only when it is needed."""

    environment: Mapping[str, str]
    passphrase: Callable[[], bytes | None]


class RemoteKey(Struct, frozen=True):
    """A key that somebody keeps for us; `sign_digest` asks them."""

    public: PublicKey
    where: str
    sign_digest: SignDigest

    def __repr__(self) -> str:
        return f"RemoteKey({self.where}, {self.public.key_id})"

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`, ASN.1 DER for ECDSA; raises MisuseError `signing-failed` when it is not this key's."""
        signature = self.sign_digest(hashlib.new(self.public.hash, message).digest())
        if not self.public.verifies(signature, message):
            raise MisuseError(codes.SIGNING_FAILED, f"what came back is no signature of {self.public.key_id}: was the key replaced just now?", where=self.where)
        return signature


@contextmanager
def extra(name: str, where: str) -> Iterator[None]:
    """Around the import of an optional library; raises MisuseError `extra-missing`, naming the extra."""
    try:
        yield
    except ImportError as error:
        raise MisuseError(codes.EXTRA_MISSING, f"install helm-verifier[{name}]: {first_line(error)}", where=where) from error


@contextmanager
def asking(where: str, *errors: type[Exception]) -> Iterator[None]:
    """Around a question to a key's keeper: its library's errors, and the network's, become `key-unavailable`."""
    known: tuple[type[Exception], ...] = (*errors, OSError)
    try:
        yield
    except known as error:
        # Vault says what is wrong in the last of its lines.
        raise unavailable(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", where) from error


def unavailable(reason: str, where: str) -> InconclusiveError:
    """The key's keeper refused, does not know the key, or did not answer."""
    return InconclusiveError(codes.KEY_UNAVAILABLE, reason, where=where)


def malformed(keyref: str, form: str) -> MisuseError:
    """A KEYREF that does not have the form of its scheme."""
    return MisuseError(codes.KEY_INVALID, f"a key of this kind is written {form}", where=keyref)


def read_public(data: bytes, where: str) -> PublicKey:
    """The key that a keeper hands out, as PEM or DER; raises MisuseError `key-unsupported` or InconclusiveError `key-unavailable`."""
    load = serialization.load_pem_public_key if data.lstrip().startswith(b"-----") else serialization.load_der_public_key
    try:
        return checked(load(data), where)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise unavailable(f"the answer holds no public key: {first_line(error)}", where) from error


def checked(key: object, where: str) -> PublicKey:
    """A public key whose algorithm we sign with; raises MisuseError `key-unsupported`."""
    try:
        return checked_public_key(key)
    except MisuseError as error:
        raise MisuseError(error.code, error.reason, where=where) from error


def is_rsa(public: PublicKey) -> bool:
    """Whether PKCS#1 v1.5 is asked for; everything else is ECDSA."""
    return isinstance(public.key, rsa.RSAPublicKey)


def der_signature(raw: bytes) -> bytes:
    """ECDSA's r and s, side by side as PKCS#11 and JWA write them, as ASN.1 DER."""
    half = len(raw) // 2
    return utils.encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
