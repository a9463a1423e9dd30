"""Signing provenance text.

A key is named by fingerprint or user id in the caller's own GnuPG home (agent, smartcards, subkeys), or comes as an armored
secret key from a file or the environment (CI). Without a gpg program the latter signs in process through pysequoia, whose
elliptic-curve code is not constant-time: fine on a machine of one's own, not on a shared host (docs/signing.md).
What is returned was read back through our own gate: nothing half-signed leaves this module.
"""

from __future__ import annotations

import os
from pathlib import Path

import pysequoia
from msgspec import Struct

from verifier.charts.clearsign import read_clearsigned, with_checksum
from verifier.model import codes
from verifier.model.errors import FailedError, MisuseError, first_line
from verifier.schemes.openpgp import gpg

_SECRET_BLOCK = b"PGP PRIVATE KEY BLOCK"


class AgentKey(Struct, frozen=True):
    """A key in the caller's GnuPG home."""

    name: str


class SecretKey(Struct, frozen=True):
    """An armored or binary secret key; never printed."""

    data: bytes
    where: str

    def __repr__(self) -> str:
        return f"SecretKey({self.where})"


OpenPGPKey = AgentKey | SecretKey


def load_openpgp_key(keyref: str) -> OpenPGPKey:
    """`env://NAME` or an existing file: a secret key; anything else names a key of the GnuPG home."""
    if keyref.startswith("env://"):
        name = keyref.removeprefix("env://")
        value = os.environ.get(name, "")
        if not value:
            raise MisuseError(codes.KEY_INVALID, f"the environment variable {name} is empty", where=keyref)
        return _secret(value.encode(), keyref)
    if os.path.isfile(keyref):
        try:
            return _secret(Path(keyref).read_bytes(), keyref)
        except OSError as error:
            raise MisuseError(codes.FILE_UNREADABLE, str(error), where=keyref) from error
    return AgentKey(keyref)


def public_half(key: OpenPGPKey) -> bytes:
    """The certificate that verifies what this key signs; raises MisuseError `key-invalid` or `trust-invalid`."""
    match key:
        case AgentKey():
            return gpg.export_public(None, (key.name,))
        case SecretKey():
            try:
                return str(pysequoia.Tsk.from_bytes(key.data).extract_certificate()).encode()
            except Exception as error:  # pysequoia's errors share no base class
                raise MisuseError(codes.KEY_INVALID, first_line(error), where=key.where) from error


def sign_text(text: str, key: OpenPGPKey, *, passphrase: str | None) -> bytes:
    """The clear-signed message, with an armor checksum; raises MisuseError `signing-failed` or `passphrase-wrong`."""
    data = text.encode("utf-8")
    match key:
        case AgentKey():
            signed = gpg.clearsign(data, key=key.name, passphrase=passphrase)
        case SecretKey() if gpg.available():
            signed = gpg.clearsign_with(data, key.data, passphrase=passphrase)
        case SecretKey():
            signed = _sign_in_process(data, key, passphrase)
    return _checked(signed, text)


def _secret(data: bytes, where: str) -> SecretKey:
    if data.lstrip().startswith(b"-----") and _SECRET_BLOCK not in data:
        raise MisuseError(codes.KEY_INVALID, "this is not an OpenPGP secret key", where=where)
    return SecretKey(data, where)


def _sign_in_process(data: bytes, key: SecretKey, passphrase: str | None) -> bytes:
    try:
        signer = pysequoia.Tsk.from_bytes(key.data).signer(passphrase)
    except Exception as error:  # pysequoia's errors share no base class
        code = codes.PASSPHRASE_WRONG if "assword" in str(error) else codes.KEY_INVALID
        raise MisuseError(code, first_line(error), where=key.where) from error
    try:
        return pysequoia.sign(signer, data, mode=pysequoia.SignatureMode.CLEAR)
    except Exception as error:
        raise MisuseError(codes.SIGNING_FAILED, first_line(error), where=key.where) from error


def _checked(signed: bytes, text: str) -> bytes:
    try:
        message = with_checksum(signed, where="the signature just made")
        if read_clearsigned(message, where="the signature just made").text.rstrip("\n") != text.rstrip("\n"):
            raise MisuseError(codes.SIGNING_FAILED, "the signed text differs from the text to sign")
    except FailedError as error:
        raise MisuseError(codes.SIGNING_FAILED, f"the signing program wrote a malformed message: {error.reason}") from error
    return message
