"""X.509 paths from a certificate to an authority of a trusted root, built by `cryptography` (RFC 5280, 6.1).

1. The authority's window holds at the time, and so does the certificate's own life; ends included.
2. A path leads to the authority's anchor. Purposes are checked by whoever asks: Fulcio's certificates and timestamp signers are no
   web servers.
3. The part of the path that lies within the root is verified once, and its lives are compared each time: the P-384 signatures of a
   root cost more than all the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.x509 import verification

from verifier.model.errors import first_line
from verifier.schemes.sigstore.root import ReadyAuthority

_CA_POLICY = verification.ExtensionPolicy.webpki_defaults_ca().may_be_present(x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, None)
_ANY = verification.ExtensionPolicy.permit_all()

Chain = list[x509.Certificate]


def verified_chain(leaf: x509.Certificate, untrusted: Sequence[x509.Certificate], authority: ReadyAuthority, at: datetime) -> Chain | str:
    """The path above `leaf` to the authority's anchor at a time, or why there is none."""
    if not authority.validity.holds(at):  # 1
        return f"the authority was not in use at {at:%Y-%m-%d %H:%M:%S}Z"
    if not alive(leaf, at):
        return f"the certificate was not valid at {at:%Y-%m-%d %H:%M:%S}Z"
    for issuer, above in _issuers(authority):  # 3
        if all(alive(item, at) for item in (issuer, *above)):
            path = _build(leaf, [], issuer, at)
            if not isinstance(path, str):
                return [issuer, *above]
    found = _build(leaf, [*authority.intermediates, *untrusted], authority.anchor, at)  # 2
    return found if isinstance(found, str) else found[1:]


@lru_cache(maxsize=128)
def _issuers(authority: ReadyAuthority) -> tuple[tuple[x509.Certificate, tuple[x509.Certificate, ...]], ...]:
    """The intermediates of the root that lead to its anchor, each with what is above it, and the anchor itself."""
    found = []
    for intermediate in authority.intermediates:
        others = [item for item in authority.intermediates if item != intermediate]
        path = _build(intermediate, others, authority.anchor, max(intermediate.not_valid_before_utc, authority.anchor.not_valid_before_utc))
        if not isinstance(path, str) and is_ca(intermediate):
            found.append((intermediate, tuple(path[1:])))
    return (*found, (authority.anchor, ()))


def _build(leaf: x509.Certificate, others: Sequence[x509.Certificate], anchor: x509.Certificate, at: datetime) -> Chain | str:
    builder = verification.PolicyBuilder().store(verification.Store([anchor])).time(at.replace(tzinfo=None))
    verifier = builder.extension_policies(ca_policy=_CA_POLICY, ee_policy=_ANY).build_client_verifier()
    try:
        return list(verifier.verify(leaf, list(others)).chain)
    except (verification.VerificationError, x509.UnsupportedGeneralNameType, ValueError) as error:
        return first_line(error)


def alive(certificate: x509.Certificate, at: datetime) -> bool:
    """Whether a certificate is within its own life; both ends inclusive (RFC 5280, 4.1.2.5)."""
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def is_ca(certificate: x509.Certificate) -> bool:
    """Whether its basic constraints say so."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False
