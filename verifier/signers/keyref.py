"""A key by its KEYREF: where it lies decides who is asked. One row a kind of keeper, each loaded only when it is named."""

from __future__ import annotations

import re
from typing import Protocol

from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.signers import KINDS
from verifier.signers.key import LocalKey, SigningKey, is_encrypted, parse_signing_key, read_keyref
from verifier.signers.public import PublicKey, load_public_key
from verifier.signers.remote import Access

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://|(pkcs11):")


class Keeper(Protocol):
    """Who keeps keys of one kind: a module of this room."""

    def open_key(self, keyref: str, access: Access) -> SigningKey:
        """The key, ready to sign."""

    def public_key(self, keyref: str, access: Access) -> PublicKey:
        """Its public half alone."""


def is_remote(keyref: str) -> bool:
    """Whether somebody must be asked for the key; raises MisuseError `key-invalid` for a kind that is not known."""
    return _keeper(keyref) is not None


def open_key(keyref: str, access: Access) -> SigningKey:
    """A key that signs.

    Raises MisuseError `key-invalid`, `key-unsupported`, `passphrase-wrong`, `extra-missing` or `file-unreadable`, and
    InconclusiveError `key-unavailable`.
    """
    if (keeper := _keeper(keyref)) is not None:
        return keeper.open_key(keyref, access)
    return _unlock(read_keyref(keyref), keyref, access)


def public_key(keyref: str, access: Access) -> PublicKey:
    """The public half of any key, of a private one too; raises as `open_key` does, and MisuseError `trust-invalid`."""
    if (keeper := _keeper(keyref)) is not None:
        return keeper.public_key(keyref, access)
    data = read_keyref(keyref)
    return _unlock(data, keyref, access).public if b"PRIVATE KEY-----" in data else load_public_key(data)


def _unlock(data: bytes, keyref: str, access: Access) -> LocalKey:
    return parse_signing_key(data, access.passphrase() if is_encrypted(data) else None, where=keyref)


def _keeper(keyref: str) -> Keeper | None:
    found = _SCHEME.match(keyref)
    match found and (found[1] or found[2]):
        case None | "env":
            return None
        case "awskms":
            from verifier.signers import aws

            return aws
        case "gcpkms":
            from verifier.signers import gcp

            return gcp
        case "azurekms":
            from verifier.signers import azure

            return azure
        case "hashivault" | "openbao":
            from verifier.signers import vault

            return vault
        case "pkcs11":
            from verifier.signers import pkcs11

            return pkcs11
        case "k8s":
            from verifier.signers import kubernetes

            return kubernetes
        case other:
            raise MisuseError(codes.KEY_INVALID, f"{other}:// is not a kind of key that is known; write {KINDS}", where=keyref)
