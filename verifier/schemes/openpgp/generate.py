"""New OpenPGP keys, for demonstrations and tests; people make theirs with GnuPG, which keeps them in its agent."""

from __future__ import annotations

import pysequoia
from msgspec import Struct


class NewKey(Struct, frozen=True, kw_only=True):
    """Armored secret and public key; the fingerprint is the primary key's, in upper-case hex."""

    secret: bytes
    public: bytes
    fingerprint: str

    def __repr__(self) -> str:
        return f"NewKey({self.fingerprint})"


def generate_key(user_id: str) -> NewKey:
    """An RSA-3072 primary key that certifies, with a subkey that signs, in the version 4 format that every GnuPG reads."""
    key = pysequoia.Tsk.generate(user_id, profile=pysequoia.Profile.RFC4880, cipher_suite=pysequoia.CipherSuite.RSA3k)
    certificate = key.extract_certificate()
    return NewKey(secret=str(key).encode(), public=str(certificate).encode(), fingerprint=certificate.fingerprint.upper())
