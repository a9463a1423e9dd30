"""Private keys in memory, from a file (PEM, or cosign's encrypted PEM) or `env://NAME`; keys that lie elsewhere: keyref.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.signers.cosign_key import decrypt_key, encrypt_key, is_cosign_key
from verifier.signers.public import PublicKey, checked_public_key, hash_for

AnyPrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class SigningKey(Protocol):
    """A key that can sign; where it lives is its own business."""

    @property
    def public(self) -> PublicKey:
        """The public half."""

    def sign(self, message: bytes) -> bytes:
        """A signature over `message` with the hash that goes with the key."""


class LocalKey(Struct, frozen=True):
    """A private key in memory; never printed."""

    private: AnyPrivateKey
    public: PublicKey

    def __repr__(self) -> str:
        return f"LocalKey({self.public.key_id})"

    def sign(self, message: bytes) -> bytes:
        """A signature over `message`: ASN.1 DER for ECDSA, PKCS#1 v1.5 for RSA."""
        algorithm = hash_for(self.public.key)
        match self.private:
            case ec.EllipticCurvePrivateKey():
                return self.private.sign(message, ec.ECDSA(algorithm))
            case rsa.RSAPrivateKey():
                return self.private.sign(message, padding.PKCS1v15(), algorithm)


def read_keyref(keyref: str) -> bytes:
    """The bytes of a file or variable, private or public; raises MisuseError `key-invalid` or `file-unreadable`."""
    if keyref.startswith("env://"):
        name = keyref.removeprefix("env://")
        if not (value := os.environ.get(name)):
            raise MisuseError(codes.KEY_INVALID, f"the environment variable {name} is empty", where=keyref)
        return value.encode()
    try:
        return Path(keyref).read_bytes()
    except OSError as error:
        raise MisuseError(codes.FILE_UNREADABLE, error.strerror or str(error), where=keyref) from error


def load_signing_key(keyref: str, password: bytes | None) -> LocalKey:
    """Load a private key; raises MisuseError `key-invalid`, `key-unsupported` or `passphrase-wrong`."""
    return parse_signing_key(read_keyref(keyref), password, where=keyref)


def parse_signing_key(data: bytes, password: bytes | None, *, where: str) -> LocalKey:
    """The same for bytes that were read already."""
    return wrap_private_key(_load_private(data, password, where))


def is_encrypted(data: bytes) -> bool:
    """Whether the key in a file needs a passphrase."""
    return b"ENCRYPTED" in data


def wrap_private_key(private: object) -> LocalKey:
    """Accept a private key of an algorithm that we sign with; raises MisuseError `key-unsupported`."""
    if isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return LocalKey(private, checked_public_key(private.public_key()))
    name = type(private).__name__.removesuffix("PrivateKey")
    raise MisuseError(codes.KEY_UNSUPPORTED, f"{name} keys are not supported: cosign could not verify what they sign here")


def generate_key() -> LocalKey:
    """A new ECDSA P-256 key, cosign's default."""
    return wrap_private_key(ec.generate_private_key(ec.SECP256R1()))


def private_pem(key: LocalKey, password: bytes) -> bytes:
    """The private key in cosign's encrypted form."""
    der = key.private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return encrypt_key(der, password)


def _load_private(data: bytes, password: bytes | None, where: str) -> object:
    if b"PUBLIC KEY" in data and b"PRIVATE KEY" not in data:
        raise MisuseError(codes.KEY_INVALID, "this is a public key; signing needs the private one", where=where)
    try:
        if is_cosign_key(data):
            return serialization.load_der_private_key(decrypt_key(data, password or b"", where=where), None)
        return serialization.load_pem_private_key(data, password or None if b"ENCRYPTED" in data else None)
    except TypeError as error:  # an encrypted key without a password
        raise MisuseError(codes.PASSPHRASE_WRONG, "this key is encrypted", where=where) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        encrypted = b"ENCRYPTED" in data and "assword" in str(error)
        code = codes.PASSPHRASE_WRONG if encrypted else codes.KEY_INVALID
        raise MisuseError(code, "the password does not open this key" if encrypted else "not a PEM private key", where=where) from error
