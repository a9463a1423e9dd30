"""Cosign's encrypted key files: scrypt and NaCl's secretbox around PKCS#8.

Source: sigstore/cosign pkg/cosign/keys.go; secure-systems-lab/go-securesystemslib encrypted. The scrypt parameters come from
the file, so only those that the Go code accepts are: anything else could exhaust memory.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import Any

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from verifier.formats.json import parse_object
from verifier.formats.protojson import encode_base64
from verifier.model import codes
from verifier.model.errors import FailedError, MisuseError

_LABELS = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_COSTS = (32768, 65536, 131072)
_DEFAULT_COST = 65536
_KEY_BYTES, _SALT_BYTES, _NONCE_BYTES = 32, 32, 24


def is_cosign_key(pem: bytes) -> bool:
    """Whether a PEM file is one of cosign's encrypted keys."""
    return any(f"-----BEGIN {label}-----".encode() in pem for label in _LABELS)


def decrypt_key(pem: bytes, password: bytes, *, where: str) -> bytes:
    """The PKCS#8 DER inside; raises MisuseError `key-invalid` or `passphrase-wrong`. An empty password is legal."""
    envelope = _body(pem, where)
    try:
        kdf, cipher = envelope["kdf"], envelope["cipher"]
        cost = (kdf["params"]["N"], kdf["params"]["r"], kdf["params"]["p"])
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox") or cost[0] not in _COSTS or cost[1:] != (8, 1):
            raise MisuseError(codes.KEY_INVALID, f"key derivation {kdf['name']!r} {cost} is not one that cosign uses", where=where)
        salt, nonce, sealed = (base64.b64decode(text, validate=True) for text in (kdf["salt"], cipher["nonce"], envelope["ciphertext"]))
    except (KeyError, TypeError, binascii.Error) as error:
        raise MisuseError(codes.KEY_INVALID, f"malformed encrypted key: {error}", where=where) from error
    try:
        return SecretBox(_derive(password, salt, cost[0])).decrypt(sealed, nonce)
    except (CryptoError, ValueError) as error:
        raise MisuseError(codes.PASSPHRASE_WRONG, "the password does not open this key", where=where) from error


def encrypt_key(der: bytes, password: bytes) -> bytes:
    """PKCS#8 DER as a file that cosign opens."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    sealed = SecretBox(_derive(password, salt, _DEFAULT_COST)).encrypt(der, nonce).ciphertext
    envelope = {
        "kdf": {"name": "scrypt", "params": {"N": _DEFAULT_COST, "r": 8, "p": 1}, "salt": encode_base64(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": encode_base64(nonce)},
        "ciphertext": encode_base64(sealed),
    }
    body = base64.encodebytes(json.dumps(envelope, separators=(",", ":")).encode()).replace(b"\n", b"").decode()
    lines = "\n".join(body[index : index + 64] for index in range(0, len(body), 64))
    return f"-----BEGIN {_LABELS[0]}-----\n{lines}\n-----END {_LABELS[0]}-----\n".encode()


def _derive(password: bytes, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=_KEY_BYTES, n=cost, r=8, p=1).derive(password)


def _body(pem: bytes, where: str) -> dict[str, Any]:
    lines = [line.strip() for line in pem.decode("ascii", "replace").splitlines() if line.strip()]
    try:
        start = next(index for index, line in enumerate(lines) if line.startswith("-----BEGIN ENCRYPTED"))
        end = next(index for index, line in enumerate(lines) if line.startswith("-----END ENCRYPTED"))
        return parse_object(base64.b64decode("".join(lines[start + 1 : end]), validate=True), where=where)
    except (StopIteration, binascii.Error, FailedError) as error:
        raise MisuseError(codes.KEY_INVALID, "malformed PEM around an encrypted key", where=where) from error
