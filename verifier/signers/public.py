"""Public keys: which algorithms, with which hash, and what identifies a key.

The hash follows the key, as in cosign and sigstore-go: P-256 with SHA-256, P-384 with SHA-384, P-521 with SHA-512, RSA
(2048 to 4096) with PKCS#1 v1.5 and SHA-256. Of a policy's own keys Ed25519 is refused: cosign signs with the pre-hashed
variant, which `cryptography` does not offer, and a signature that only we can read is worth nothing (docs/signing.md). Logs,
timestamp authorities and certificates may use it.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from msgspec import Struct

from verifier.attest.bundle import key_hint
from verifier.model import codes
from verifier.model.errors import MisuseError, first_line

_CURVES: dict[str, hashes.HashAlgorithm] = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
_HASHES: dict[str, hashes.HashAlgorithm] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
_RSA_BITS = range(2048, 4097)

AnyPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


class PublicKey(Struct, frozen=True):
    """A public key that can verify; `spki_sha256` names it."""

    key: AnyPublicKey
    spki_sha256: bytes

    @property
    def key_id(self) -> str:
        """`sha256:HEX` of the SubjectPublicKeyInfo."""
        return f"sha256:{self.spki_sha256.hex()}"

    @property
    def hint(self) -> str:
        """What bundles carry to find the key."""
        return key_hint(self.spki_sha256)

    @property
    def algorithm(self) -> str:
        """A readable name of key type and size."""
        match self.key:
            case ec.EllipticCurvePublicKey():
                return f"ecdsa-{self.key.curve.name}"
            case rsa.RSAPublicKey():
                return f"rsa-{self.key.key_size}"
            case ed25519.Ed25519PublicKey():
                return "ed25519"

    @property
    def hash(self) -> str:
        """The hash that goes with this key: `sha256`, `sha384` or `sha512`."""
        return hash_for(self.key).name

    def verifies(self, signature: bytes, message: bytes, algorithm: str | None = None) -> bool:
        """Whether `signature` is this key's over `message`, hashed with `algorithm` or with the hash that goes with the key."""
        return self._verifies(signature, message, _HASHES[algorithm] if algorithm else hash_for(self.key))

    def verifies_digest(self, signature: bytes, digest: bytes, algorithm: str) -> bool:
        """The same for a message of which only the digest is known; never true for Ed25519, which signs the message itself."""
        return not isinstance(self.key, ed25519.Ed25519PublicKey) and self._verifies(signature, digest, utils.Prehashed(_HASHES[algorithm]))

    def _verifies(self, signature: bytes, message: bytes, algorithm: hashes.HashAlgorithm | utils.Prehashed) -> bool:
        try:
            match self.key:
                case ec.EllipticCurvePublicKey():
                    self.key.verify(signature, message, ec.ECDSA(algorithm))
                case rsa.RSAPublicKey():
                    self.key.verify(signature, message, padding.PKCS1v15(), algorithm)
                case ed25519.Ed25519PublicKey():
                    self.key.verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def hash_for(key: AnyPublicKey) -> hashes.HashAlgorithm:
    """The hash that goes with a key."""
    return _CURVES[key.curve.name] if isinstance(key, ec.EllipticCurvePublicKey) else hashes.SHA256()


@lru_cache(maxsize=1024)
def load_der_public_key(data: bytes) -> PublicKey:
    """Read a SubjectPublicKeyInfo of a log or certificate; raises MisuseError `trust-invalid` or `key-unsupported`."""
    try:
        return any_public_key(serialization.load_der_public_key(data))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MisuseError(codes.TRUST_INVALID, f"not a public key in DER: {first_line(error)}") from error


def any_public_key(key: object) -> PublicKey:
    """Wrap the key of a log, authority or certificate, which may be Ed25519 or a larger RSA key; raises MisuseError `key-unsupported`."""
    match key:
        case ed25519.Ed25519PublicKey() | rsa.RSAPublicKey(key_size=2048 | 3072 | 4096 | 8192):
            return PublicKey(key, _spki(key))
        case _:
            return checked_public_key(key)


@lru_cache(maxsize=256)
def load_public_key(data: bytes) -> PublicKey:
    """Read a PEM public key; raises MisuseError `trust-invalid` or `key-unsupported`."""
    if b"PRIVATE KEY" in data:
        raise MisuseError(codes.TRUST_INVALID, "this is a private key; trust needs the public one")
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise MisuseError(codes.TRUST_INVALID, f"not a PEM public key: {first_line(error)}") from error
    return checked_public_key(key)


def checked_public_key(key: object) -> PublicKey:
    """Wrap a key of an algorithm that we verify; raises MisuseError `key-unsupported`."""
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return PublicKey(key, _spki(key))
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS:
            return PublicKey(key, _spki(key))
        case _:
            size = getattr(key, "key_size", "")
            name = type(key).__name__.removesuffix("PublicKey") or "unknown"
            raise MisuseError(codes.KEY_UNSUPPORTED, f"{name} {size}".strip() + " is not supported: cosign could not verify it, or it is too weak")


def public_pem(key: PublicKey) -> bytes:
    """The SPKI PEM that cosign writes as `cosign.pub`."""
    return key.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def public_der(key: PublicKey) -> bytes:
    """The SubjectPublicKeyInfo."""
    return key.key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _spki(key: AnyPublicKey) -> bytes:
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).digest()
