"""Signing certificates: who is certified, and whether a trusted CA certified it at the time of signing.

Sources: RFC 5280; sigstore/fulcio docs/certificate-specification.md and docs/oid-info.md; RFC 6962, 3.2 for SCTs.

1. The certificate is for signing code: not a CA, key usage digitalSignature, extended key usage codeSigning, and no critical
   extension that we do not know.
2. It names exactly one identity in its SAN (an e-mail address, a URI, or Fulcio's other name) and the issuer of the token.
3. A chain leads from it to a CA of the root; the CA's window and each certificate hold at the time of signing, ends included.
4. Certificate transparency logs of the root have signed the precertificate: each log's key holds at the SCT's own time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.x509.certificate_transparency import LogEntryType, SignedCertificateTimestamp
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID
from msgspec import Struct

from verifier.model import codes
from verifier.model.claim import CERTIFICATE_CLAIMS, SanType
from verifier.model.errors import FailedError, first_line
from verifier.schemes.sigstore.path import alive, verified_chain
from verifier.schemes.sigstore.root import ReadyLog, ReadyRoot, certificate_key, load_certificate
from verifier.signers.public import PublicKey

_T = TypeVar("_T", bound=x509.ExtensionType)
_FULCIO = "1.3.6.1.4.1.57264.1."
_OTHER_NAME = f"{_FULCIO}7"
_UTF8_STRING = 0x0C
# Fulcio's extensions by the names under which policies and decisions speak of them (docs/oid-info.md); 2 to 6 are the old
# forms for GitHub alone. 1 and 8 are the issuer.
_OLD_ISSUER, _ISSUER = 1, 8
_NUMBERS = (*range(2, 7), *range(9, 25))
EXTENSIONS = dict(zip(_NUMBERS, CERTIFICATE_CLAIMS, strict=True))
_KNOWN_CRITICAL = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
}


class Leaf(Struct, frozen=True, kw_only=True):
    """A signing certificate that was read and is of the right kind; whether anybody trusts it is another question."""

    certificate: x509.Certificate
    key: PublicKey
    identity: str
    san_type: SanType
    issuer: str
    extensions: Mapping[str, str]


@lru_cache(maxsize=512)
def read_leaf(der: bytes) -> Leaf:
    """1 and 2; raises FailedError `certificate-invalid`."""
    try:
        certificate = load_certificate(der)
        extensions = certificate.extensions
        _check_usage(extensions)
        identity, san_type = _san(extensions)
        issuer, named = _fulcio(extensions)
        return Leaf(certificate=certificate, key=certificate_key(certificate), identity=identity, san_type=san_type, issuer=issuer, extensions=named)
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, OverflowError, Warning) as error:
        raise _invalid(f"the certificate cannot be read: {first_line(error)}") from error


def _check_usage(extensions: x509.Extensions) -> None:  # 1
    for extension in extensions:
        if extension.critical and extension.oid not in _KNOWN_CRITICAL:
            raise _invalid(f"the certificate has the critical extension {extension.oid.dotted_string}, which is not known")
    constraints = _extension(extensions, x509.BasicConstraints)
    usage, purposes = _extension(extensions, x509.KeyUsage), _extension(extensions, x509.ExtendedKeyUsage)
    if constraints is not None and constraints.ca:
        raise _invalid("the certificate is a CA's")
    if usage is None or not usage.digital_signature:
        raise _invalid("the certificate's key usage is not digitalSignature")
    if purposes is None or ExtendedKeyUsageOID.CODE_SIGNING not in purposes:
        raise _invalid("the certificate's extended key usage is not codeSigning")


def _san(extensions: x509.Extensions) -> tuple[str, SanType]:  # 2
    names = list(_extension(extensions, x509.SubjectAlternativeName) or ())
    if len(names) != 1:
        raise _invalid(f"the certificate names {len(names)} identities, expected one")
    match names[0]:
        case x509.RFC822Name(value=value):
            return value, SanType.EMAIL
        case x509.UniformResourceIdentifier(value=value):
            return value, SanType.URI
        case x509.OtherName(type_id=kind, value=value) if kind.dotted_string == _OTHER_NAME:
            return _utf8(value), SanType.OTHER
        case other:
            raise _invalid(f"the certificate's identity is a {type(other).__name__}, expected an e-mail address, URI or Fulcio's other name")


def _fulcio(extensions: x509.Extensions) -> tuple[str, dict[str, str]]:  # 2
    raw: dict[int, bytes] = {}
    for extension in extensions:
        text = extension.oid.dotted_string
        number = text.removeprefix(_FULCIO)
        if text.startswith(_FULCIO) and number.isdigit() and isinstance(extension.value, x509.UnrecognizedExtension):
            raw[int(number)] = extension.value.value
    old, new = raw.get(_OLD_ISSUER), raw.get(_ISSUER)
    issuers = {text for text in (old.decode() if old else "", _utf8(new) if new else "") if text}
    if len(issuers) != 1:
        raise _invalid("the certificate names no issuer" if not issuers else "the certificate names two different issuers")
    named = {name: raw[number].decode() if number <= 6 else _utf8(raw[number]) for number, name in EXTENSIONS.items() if number in raw}
    return issuers.pop(), named


def _utf8(der: bytes) -> str:
    """A DER UTF8String, whole: tag, the shortest form of the length (X.690, 10.1), and exactly so many bytes."""
    if len(der) < 2 or der[0] != _UTF8_STRING:
        raise ValueError("an extension that is no UTF8String")
    head, length = 2, der[1]
    if length > 127:
        head += length & 127
        length = int.from_bytes(der[2:head], "big")
        if length < 128 or der[2] == 0:
            raise ValueError("an extension whose length is not in DER")
    if len(der) != head + length:
        raise ValueError("an extension with something behind it")
    return der[head:].decode("utf-8")


def build_chain(leaf: Leaf, untrusted: Sequence[bytes], root: ReadyRoot, at: datetime) -> list[x509.Certificate]:
    """3: the certificates above the leaf; raises FailedError `certificate-untrusted` or `certificate-time`."""
    reason = "the root names no certificate authority"
    others = _certificates(untrusted)
    for authority in root.certificate_authorities:
        chain = verified_chain(leaf.certificate, others, authority, at)
        if not isinstance(chain, str):
            return chain
        reason = chain
    if not alive(leaf.certificate, at):
        life = f"{leaf.certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S}Z to {leaf.certificate.not_valid_after_utc:%H:%M:%S}Z"
        raise FailedError(codes.CERTIFICATE_TIME, f"signed at {at:%Y-%m-%d %H:%M:%S}Z, the certificate was valid from {life}")
    raise FailedError(codes.CERTIFICATE_UNTRUSTED, f"no CA of the root leads to the certificate of {leaf.identity[:200]}: {reason}")


def _certificates(chain: Sequence[bytes]) -> list[x509.Certificate]:
    """Those that can be read; they are not trusted, so a bad one is as good as none."""
    found = []
    for der in chain:
        try:
            found.append(load_certificate(der))
        except ValueError:
            continue
    return found


def transparent_logs(leaf: Leaf, chain: Sequence[x509.Certificate], root: ReadyRoot) -> frozenset[str]:
    """4: the distinct authorities of the root whose SCT in the certificate verifies."""
    scts = _extension(leaf.certificate.extensions, x509.PrecertificateSignedCertificateTimestamps)
    if scts is None:
        return frozenset()
    issuer = next((certificate for certificate in chain if not _is_preissuer(certificate)), chain[0])
    key_hash = certificate_key(issuer).spki_sha256
    return frozenset(log.authority for sct in scts for log in _logs(sct, root) if _sct_verifies(sct, leaf.certificate, key_hash, log))


def _logs(sct: SignedCertificateTimestamp, root: ReadyRoot) -> Iterator[ReadyLog]:
    at = sct.timestamp.replace(tzinfo=UTC)
    return (log for log in root.ct_logs if log.log_id == sct.log_id and log.validity.holds(at))


def _sct_verifies(sct: SignedCertificateTimestamp, certificate: x509.Certificate, issuer_key_hash: bytes, log: ReadyLog) -> bool:
    if sct.entry_type is not LogEntryType.PRE_CERTIFICATE or sct.signature_hash_algorithm.name != "sha256":
        return False
    tbs, extensions = certificate.tbs_precertificate_bytes, sct.extension_bytes
    milliseconds = round(sct.timestamp.replace(tzinfo=UTC).timestamp() * 1000)
    head = struct.pack("!BBQH", sct.version.value, 0, milliseconds, 1)
    signed = head + issuer_key_hash + len(tbs).to_bytes(3, "big") + tbs + struct.pack("!H", len(extensions)) + extensions
    return log.key.verifies(sct.signature, signed, "sha256")


def _is_preissuer(certificate: x509.Certificate) -> bool:
    """A certificate that only signs precertificates; its own issuer is the one that SCTs name (RFC 6962, 3.1)."""
    purposes = _extension(certificate.extensions, x509.ExtendedKeyUsage)
    return purposes is not None and ExtendedKeyUsageOID.CERTIFICATE_TRANSPARENCY in purposes


def _extension(extensions: x509.Extensions, kind: type[_T]) -> _T | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _invalid(reason: str) -> FailedError:
    return FailedError(codes.CERTIFICATE_INVALID, reason)
