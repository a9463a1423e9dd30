"""Steps 3 to 7 of the recipe (recipe.py), and the whole of it for certificates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from verifier.attest.bundle import Bundle, Certificates, MessageSignature
from verifier.attest.dsse import Envelope, pae
from verifier.attest.log_entry import ALGORITHMS
from verifier.model import codes
from verifier.model.claim import CertificateSigner, Clock, SigningTime
from verifier.model.errors import FailedError
from verifier.schemes.sigstore.certificate import build_chain, read_leaf, transparent_logs
from verifier.schemes.sigstore.log import Found, Signature, hold, verify_entries
from verifier.schemes.sigstore.recipe import Signed, Vouched, signature_holds
from verifier.schemes.sigstore.root import ReadyRoot, prepare_root
from verifier.signers.public import PublicKey
from verifier.trust.anchors import Anchor

if TYPE_CHECKING:
    from verifier.schemes.sigstore.timestamp import Stamp


class Certified(Struct, frozen=True, kw_only=True):
    """A certificate's signature that holds under one root."""

    signer: CertificateSigner
    vouched: Vouched


def verify_certified(bundle: Bundle, signed: Signed, anchor: Anchor) -> Certified:
    """The steps with a certificate under one trusted root; raises FailedError."""
    assert isinstance(bundle.material, Certificates)
    root = prepare_root(anchor.data)
    leaf = read_leaf(bundle.material.chain[0])  # 1
    if not signature_holds(bundle.content, signed, leaf.key):  # 2
        raise FailedError(codes.SIGNATURE_INVALID, f"the certificate of {leaf.identity[:200]} does not verify the signature")
    stamps, problem = _stamps(bundle, root)  # 3
    entries = hold(_entries(bundle, signed, leaf.key, bundle.material.chain[0], root), [stamp.at for stamp in stamps])  # 4
    vouched = _vouched(stamps, entries)
    _check_thresholds(anchor, vouched, len(stamps), problem)  # 5
    chains = [build_chain(leaf, bundle.material.chain[1:], root, time.at) for time in vouched.times]  # 6
    vouching = len(transparent_logs(leaf, chains[0], root)) if anchor.thresholds.sct else 0  # 7
    if vouching < anchor.thresholds.sct:
        raise FailedError(codes.SCT_MISSING, f"{vouching} certificate transparency logs vouch for it, the root {anchor.name} demands {anchor.thresholds.sct}")
    signer = CertificateSigner(identity=leaf.identity, san_type=leaf.san_type, issuer=leaf.issuer, root=anchor.name, extensions=leaf.extensions)
    return Certified(signer=signer, vouched=vouched)


def vouch_for_key(bundle: Bundle, signed: Signed, key: PublicKey, anchor: Anchor) -> Vouched:
    """3 and 4 for a key whose signature holds, under the root that the policy names for it; raises FailedError."""
    root = prepare_root(anchor.data)
    stamps, _ = _stamps(bundle, root)
    return _vouched(stamps, hold(_entries(bundle, signed, key, None, root), [stamp.at for stamp in stamps]))


def _stamps(bundle: Bundle, root: ReadyRoot) -> tuple[list[Stamp], FailedError | None]:
    """One verified timestamp for each authority; and why a timestamp proved nothing, if one did not."""
    found: list[Stamp] = []
    problem: FailedError | None = None
    if not bundle.timestamps or not root.timestamp_authorities:
        return found, problem
    from verifier.schemes.sigstore.timestamp import verify_timestamp

    for response in bundle.timestamps:
        try:
            stamp = verify_timestamp(response, bundle.signature, root.timestamp_authorities)
        except FailedError as error:
            problem = problem or error
        else:
            found += [stamp] if stamp.authority not in {item.authority for item in found} else []
    return found, problem


def _entries(bundle: Bundle, signed: Signed, key: PublicKey, certificate: bytes | None, root: ReadyRoot) -> list[Found]:
    if not bundle.entries or not root.logs:
        return []
    digests = {over: _digests(covered) for over, covered in _covered(bundle.content, signed).items()}
    return verify_entries(bundle.entries, Signature(value=bundle.signature, certificate=certificate, key=key, digests=digests), root)


def _covered(content: Envelope | MessageSignature, signed: Signed) -> dict[str, Signed]:
    """What a log may have hashed, by the name that log.py has for it."""
    match content:
        case MessageSignature():
            return {"artifact": signed}
        case Envelope(payload_type=payload_type, payload=payload):
            return {"payload": Signed.of(payload), "pae": Signed.of(pae(payload_type, payload))}


def _digests(covered: Signed) -> dict[str, bytes]:
    return {name: digest for name in ALGORITHMS.values() if (digest := covered.digest(name)) is not None}


def _check_thresholds(anchor: Anchor, vouched: Vouched, stamps: int, problem: FailedError | None) -> None:  # 5
    if not vouched.times:
        raise problem or FailedError(codes.TIME_UNPROVEN, f"neither a log nor a timestamp authority of the root {anchor.name} proves when it was signed")
    if vouched.logs < anchor.thresholds.tlog:
        raise FailedError(codes.LOG_MISSING, f"{vouched.logs} logs of the root {anchor.name} hold the signature, {anchor.thresholds.tlog} must")
    if stamps < anchor.thresholds.timestamp:
        reason = f"{stamps} timestamp authorities of the root {anchor.name} saw it, {anchor.thresholds.timestamp} must"
        raise problem or FailedError(codes.TIMESTAMP_MISSING, reason)


def _vouched(stamps: Sequence[Stamp], entries: Sequence[Found]) -> Vouched:
    stamped = tuple(SigningTime(at=stamp.at, clock=Clock.TIMESTAMP) for stamp in stamps)
    logged = tuple(SigningTime(at=item.at, clock=Clock.LOG) for item in entries if item.at is not None)
    return Vouched(times=stamped + logged, logs=len({item.log.authority for item in entries}))
