"""Keys that tests make for themselves; nothing here is ever committed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import pysequoia
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from verifier.charts.clearsign import with_checksum
from verifier.charts.provenance import write_provenance
from verifier.model.artifact import ChartFile
from verifier.signers.key import LocalKey, generate_key
from verifier.signers.public import public_pem
from verifier.trust.anchors import KEY, OPENPGP, Anchor, TrustMaterial


@dataclass(frozen=True)
class PGP:
    secret: bytes
    public: bytes
    fingerprint: str

    def clearsign(self, text: str) -> bytes:
        signer = pysequoia.Tsk.from_bytes(self.secret).signer()
        return with_checksum(pysequoia.sign(signer, text.encode(), mode=pysequoia.SignatureMode.CLEAR), where="test")

    def provenance(self, chart: ChartFile) -> bytes:
        return self.clearsign(write_provenance(chart.facts, chart.digest))

    def anchor(self, name: str = "team") -> Anchor:
        return Anchor(name=name, kind=OPENPGP, data=self.public, fingerprints=frozenset((self.fingerprint,)))


def pgp(name: str = "team", validity: int | None = None) -> PGP:
    """A key per name, made once per process."""
    return _pgp(name, validity)


@lru_cache(maxsize=64)
def _pgp(name: str, validity: int | None) -> PGP:
    key = pysequoia.Tsk.generate(
        f"{name} <{name}@example.test>", profile=pysequoia.Profile.RFC4880, cipher_suite=pysequoia.CipherSuite.Cv25519, validity_seconds=validity
    )
    certificate = key.extract_certificate()
    return PGP(str(key).encode(), str(certificate).encode(), certificate.fingerprint.upper())


def pair(name: str = "ci") -> LocalKey:
    """A key pair per name."""
    return _pair(name)


@lru_cache(maxsize=64)
def _pair(name: str) -> LocalKey:
    return generate_key()


def private_pem(key: LocalKey) -> bytes:
    """The private key as it is, without a passphrase."""
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_anchor(name: str = "ci", **window: object) -> Anchor:
    return Anchor(name=name, kind=KEY, data=public_pem(pair(name).public), **window)  # type: ignore[arg-type]


def trust(*anchors: Anchor) -> TrustMaterial:
    return TrustMaterial(anchors)
