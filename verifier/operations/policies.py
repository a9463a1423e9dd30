"""Loading a policy with the trust material that it names: one snapshot, each file read once and checked.

1. The document (policy.loader).
2. Each trust entry's bytes: a file relative to the policy, text in the policy, or keys of a GnuPG home; each root that a
   keyless identity or a key names (operations.roots).
3. Each entry is parsed by its scheme now, so that a broken or missing key is an error at load and not a denial later;
   every fingerprint that is named must be in its keyring.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.model import codes, limits
from verifier.model.digest import sha256
from verifier.model.errors import MisuseError
from verifier.operations.resolve import read_local
from verifier.policy.document import Policy, RootEntry, TrustEntry, TrustKind, signers_of_summaries
from verifier.trust.anchors import KEY, OPENPGP, ROOT, Anchor, TrustMaterial

_ATTEMPTS = 3
_ELSEWHERE = "it lies in a Secret of the object's namespace, which only a server in the cluster can look up"


class LoadedPolicy(Struct, frozen=True):
    """Policy and trust, read as one; `trust_digest` is computed once. `files` are those that were read, or looked for.

    `documents` are the policy's own, by file name, and `signed` the exceptions that were signed; trust flags have neither.
    """

    policy: Policy
    trust: TrustMaterial
    trust_digest: str = ""
    files: tuple[Path, ...] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)
    signed: Mapping[str, bytes] = field(default_factory=dict)


def load(path: Path, stored_roots: Path | None = None) -> LoadedPolicy:
    """Load a policy file, or a directory of them; raises MisuseError `policy-invalid`, `trust-invalid`, `key-unsupported` or `file-unreadable`.

    `stored_roots` is the directory that `verifier trust update` writes.
    """
    from verifier.policy.loader import load_documents  # trust flags need no loader

    if path.is_dir():
        documents, base = _read_directory(path), path
    else:
        documents, base = {path: read_local(path, limits.POLICY_BYTES)}, path.parent
    policy = load_documents({str(file): data for file, data in documents.items()})
    loaded = with_trust(policy, base=base, stored_roots=stored_roots)
    if policy.exception_sources.signed:
        from verifier.operations.exceptions import find_signed, with_signed

        loaded = with_signed(loaded, find_signed(policy, base))
        loaded = replace(loaded, files=(*loaded.files, *(base / name for name in (*policy.exception_sources.signed, *loaded.signed))))
    files = tuple(dict.fromkeys((path, *documents, *loaded.files)))
    return replace(loaded, files=files, documents={file.name: data for file, data in documents.items()})


def _read_directory(directory: Path) -> dict[Path, bytes]:
    """All documents as they were at one moment: what changes while it is read is read again."""
    for _ in range(_ATTEMPTS):
        before = _list_documents(directory)
        documents = {path: read_local(path, limits.POLICY_BYTES) for path in before}
        if all(read_local(path, limits.POLICY_BYTES) == data for path, data in documents.items()) and _list_documents(directory) == before:
            return documents
    raise MisuseError(codes.POLICY_INVALID, "the directory changes while it is read; try again", where=str(directory))


def _list_documents(directory: Path) -> tuple[Path, ...]:
    """The policies of a directory; cases (`*.test.yaml`) and hidden files, such as a mounted ConfigMap has, are none."""
    found = sorted(path for path in directory.glob("*.yaml") if not path.name.endswith(".test.yaml") and not path.name.startswith("."))
    if not found:
        raise MisuseError(codes.POLICY_INVALID, "the directory holds no *.yaml", where=str(directory))
    return tuple(found)


def with_trust(policy: Policy, *, base: Path, stored_roots: Path | None = None) -> LoadedPolicy:
    """Read the trust entries and roots of a policy; relative paths start at `base`."""
    roots = [_root(entry, base, stored_roots) for entry in policy.roots]
    entries = [_anchor(entry, base) for entry in policy.trust if entry.kind is not TrustKind.KEYLESS and entry.secret is None]
    _check_separate(policy, entries)
    trust = TrustMaterial((*entries, *(anchor for anchor, _ in roots)), elsewhere(policy))
    return LoadedPolicy(replace(policy, roots=tuple(entry for _, entry in roots)), trust, trust.digest, tuple(_files(policy, base, stored_roots)))


def elsewhere(policy: Policy) -> tuple[tuple[str, str], ...]:
    """The names whose keys lie in the namespace that is asked for, with the reason for which they are not known here."""
    return tuple((entry.name, _ELSEWHERE) for entry in policy.trust if entry.secret is not None)


def _check_separate(policy: Policy, anchors: Sequence[Anchor]) -> None:
    """The same key under two names is still one key (semantics 24)."""
    summaries, others = signers_of_summaries(policy)
    if not summaries:
        return
    from verifier.signers.public import load_public_key

    keys = {anchor.name: load_public_key(anchor.data).key_id for anchor in anchors if anchor.kind == KEY}
    for name in sorted(summaries & keys.keys()):
        for other in sorted(others & keys.keys()):
            if keys[name] == keys[other]:
                raise MisuseError(codes.TRUST_INVALID, f"{name} signs summaries and {other} charts, with one key: that must be two", where=policy.name)


def _files(policy: Policy, base: Path, stored: Path | None) -> Iterator[Path]:
    yield from (base / entry.path for entry in policy.trust if entry.path is not None and not entry.path.startswith("env://"))
    for root in policy.roots:
        if root.path is not None:
            yield base / root.path
        elif stored is not None:
            yield stored / f"{root.name}.json"


def _root(entry: RootEntry, base: Path, stored: Path | None) -> tuple[Anchor, RootEntry]:
    from verifier.operations.roots import read_root
    from verifier.schemes.sigstore.root import prepare_root

    try:
        root = read_root(entry, base, stored)
        prepare_root(root.data)
    except MisuseError as error:
        raise MisuseError(error.code, error.reason, where=" ".join(filter(None, (entry.place, error.where or entry.path)))) from error
    anchor = Anchor(name=entry.name, kind=ROOT, data=root.data, thresholds=entry.thresholds)
    return anchor, replace(entry, digest=str(sha256(root.data)), as_of=root.as_of)


def _anchor(entry: TrustEntry, base: Path) -> Anchor:
    try:
        return anchor_of(entry, _bytes(entry, base))
    except MisuseError as error:
        raise MisuseError(error.code, error.reason, where=" ".join(filter(None, (entry.place, error.where or entry.path)))) from error


def anchor_of(entry: TrustEntry, data: bytes) -> Anchor:
    """The anchor that a trust entry makes of a keyring or a key; raises MisuseError `trust-invalid` or `key-unsupported`."""
    anchor = Anchor(
        name=entry.name,
        kind=OPENPGP if entry.kind is TrustKind.OPENPGP else KEY,
        data=data,
        fingerprints=frozenset(entry.fingerprints),
        any_key=entry.any_key,
        not_before=entry.not_before,
        not_after=entry.not_after,
        root=entry.root,
    )
    _check(anchor)
    return anchor


def _bytes(entry: TrustEntry, base: Path) -> bytes:
    if entry.inline is not None:
        return entry.inline.encode()
    if entry.gnupg_home is not None:
        from verifier.schemes.openpgp.gpg import export_public

        home = None if entry.gnupg_home == "default" else base / entry.gnupg_home
        return export_public(home, entry.fingerprints)
    if entry.kind is TrustKind.KEY and (entry.path or "").startswith("env://"):
        from verifier.signers.key import read_keyref

        return read_keyref(entry.path or "")
    data = read_local(base / (entry.path or ""), limits.KEYRING_BYTES)
    return without_keybox(data) if entry.kind is TrustKind.OPENPGP else data


def without_keybox(data: bytes) -> bytes:
    """A keyring that the verification library reads: GnuPG's keybox is converted by gpg, anything else stays as it is."""
    from verifier.schemes.openpgp.certificates import is_keybox

    if not is_keybox(data):
        return data
    from verifier.schemes.openpgp.gpg import export_keybox

    return export_keybox(data)


def _check(anchor: Anchor) -> None:
    if anchor.kind == KEY:
        from verifier.signers.public import load_public_key

        load_public_key(anchor.data)
        return
    from verifier.schemes.openpgp.certificates import read_keyring

    held = {certificate.fingerprint for certificate in read_keyring(anchor.data)}
    if missing := sorted(anchor.fingerprints - held):
        raise MisuseError(codes.TRUST_INVALID, f"the keyring does not hold {missing[0]}; it holds {', '.join(sorted(held))[:300]}")
