"""RFC 3161 timestamps: that a trusted authority saw a signature at a time.

Sources: RFC 3161, 2.3 and 2.4.2; RFC 5652, 5.4 and 5.6; RFC 5035 (ESS). asn1crypto reads, `cryptography` verifies.

1. The response is granted and holds a token: signed data around a TSTInfo, with exactly one signer.
2. The signed attributes say: the content is a TSTInfo, its digest is this one, and the signer's certificate is this one (ESS).
3. The signer's certificate is for timestamping only (critical extended key usage), and the authority's own where the root names it.
4. Its key verifies the signature over the signed attributes.
5. The message imprint is the hash of the signature that was to be stamped.
6. A chain leads to the authority's anchor, and authority and certificates hold at the token's time, ends included.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from asn1crypto import tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import FailedError, first_line
from verifier.schemes.sigstore.path import alive, is_ca, verified_chain
from verifier.schemes.sigstore.root import ReadyAuthority, certificate_key, load_certificate
from verifier.signers.public import PublicKey

_GRANTED = ("granted", "granted_with_mods")
_HASHES = ("sha256", "sha384", "sha512")


class Stamp(Struct, frozen=True):
    """A verified timestamp."""

    at: datetime
    authority: str


class _Token(Struct, frozen=True, kw_only=True):
    """What was read of a response, nothing of it verified."""

    content: bytes
    imprint: tuple[str, bytes]
    at: datetime
    digest: str
    hash: str
    content_type: str
    content_digest: bytes
    attributes: bytes
    signature: bytes
    signer: x509.Certificate
    certificates: tuple[x509.Certificate, ...]


def verify_timestamp(response: bytes, signature: bytes, authorities: Sequence[ReadyAuthority]) -> Stamp:
    """The time at which one of `authorities` saw `signature`; raises FailedError `timestamp-invalid`."""
    token = _read(response, authorities)
    _check_attributes(token)  # 2
    _check_purpose(token.signer)  # 3
    if not _key(token.signer).verifies(token.signature, token.attributes, token.hash):  # 4
        raise _invalid("the timestamp's signature does not verify")
    if hashlib.new(token.imprint[0], signature).digest() != token.imprint[1]:  # 5
        raise _invalid("the timestamp is over other bytes than the signature")
    for authority in authorities:  # 6
        if _leads_to(token, authority):
            return Stamp(token.at, authority.authority)
    raise _invalid(f"no timestamp authority of the root made it at {token.at:%Y-%m-%d %H:%M:%S}Z")


def _read(response: bytes, authorities: Sequence[ReadyAuthority]) -> _Token:  # 1
    try:
        value = tsp.TimeStampResp.load(response, strict=True)
        if value["status"]["status"].native not in _GRANTED:
            raise _invalid("the timestamp was not granted")
        if value["time_stamp_token"]["content_type"].native != "signed_data":
            raise _invalid("the timestamp holds no signed data")
        return _token(value["time_stamp_token"]["content"], authorities)
    except FailedError:
        raise
    except Exception as error:  # asn1crypto parses while it is read, and raises whatever it stumbles over
        raise _invalid(f"the timestamp cannot be read: {first_line(error)}") from error


def _token(data: Any, authorities: Sequence[ReadyAuthority]) -> _Token:
    signers = data["signer_infos"]
    if len(signers) != 1:
        raise _invalid(f"the timestamp has {len(signers)} signers, expected one")
    if data["encap_content_info"]["content_type"].native != "tst_info":
        raise _invalid("the timestamp's content is not a TSTInfo")
    info = data["encap_content_info"]["content"].parsed
    attributes = _attributes(signers[0])
    certificates = tuple(load_certificate(item.chosen.dump()) for item in data["certificates"] or ())
    known = [item for authority in authorities for item in (*authority.intermediates, authority.anchor)]
    imprint = info["message_imprint"]
    return _Token(
        content=bytes(data["encap_content_info"]["content"]),
        imprint=(_hash(imprint["hash_algorithm"]["algorithm"].native), imprint["hashed_message"].native),
        at=info["gen_time"].native.astimezone(UTC),
        digest=_hash(signers[0]["digest_algorithm"]["algorithm"].native),
        hash=_signature_hash(signers[0]),
        content_type=attributes["content_type"].native,
        content_digest=attributes["message_digest"].native,
        attributes=signers[0]["signed_attrs"].untag().dump(),
        signature=signers[0]["signature"].native,
        signer=_signer(signers[0]["sid"], attributes, [*certificates, *known]),
        certificates=certificates,
    )


def _attributes(signer: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in signer["signed_attrs"]:
        name = attribute["type"].native
        if name in found or len(attribute["values"]) != 1:
            raise _invalid(f"the timestamp's attribute {name} is there twice")
        found[name] = attribute["values"][0]
    for name in ("content_type", "message_digest"):
        if name not in found:
            raise _invalid(f"the timestamp lacks the signed attribute {name}")
    return found


def _signer(sid: Any, attributes: dict[str, Any], certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    """The certificate that signer id and ESS attribute name; the latter is signed, and names it by its hash."""
    hashes = _ess_hashes(attributes)
    for certificate in certificates:
        der = certificate.public_bytes(Encoding.DER)
        if any(hashlib.new(name, der).digest() == value for name, value in hashes) and _is_named(sid, certificate):
            return certificate
    raise _invalid("the timestamp's signer is named by no certificate in it or in the root")


def _ess_hashes(attributes: dict[str, Any]) -> list[tuple[str, bytes]]:
    if "signing_certificate_v2" in attributes:
        first = attributes["signing_certificate_v2"]["certs"][0]
        return [(_hash(first["hash_algorithm"]["algorithm"].native), first["cert_hash"].native)]
    if "signing_certificate" in attributes:
        return [("sha1", attributes["signing_certificate"]["certs"][0]["cert_hash"].native)]  # RFC 3161 knew no other; sid names it too
    raise _invalid("the timestamp does not sign its certificate's hash (ESS)")


def _is_named(sid: Any, certificate: x509.Certificate) -> bool:
    if sid.name != "issuer_and_serial_number":
        try:
            key_id = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        except x509.ExtensionNotFound:
            return False
        return bool(key_id == sid.chosen.native)
    named = sid.chosen
    if named["serial_number"].native != certificate.serial_number:
        return False
    # Not `certificate.issuer`: `cryptography` warns on the standard error of names that are odd but signed.
    issuer = asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))["tbs_certificate"]["issuer"]
    return bool(named["issuer"].dump() == issuer.dump())


def _check_attributes(token: _Token) -> None:  # 2
    if token.content_type != "tst_info":
        raise _invalid("the timestamp's signed content type is not TSTInfo")
    if hashlib.new(token.digest, token.content).digest() != token.content_digest:
        raise _invalid("the timestamp's content was changed")


def _check_purpose(certificate: x509.Certificate) -> None:  # 3
    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError) as error:
        raise _invalid("the timestamp signer's certificate is not for timestamping") from error
    if list(extension.value) != [ExtendedKeyUsageOID.TIME_STAMPING] or not extension.critical:
        raise _invalid("the timestamp signer's certificate is not for timestamping alone")


def _key(certificate: x509.Certificate) -> PublicKey:
    try:
        return certificate_key(certificate)
    except ValueError as error:
        raise _invalid(f"the timestamp signer's key cannot be used: {first_line(error)}") from error


def _leads_to(token: _Token, authority: ReadyAuthority) -> bool:  # 6
    signer = token.signer
    own = [item for item in authority.intermediates if not is_ca(item)]
    if (own and signer not in own) or not authority.validity.holds(token.at):
        return False
    others = [item for item in token.certificates if item != signer]
    path = verified_chain(signer, others, authority, token.at)
    # A root may name the signer's certificate itself.
    return not isinstance(path, str) or (signer == authority.anchor and alive(signer, token.at))


def _signature_hash(signer: Any) -> str:
    """The hash that the signature's algorithm names; where it names none (RSA, Ed25519), that of the content."""
    try:
        name = signer["signature_algorithm"].hash_algo
    except ValueError:
        name = signer["digest_algorithm"]["algorithm"].native
    return _hash(name)


def _hash(name: str) -> str:
    if name not in _HASHES:
        raise _invalid(f"the timestamp uses {name}, which is too weak")
    return name


def _invalid(reason: str) -> FailedError:
    return FailedError(codes.TIMESTAMP_INVALID, reason)
