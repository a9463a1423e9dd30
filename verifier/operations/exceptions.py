"""Signed exceptions: reading, and making them (semantics 23).

A signed exception is a DSSE envelope of a payload type of its own, so that no signature over a chart can be taken for one, nor the reverse.
One that does not verify, or is for a rule that is not there, is an error when the policy is loaded: whoever wrote it thinks that it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from verifier.attest.dsse import Envelope, pae, read_envelope, write_envelope
from verifier.formats.json import dump_json, parse_json
from verifier.formats.yaml import YamlError, parse_yaml, plain, told
from verifier.model import codes, limits
from verifier.model.errors import FailedError, MisuseError
from verifier.operations.policies import LoadedPolicy
from verifier.operations.resolve import read_local
from verifier.policy.document import Exemption, Policy
from verifier.policy.exceptions import PAYLOAD_TYPE, read_document
from verifier.policy.fields import known
from verifier.signers.key import SigningKey
from verifier.signers.public import PublicKey, load_public_key
from verifier.trust.anchors import KEY


class _Verified(Struct, frozen=True):
    exemption: Exemption
    by: str
    key: PublicKey


def find_signed(policy: Policy, base: Path) -> dict[str, bytes]:
    """The files that hold signed exceptions, by their names relative to the policy; raises MisuseError `file-unreadable`."""
    found: dict[str, bytes] = {}
    for name in policy.exception_sources.signed:
        path = base / name
        inside = sorted(path.glob("*.json")) if path.is_dir() else [path]
        found.update({str(Path(name) / item.name) if path.is_dir() else name: read_local(item, limits.POLICY_BYTES) for item in inside})
    return found


def with_signed(loaded: LoadedPolicy, signed: Mapping[str, bytes]) -> LoadedPolicy:
    """The policy with its signed exceptions, each verified under one of the names that may sign them; raises MisuseError `exception-invalid`."""
    rules = [rule.name for rule in loaded.policy.rules]
    exemptions = []
    for name, data in signed.items():
        item = _verify(name, data, loaded)
        if item.exemption.rule not in rules:
            raise MisuseError(codes.EXCEPTION_INVALID, f"{item.exemption.rule[:80]!r} is no rule; {known(item.exemption.rule, rules)}", where=name)
        waiver = replace(item.exemption.waiver, granted_by=item.by)
        exemptions.append(replace(item.exemption, waiver=waiver, key=item.key.key_id, place=name))
    policy = replace(loaded.policy, exceptions=(*loaded.policy.exceptions, *exemptions))
    return replace(loaded, policy=policy, signed=dict(signed))


def sign_exception(document: bytes, key: SigningKey, *, where: str) -> bytes:
    """The signed form of an exception written in YAML; raises MisuseError `exception-invalid`."""
    _read(document, where)
    payload = dump_json(plain(parse_yaml(document)))
    signature = key.sign(pae(PAYLOAD_TYPE, payload))
    return dump_json(write_envelope(Envelope(payload_type=PAYLOAD_TYPE, payload=payload, signature=signature)))


def _verify(name: str, data: bytes, loaded: LoadedPolicy) -> _Verified:
    by = loaded.policy.exception_sources.by
    try:
        envelope = read_envelope(parse_json(data, where=name), where=name)
    except FailedError as error:
        raise MisuseError(codes.EXCEPTION_INVALID, error.reason, where=name) from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise MisuseError(codes.EXCEPTION_INVALID, f"its payload is {envelope.payload_type[:100]!r}, expected {PAYLOAD_TYPE}", where=name)
    for anchor in loaded.trust.of_kind(KEY):
        if anchor.name in by:
            key = load_public_key(anchor.data)
            if key.verifies(envelope.signature, pae(PAYLOAD_TYPE, envelope.payload)):
                return _Verified(_read(envelope.payload, name), anchor.name, key)
    raise MisuseError(codes.EXCEPTION_INVALID, f"it is not signed by {' or '.join(by)}", where=name)


def _read(document: bytes, where: str) -> Exemption:
    """JSON is YAML, and read by the same strict reader."""
    node = None
    try:
        node = parse_yaml(document)
        return read_document(node)
    except YamlError as error:
        reason, place = told(error, node, where)
        raise MisuseError(codes.EXCEPTION_INVALID, reason, where=place) from error
