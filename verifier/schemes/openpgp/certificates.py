"""OpenPGP certificates of a keyring, with what the verification library does not tell: key sizes, subkeys, expiry.

Keyrings may be binary or armored (one block or several after each other). GnuPG's `.kbx` is converted by `gpg.py` when
trust is loaded.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

import pysequoia
from msgspec import Struct
from pysequoia import packet

from verifier.model import codes, limits
from verifier.model.digest import sha256
from verifier.model.errors import MisuseError, first_line

_RSA_ALGORITHMS = (1, 2, 3)
_WEAK_RSA_BITS = 2048
_CURVE_ALGORITHMS = (18, 19, 22)  # ECDH, ECDSA, EdDSA: a curve's OID follows the algorithm
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"),  # NIST P-256
    bytes.fromhex("2b81040022"),  # NIST P-384
    bytes.fromhex("2b81040023"),  # NIST P-521
    bytes.fromhex("2b06010401da470f01"),  # Ed25519
    bytes.fromhex("2b060104019755010501"),  # Curve25519, for encryption only
}
_ARMOR_END = b"-----END PGP PUBLIC KEY BLOCK-----"
_SECRET = b"PRIVATE KEY BLOCK"
KEYBOX_MAGIC = b"KBXf"


class Key(Struct, frozen=True, kw_only=True):
    """A primary key or subkey: lower-case hex fingerprint, and when its newest binding lets it expire."""

    fingerprint: str
    rsa_bits: int | None
    expires: datetime | None
    revoked: bool
    unsupported_curve: bool = False
    body: bytes = b""

    @property
    def plain_id(self) -> str | None:
        """How this key would be named as a plain public key, if it could be one: `sha256:HEX` of its SubjectPublicKeyInfo.

        Written out in DER (RFC 3279, RFC 5480), so that a policy that trusts OpenPGP alone need not load a crypto library.
        """
        return _plain_id(self.body)

    @property
    def weak(self) -> bool:
        """RSA below 2048 bits."""
        return self.rsa_bits is not None and self.rsa_bits < _WEAK_RSA_BITS


class Certificate(Struct, frozen=True, kw_only=True):
    """One certificate; `fingerprint` is the primary key's, in upper-case hex as people write it."""

    fingerprint: str
    user_id: str
    keys: tuple[Key, ...]
    revoked: bool
    expires: datetime | None
    handle: pysequoia.Cert

    def key(self, issuer: str) -> Key | None:
        """The key with this fingerprint or 16-digit key id (lower-case hex)."""
        return next((key for key in self.keys if key.fingerprint == issuer or key.fingerprint.endswith(issuer)), None) if len(issuer) >= 16 else None


def is_keybox(data: bytes) -> bool:
    """Whether this is GnuPG's keybox (`.kbx`) format."""
    return data[8:12] == KEYBOX_MAGIC


@lru_cache(maxsize=256)
def read_keyring(data: bytes) -> tuple[Certificate, ...]:
    """All certificates in a keyring; raises MisuseError `trust-invalid` if there is none or one cannot be read."""
    if len(data) > limits.KEYRING_BYTES:
        raise MisuseError(codes.TRUST_INVALID, f"a keyring of more than {limits.KEYRING_BYTES} bytes")
    if _SECRET in data:
        raise MisuseError(codes.TRUST_INVALID, "this is a private key; a keyring holds public keys")
    certificates: list[Certificate] = []
    try:
        for block in _blocks(data):
            certificates += [_certificate(cert) for cert in pysequoia.Cert.split_bytes(block)]
    except MisuseError:
        raise
    except Exception as error:  # pysequoia raises RuntimeError and its own types; the first line is the message
        raise MisuseError(codes.TRUST_INVALID, f"not an OpenPGP keyring: {first_line(error)}") from error
    if not certificates:
        raise MisuseError(codes.TRUST_INVALID, "the keyring holds no OpenPGP certificate")
    return tuple(certificates)


def _blocks(data: bytes) -> list[bytes]:
    """Several armored blocks, as `cat a.asc b.asc` makes, are read one by one."""
    if _ARMOR_END not in data:
        return [data]
    return [part.lstrip() + _ARMOR_END + b"\n" for part in data.split(_ARMOR_END)[:-1]]


def _certificate(cert: pysequoia.Cert) -> Certificate:
    keys = _keys(bytes(cert))
    return Certificate(
        fingerprint=cert.fingerprint.upper(),
        user_id=_user_id(cert),
        keys=keys,
        revoked=cert.is_revoked,
        expires=_expiration(cert),
        handle=cert,
    )


def _user_id(cert: pysequoia.Cert) -> str:
    try:
        return str(cert.user_ids[0])[:200] if cert.user_ids else ""
    except Exception:  # noqa: BLE001  # pysequoia raises for keys that its policy refuses
        return ""


def _expiration(cert: pysequoia.Cert) -> datetime | None:
    try:
        return cert.expiration
    except Exception:  # noqa: BLE001  # pysequoia raises for keys that its policy refuses; their signatures then do not verify either
        return None


class _Binding(Struct):
    """The key whose packets are being read, and its newest binding signature so far."""

    head: packet.Packet
    bound: datetime | None = None
    expires: datetime | None = None
    revoked: bool = False

    def add(self, signature: packet.Packet) -> None:
        if signature.signature_type == packet.SignatureType.SubkeyRevocation:
            self.revoked = True
        elif signature.signature_type == packet.SignatureType.SubkeyBinding:
            created = signature.signature_created
            if created is None or (self.bound is not None and created < self.bound):
                return
            period, start = signature.key_validity_period, self.head.key_created
            self.bound, self.expires = created, start + period if period and start else None

    def key(self) -> Key:
        body = self.head.body
        return Key(
            fingerprint=str(self.head.fingerprint),
            rsa_bits=_rsa_bits(body),
            expires=self.expires,
            revoked=self.revoked,
            unsupported_curve=_has_unsupported_curve(body),
            body=bytes(body),
        )


def _keys(data: bytes) -> tuple[Key, ...]:
    bindings: list[_Binding] = []
    for item in packet.PacketPile.from_bytes(data):
        if item.tag in (packet.Tag.SecretKey, packet.Tag.SecretSubkey):
            raise MisuseError(codes.TRUST_INVALID, "this is a private key; a keyring holds public keys")
        if item.tag in (packet.Tag.PublicKey, packet.Tag.PublicSubkey):
            bindings.append(_Binding(item))
        elif item.tag == packet.Tag.Signature and bindings and _is_known(item):
            bindings[-1].add(item)
    return tuple(binding.key() for binding in bindings)


def _is_known(signature: packet.Packet) -> bool:
    """Whether the library knows this kind of signature; it raises for newer ones, and those bind no subkey."""
    try:
        return signature.signature_type is not None
    except Exception:  # noqa: BLE001  # a RuntimeError with a backtrace
        return False


def _has_unsupported_curve(body: bytes) -> bool:
    """Whether the key lies on a curve that the verification library does not know, such as brainpool's."""
    offset = 10 if body[:1] == b"\x06" else 6
    if len(body) <= offset or body[5] not in _CURVE_ALGORITHMS:
        return False
    return body[offset + 1 : offset + 1 + body[offset]] not in _CURVES


def _rsa_bits(body: bytes) -> int | None:
    """The modulus length in a version 4 or 6 public key packet (RFC 9580 sections 5.5.2.2 and 5.5.2.3)."""
    offset = 10 if body[:1] == b"\x06" else 6
    if len(body) < offset + 2 or body[5] not in _RSA_ALGORITHMS:
        return None
    return int.from_bytes(body[offset : offset + 2], "big")


_RSA_OID = bytes.fromhex("06092a864886f70d0101010500")  # rsaEncryption, NULL
_EC_OID = bytes.fromhex("06072a8648ce3d0201")  # id-ecPublicKey


def _plain_id(body: bytes) -> str | None:
    offset = 10 if body[:1] == b"\x06" else 6
    if len(body) <= offset:
        return None
    if body[5] in _RSA_ALGORITHMS:
        modulus, rest = _mpi(body[offset:])
        exponent, _ = _mpi(rest)
        key = _der(0x30, _der_integer(modulus) + _der_integer(exponent))
        return _spki_digest(_RSA_OID, key)
    if body[5] == 19:
        oid = body[offset + 1 : offset + 1 + body[offset]]
        point, _ = _mpi(body[offset + 1 + body[offset] :])
        return _spki_digest(_EC_OID + _der(0x06, oid), point)
    return None


def _spki_digest(algorithm: bytes, key: bytes) -> str:
    return str(sha256(_der(0x30, _der(0x30, algorithm) + _der(0x03, b"\0" + key))))


def _mpi(data: bytes) -> tuple[bytes, bytes]:
    size = 2 + (int.from_bytes(data[:2], "big") + 7) // 8
    return data[2:size], data[size:]


def _der_integer(value: bytes) -> bytes:
    return _der(0x02, b"\0" + value if value[:1] >= b"\x80" else value)


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    encoded = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(encoded))) + encoded + content
