"""Policies from a registry (semantics 27): pushed as an artifact with the files that they name, signed, and believed only under configured trust.

Loading:

1. The tag is resolved now; what it names must be one of our artifacts.
2. A signature over its manifest by one of the configured names counts: trust and names come from the trust file, never from the policy.
3. The files are read, each compared with its digest, into a directory of their own; a path that leaves it is refused.
4. The document carries a serial and an end. A serial lower than the highest that was seen is refused, as is another document under the same serial.
5. What was loaded is kept. Where the registry cannot be reached, the kept one goes on until it is `maxStale` old; then every decision is
   inconclusive, and so it is after the policy's own end.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from msgspec import Struct
from msgspec.structs import replace

from verifier.attest.statement import write_sign_statement
from verifier.formats.json import dump_json, parse_object
from verifier.formats.protojson import Message
from verifier.formats.yaml import YamlError, parse_yaml, told
from verifier.model import codes, limits
from verifier.model.artifact import Descriptor, OciImage
from verifier.model.context import Context, Facts, Request
from verifier.model.decision import Result
from verifier.model.digest import Digest, sha256
from verifier.model.errors import FailedError, InconclusiveError, MisuseError, error
from verifier.model.reference import Reference, parse_oci
from verifier.net.deadline import Deadline
from verifier.oci.layout import replace_file
from verifier.oci.manifest import EMPTY, EMPTY_BYTES, MANIFEST, Manifest, descriptor_value, read_manifest
from verifier.oci.repository import describe
from verifier.operations.connections import Connections
from verifier.operations.gather import gather, gather_old, joined
from verifier.operations.policies import LoadedPolicy, load, with_trust
from verifier.operations.resolve import PinnedImage, read_local, resolve_image
from verifier.operations.signing import SignStatement, attach, in_bundle
from verifier.operations.verification import prove, wanted
from verifier.policy.bootstrap import Bootstrap, read_bootstrap
from verifier.policy.case import Case
from verifier.policy.document import Policy, Rule, Signed
from verifier.policy.engine import meets
from verifier.policy.scopes import Scope

ARTIFACT = "application/vnd.helm-verifier.policy.v1"
_FILE = "application/vnd.helm-verifier.policy.file.v1"
_TITLE = "org.opencontainers.image.title"
_ENTRY = "verifier.policy.entry"
_SIGN = "https://sigstore.dev/cosign/sign/v1"
_SECONDS = 60.0
_MOST_FILES = 1_000


class RemotePolicy(Struct, frozen=True, kw_only=True):
    """Which policy, under which trust file, and where what was seen is kept."""

    reference: Reference
    trust: Path
    state: Path
    stored_roots: Path | None = None


class _Seen(Struct, frozen=True, kw_only=True):
    """What was loaded last: the artifact, the highest serial, when it was fetched, and the file to begin with."""

    digest: str
    serial: int
    at: datetime
    entry: str


def configured(written: str, trust: str | None, state: Path, stored_roots: Path) -> RemotePolicy:
    """The policy that `oci://...` names, under the trust file that is configured; raises MisuseError where none is."""
    if trust is None:
        reason = "who may sign it is not configured: set VERIFIER_POLICY_TRUST, or policyTrust in verifier.yaml, to a PolicyTrust file"
        raise MisuseError(codes.CONFIG_INVALID, reason, where=written)
    return RemotePolicy(reference=parse_oci(written), trust=Path(trust), state=state, stored_roots=stored_roots)


def push_policy(path: Path, reference: Reference, sign: SignStatement, connections: Connections, stored_roots: Path | None = None) -> Digest:
    """Push a policy with its files, and sign it; returns the manifest's digest. Raises MisuseError for one that does not load, or without serial and end."""
    loaded = load(path, stored_roots)
    if loaded.policy.serial is None or loaded.policy.expires is None:
        raise MisuseError(codes.POLICY_INVALID, "a policy in a registry carries metadata.serial and metadata.expires", where=str(path))
    files = [file for file in loaded.files if file.is_file()]
    base = Path(os.path.commonpath([file.resolve().parent for file in files]))
    target = connections.target(reference, Deadline.after(_SECONDS))
    layers = []
    for file in sorted(file.resolve() for file in files):
        data = read_local(file, limits.KEYRING_BYTES)
        title = {_TITLE: str(PurePosixPath(*file.relative_to(base).parts))}
        layers.append(descriptor_value(Descriptor(media_type=_FILE, digest=target.push_blob(data), size=len(data), annotations=title)))
    target.push_blob(EMPTY_BYTES)
    config = descriptor_value(Descriptor(media_type=EMPTY, digest=sha256(EMPTY_BYTES), size=len(EMPTY_BYTES)))
    entry = str(PurePosixPath(*path.resolve().relative_to(base).parts))
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ARTIFACT, "config": config, "layers": layers, "annotations": {_ENTRY: entry}}
    manifest = dump_json(value)
    digest = target.push_manifest(manifest, MANIFEST, reference.tag)
    attach(target, describe(manifest, MANIFEST), in_bundle(sign(write_sign_statement(digest, name=f"oci://{reference.name}")), _SIGN))
    return digest


def load_remote(remote: RemotePolicy, connections: Connections, now: datetime | None = None) -> LoadedPolicy:
    """The policy, fetched now, or kept where the registry cannot be reached.

    Raises MisuseError for what does not load, FailedError `policy-refused`, and InconclusiveError where there is nothing that may be used.
    """
    now = now or datetime.now(UTC)
    bootstrap = read_bootstrap_file(remote.trust)
    seen = _seen(remote)
    try:
        return _fetch(remote, bootstrap, seen, connections, now)
    except InconclusiveError as problem:
        if seen is None:
            raise
        if bootstrap.max_stale is None or now >= seen.at + bootstrap.max_stale:
            reason = f"{problem.reason}; what was kept is of {seen.at:%Y-%m-%d %H:%M}Z, and may not be used any more"
            raise InconclusiveError(codes.POLICY_STALE, reason, where=problem.where) from problem
        return _kept(remote, seen, bootstrap)


def read_bootstrap_file(path: Path) -> Bootstrap:
    """The trust file; raises MisuseError `policy-invalid`."""
    node = None
    try:
        node = parse_yaml(read_local(path, limits.POLICY_BYTES))
        return read_bootstrap(node)
    except YamlError as problem:
        reason, place = told(problem, node, str(path))
        raise MisuseError(codes.POLICY_INVALID, reason, where=place) from problem


def _fetch(remote: RemotePolicy, bootstrap: Bootstrap, seen: _Seen | None, connections: Connections, now: datetime) -> LoadedPolicy:
    reference = remote.reference
    pinned = resolve_image(reference, connections.source(reference, Deadline.after(_SECONDS)))  # 1
    manifest = read_manifest(pinned.fetched.data, where=pinned.source.where)
    if not isinstance(manifest, Manifest) or manifest.kind != ARTIFACT:
        raise FailedError(codes.POLICY_REFUSED, "it is no policy", where=str(reference))
    _check_signed(remote, bootstrap, pinned, connections, now)  # 2
    _store(remote, pinned, manifest)  # 3
    entry = manifest.annotations.get(_ENTRY, "")
    loaded = load(_content(remote, str(pinned.fetched.digest)) / _clean(entry, reference), remote.stored_roots)
    _check_serial(loaded.policy, seen, str(pinned.fetched.digest), reference)  # 4
    assert loaded.policy.serial is not None
    now_seen = _Seen(digest=str(pinned.fetched.digest), serial=loaded.policy.serial, at=now, entry=entry)
    _remember(remote, now_seen)
    return _with_end(loaded, now_seen, bootstrap)


def _check_signed(remote: RemotePolicy, bootstrap: Bootstrap, pinned: PinnedImage, connections: Connections, now: datetime) -> None:
    require = Signed(by=bootstrap.by)
    scope = Scope(remote.reference.registry, tuple(remote.reference.repository.split("/")), str(remote.reference))
    rule = Rule(name="the policy itself", scopes=(scope,), require=require)
    trusted = with_trust(
        Policy(name="trust of policies", digest="", trust=bootstrap.trust, roots=bootstrap.roots, rules=(rule,)),
        base=remote.trust.parent,
        stored_roots=remote.stored_roots,
    )
    gathered = joined(
        gather(pinned, connections, pinned.source.referrers(pinned.fetched.digest), wanted(trusted.trust)),
        gather_old(pinned, connections),
    )
    artifact = OciImage(reference=pinned.reference, manifest=pinned.fetched.data)
    claims, rejections = prove(gathered.evidence, artifact, trusted.trust)
    request = Request(reference=remote.reference, context=Context())
    facts = Facts(request=request, artifact=artifact, claims=claims, rejections=gathered.rejections + rejections, gaps=gathered.gaps)
    check = meets(require, Case(policy=trusted.policy, rule=rule, facts=facts, artifact=artifact, claims=claims, now=now))
    if check.outcome is Result.PASSED:
        return
    code = check.code if check.outcome is Result.INCONCLUSIVE and check.code is not None else codes.POLICY_REFUSED
    raise error(code, f"the policy is not signed as {remote.trust.name} demands: {check.reason}", where=str(remote.reference))


def _check_serial(policy: Policy, seen: _Seen | None, digest: str, reference: Reference) -> None:
    where = str(reference)
    if policy.serial is None or policy.expires is None:
        raise FailedError(codes.POLICY_REFUSED, "it carries no metadata.serial and metadata.expires", where=where)
    if seen is not None and policy.serial < seen.serial:
        raise FailedError(codes.POLICY_REFUSED, f"its serial is {policy.serial}, and {seen.serial} was seen already: an old one is served again", where=where)
    if seen is not None and policy.serial == seen.serial and digest != seen.digest:
        raise FailedError(codes.POLICY_REFUSED, f"another policy was seen under the serial {policy.serial}: a new one has a higher serial", where=where)


def _with_end(loaded: LoadedPolicy, seen: _Seen, bootstrap: Bootstrap) -> LoadedPolicy:
    stale = seen.at + (bootstrap.max_stale or timedelta(minutes=10))
    return replace(loaded, policy=replace(loaded.policy, stale_at=stale))


# What is kept: STATE/NAME/state.json and STATE/NAME/DIGEST/files


def _home(remote: RemotePolicy) -> Path:
    return remote.state / str(sha256(remote.reference.name.encode()).hex[:32])


def _content(remote: RemotePolicy, digest: str) -> Path:
    return _home(remote) / digest.replace(":", "-")


def _seen(remote: RemotePolicy) -> _Seen | None:
    path = _home(remote) / "state.json"
    if not path.exists():
        return None
    try:
        value = Message(parse_object(read_local(path, limits.POLICY_BYTES), where=str(path)), "state", codes.JSON_INVALID, str(path))
        at = value.time("at")
        if at is None or not value.text("digest"):
            value.refuse("is incomplete")
        return _Seen(digest=value.text("digest"), serial=value.integer("serial"), at=at, entry=value.text("entry"))
    except FailedError as problem:  # forgetting the highest serial would let an old policy in
        raise MisuseError(codes.CONFIG_INVALID, f"{problem.reason}; put it right, or remove it knowingly", where=str(path)) from problem


def _remember(remote: RemotePolicy, seen: _Seen) -> None:
    value = {"digest": seen.digest, "serial": seen.serial, "at": seen.at.isoformat().replace("+00:00", "Z"), "entry": seen.entry}
    _write(_home(remote) / "state.json", dump_json(value))
    for old in _home(remote).iterdir():
        if old.is_dir() and old.name != _content(remote, seen.digest).name:
            shutil.rmtree(old, ignore_errors=True)


def _store(remote: RemotePolicy, pinned: PinnedImage, manifest: Manifest) -> None:
    content = _content(remote, str(pinned.fetched.digest))
    if len(manifest.layers) > _MOST_FILES:
        raise FailedError(codes.POLICY_REFUSED, f"it has {len(manifest.layers)} files", where=str(remote.reference))
    files = {_clean(layer.annotations.get(_TITLE, ""), remote.reference): pinned.source.blob(layer, limits.KEYRING_BYTES) for layer in manifest.layers}
    for name, data in files.items():
        path = content / name
        if not path.is_file() or path.read_bytes() != data:
            _write(path, data)


def _kept(remote: RemotePolicy, seen: _Seen, bootstrap: Bootstrap) -> LoadedPolicy:
    loaded = load(_content(remote, seen.digest) / _clean(seen.entry, remote.reference), remote.stored_roots)
    return _with_end(loaded, seen, bootstrap)


def _clean(title: str, reference: Reference) -> str:
    """A path below the policy's own directory."""
    path = PurePosixPath(title)
    if not title or path.is_absolute() or ".." in path.parts or "\\" in title or str(path) != title or any(ord(character) < 32 for character in title):
        raise FailedError(codes.POLICY_REFUSED, f"it holds a file at {title[:80]!r}", where=str(reference))
    return title


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data)
    except OSError as problem:
        raise MisuseError(codes.WRITE_FAILED, problem.strerror or str(problem), where=str(path)) from problem
