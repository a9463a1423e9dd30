"""`pkcs11:token=T;object=O?module-path=/LIB.so`: keys on smartcards, YubiKeys and HSMs (RFC 7512), as cosign writes them.

1. The module is loaded: code that the caller names, by an absolute path (or in COSIGN_PKCS11_MODULE_PATH).
2. Exactly one token fits `token`, `serial`, `model`, `manufacturer` and `slot-id`.
3. Exactly one private key on it fits `object` (its label) and `id`; the public half lies beside it, or in its certificate.
4. The digest is signed on the token. A PIN comes from `pin-source=file:/PATH`, COSIGN_PKCS11_PIN, or as a passphrase does. It is
   tried once: tokens lock themselves. `pin-value` is refused, for the command line is no place for it.

Source: https://www.rfc-editor.org/rfc/rfc7512; PKCS#11 v2.40 sections 2.1.6 (RSA) and 2.3.6 (ECDSA).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import InconclusiveError, MisuseError, first_line
from verifier.signers.public import PublicKey
from verifier.signers.remote import Access, RemoteKey, asking, checked, der_signature, extra, is_rsa, read_public, unavailable

_TOKEN = {"token": "label", "serial": "serial", "model": "model", "manufacturer": "manufacturer_id"}
_PATH = (*_TOKEN, "slot-id", "object", "id", "type")
_QUERY = ("module-path", "pin-source", "pin-value")
_MODULE, _PIN = "COSIGN_PKCS11_MODULE_PATH", "COSIGN_PKCS11_PIN"
# DigestInfo around SHA-256 (RFC 8017 section 9.2, note 1): RSA keys sign with nothing else here.
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


class _Uri(Struct, frozen=True):
    """A parsed URI: attributes of path and query, decoded."""

    written: str
    path: Mapping[str, bytes]
    query: Mapping[str, bytes]


def open_key(keyref: str, access: Access) -> RemoteKey:
    """The key; its token is logged in to with the PIN, once for the public half and once for each signature."""
    uri = _parse(keyref)
    pin = _pin(uri, access)
    with _session(uri, access, pin) as session:
        public = _public(session, uri, _private(session, uri))

    def sign_digest(digest: bytes) -> bytes:
        with _session(uri, access, pin) as session:
            return _sign(_private(session, uri), digest, public, pin)

    return RemoteKey(public, _place(uri), sign_digest)


def public_key(keyref: str, access: Access) -> PublicKey:
    """The public half; without a PIN where the token shows it to anybody."""
    uri = _parse(keyref)
    try:
        with _session(uri, access, None) as session:
            return _public(session, uri, None)
    except InconclusiveError:
        with _session(uri, access, _pin(uri, access)) as session:
            return _public(session, uri, _private(session, uri))


def _parse(keyref: str) -> _Uri:
    path, _, query = keyref.removeprefix("pkcs11:").partition("?")
    uri = _Uri(keyref, _attributes(path, ";", _PATH), _attributes(query.replace(";", "&"), "&", _QUERY))
    if "pin-value" in uri.query:
        reason = "pin-value stands where others can read it; use pin-source=file:/PATH, COSIGN_PKCS11_PIN, VERIFIER_PASSWORD or --passphrase-file"
        raise MisuseError(codes.KEY_INVALID, reason, where="pkcs11:")
    if not uri.path.keys() & {"object", "id"} or uri.path.get("type", b"private") != b"private":
        raise MisuseError(codes.KEY_INVALID, "say which private key is meant: object=LABEL or id=%01", where=keyref)
    return uri


def _attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    attributes: dict[str, bytes] = {}
    for part in filter(None, text.split(separator)):
        name, _, value = part.partition("=")
        if name not in known or name in attributes:
            raise MisuseError(
                codes.KEY_INVALID, f"{name[:40]!r} is not an attribute that counts here, or it stands twice; known are {', '.join(known)}", where="pkcs11:"
            )
        attributes[name] = unquote_to_bytes(value)
    return attributes


def _place(uri: _Uri) -> str:
    """The URI without its query."""
    return uri.written.partition("?")[0]


def _pin(uri: _Uri, access: Access) -> str | None:
    """RFC 7512 section 2.4: a pin-source is a file here, given as `file:` URI or as a path."""
    if (source := uri.query.get("pin-source")) is not None:
        path = urlsplit(source.decode(errors="replace")).path
        try:
            return Path(path).read_text().splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError) as error:
            raise MisuseError(codes.FILE_UNREADABLE, f"no PIN in it: {first_line(error)}", where=path) from error
    if (given := access.environment.get(_PIN)) is not None:
        return given
    asked = access.passphrase()
    return asked.decode(errors="replace") if asked is not None else None


@contextmanager
def _session(uri: _Uri, access: Access, pin: str | None) -> Iterator[Any]:
    """A session on the one token that is meant; the library's errors become ours."""
    place = _place(uri)
    with extra("pkcs11", place):
        import pkcs11
    from pkcs11 import exceptions

    wrong = (
        exceptions.PinIncorrect,
        exceptions.PinInvalid,
        exceptions.PinLenRange,
        exceptions.PinLocked,
        exceptions.PinExpired,
        exceptions.UserPinNotInitialized,
    )
    with asking(place, RuntimeError):  # PKCS11Error is one; so is what a broken module raises
        try:
            token = _find_token(pkcs11.lib(_module(uri, access)), uri)
            protected = pin is None and pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH in token.flags
            with token.open(user_pin=pkcs11.PROTECTED_AUTH if protected else pin) as session:
                yield session
        except wrong as error:
            raise MisuseError(codes.PASSPHRASE_WRONG, f"the token refuses the PIN ({type(error).__name__}); it was tried once", where=place) from error


def _module(uri: _Uri, access: Access) -> str:
    path = os.fsdecode(uri.query.get("module-path", b"")) or access.environment.get(_MODULE, "")
    if not Path(path).is_absolute():
        raise MisuseError(codes.KEY_INVALID, f"module-path (or {_MODULE}) must be the absolute path of the token's PKCS#11 library", where=_place(uri))
    if not Path(path).is_file():
        raise MisuseError(codes.FILE_UNREADABLE, "the PKCS#11 library is not there", where=path)
    return path


def _find_token(library: Any, uri: _Uri) -> Any:
    found = [slot.get_token() for slot in library.get_slots(token_present=True) if _fits(slot, uri)]
    if len(found) != 1:
        raise unavailable(f"{len(found)} tokens fit; say token=, serial= or slot-id= so that one does", _place(uri))
    return found[0]


def _fits(slot: Any, uri: _Uri) -> bool:
    token = slot.get_token()
    if uri.path.get("slot-id", str(slot.slot_id).encode()) != str(slot.slot_id).encode():
        return False
    return all(_text(getattr(token, field)) == uri.path[name] for name, field in _TOKEN.items() if name in uri.path)


def _text(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _private(session: Any, uri: _Uri) -> Any:
    from pkcs11 import ObjectClass

    return _only(_objects(session, ObjectClass.PRIVATE_KEY, uri.path), "private keys", uri)


def _public(session: Any, uri: _Uri, private: Any | None) -> PublicKey:
    """The public key's object, or that of its certificate; beside a private key it is the one with the same id."""
    from pkcs11 import Attribute, ObjectClass

    wanted = uri.path if private is None else {"id": private[Attribute.ID]} if private[Attribute.ID] else uri.path
    if keys := _objects(session, ObjectClass.PUBLIC_KEY, wanted):
        return _read(_only(keys, "public keys", uri), _place(uri))
    certificate = _only(_objects(session, ObjectClass.CERTIFICATE, wanted), "public keys or certificates", uri)
    try:
        return checked(x509.load_der_x509_certificate(certificate[Attribute.VALUE]).public_key(), _place(uri))
    except ValueError as error:
        raise unavailable(f"the token's certificate is malformed: {first_line(error)}", _place(uri)) from error


def _read(key: Any, where: str) -> PublicKey:
    from pkcs11 import Attribute, KeyType
    from pkcs11.util.ec import encode_ec_public_key

    match key.key_type:
        case KeyType.EC:
            return read_public(encode_ec_public_key(key), where)
        case KeyType.RSA:
            numbers = rsa.RSAPublicNumbers(int.from_bytes(key[Attribute.PUBLIC_EXPONENT]), int.from_bytes(key[Attribute.MODULUS]))
            return checked(numbers.public_key(), where)
        case kind:
            raise MisuseError(codes.KEY_UNSUPPORTED, f"a key of type {getattr(kind, 'name', kind)}; make one of P-256", where=where)


def _objects(session: Any, kind: Any, wanted: Mapping[str, bytes]) -> list[Any]:
    from pkcs11 import Attribute

    template = {Attribute.CLASS: kind}
    if "object" in wanted:
        template[Attribute.LABEL] = wanted["object"].decode(errors="replace")
    if "id" in wanted:
        template[Attribute.ID] = wanted["id"]
    return list(session.get_objects(template))


def _only(found: list[Any], what: str, uri: _Uri) -> Any:
    if len(found) != 1:
        raise unavailable(f"{len(found)} {what} fit; a token shows its private keys only with the PIN", _place(uri))
    return found[0]


def _sign(key: Any, digest: bytes, public: PublicKey, pin: str | None) -> bytes:
    from pkcs11 import Attribute, Mechanism

    # Keys that want the PIN for each signature (a YubiKey's slot 9c) get it again.
    again = {"pin": pin} if pin is not None and _flag(key, Attribute.ALWAYS_AUTHENTICATE) else {}
    if is_rsa(public):
        signature: bytes = key.sign(_SHA256_INFO + digest, mechanism=Mechanism.RSA_PKCS, **again)
        return signature
    return der_signature(key.sign(digest, mechanism=Mechanism.ECDSA, **again))


def _flag(key: Any, attribute: Any) -> bool:
    from pkcs11.exceptions import AttributeTypeInvalid

    try:
        return bool(key[attribute])
    except AttributeTypeInvalid:
        return False
