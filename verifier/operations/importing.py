"""Importing: a file of another program as a policy of ours, and a list of what a person must look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from verifier.formats.yaml import YamlError, dump_yaml, load_values
from verifier.model import codes, limits
from verifier.model.errors import MisuseError
from verifier.operations.policies import without_keybox
from verifier.operations.resolve import read_local
from verifier.policy.importers.draft import Draft, signed
from verifier.policy.importers.kubernetes import import_objects
from verifier.policy.importers.notation import import_notation
from verifier.policy.loader import load_policy


class Imported(Struct, frozen=True):
    """The document, ready to be written, and what could not be carried over."""

    document: str
    notes: tuple[str, ...]


def import_policy(files: Sequence[Path], charts: Sequence[str], name: str) -> Imported:
    """Read the files, together; raises MisuseError for a file of no format that is known, and where nothing came of them.

    `charts` are the scopes of a keyring, which says nothing of charts.
    """
    draft = Draft(name)
    objects = []
    for file in files:
        data = read_local(file, limits.KEYRING_BYTES)
        if _is_keyring(data):
            _import_keyring(data, file, charts, draft)
        else:
            objects += [(file, value) for value in _values(data, file)]
    known = import_objects([value for _, value in objects], draft)
    for file, value in objects:
        if not import_notation(value, draft) and not known:
            raise MisuseError(codes.USAGE, "neither a policy of cosign, Kyverno, notation, Flux or Sveltos nor a keyring", where=str(file))
    if draft.empty:
        raise MisuseError(codes.USAGE, "nothing could be carried over: " + ("; ".join(draft.notes) or "no signatures are demanded"), where=str(files[0]))
    head = "".join(f"# To be looked at: {note}\n" for note in draft.notes)
    document = head + dump_yaml(draft.document)
    load_policy(document.encode(), where="the imported policy")
    return Imported(document, tuple(draft.notes))


def _values(data: bytes, file: Path) -> list[object]:
    try:
        return [value for value in load_values(data) if value is not None]
    except YamlError as error:
        raise MisuseError(codes.USAGE, f"neither YAML nor JSON nor a keyring: {error}", where=str(file)) from error


def _is_keyring(data: bytes) -> bool:
    from verifier.schemes.openpgp.certificates import is_keybox

    return is_keybox(data) or data.lstrip().startswith(b"-----BEGIN PGP") or (data[:1] != b"" and data[0] >= 0x80)


def _import_keyring(data: bytes, file: Path, charts: Sequence[str], draft: Draft) -> None:
    from verifier.schemes.openpgp.certificates import read_keyring

    certificates = read_keyring(without_keybox(data))
    named = draft.trust(file.stem, {"openpgp": {"keyring": str(file), "fingerprints": sorted(item.fingerprint for item in certificates)}})
    draft.note(f"{file}: the keyring's path is relative to the policy's file; every key that is in it now is named, and no other")
    if len(certificates) > 1:
        draft.note(f"{file}: Helm took each of its {len(certificates)} keys for every chart; keep those that sign charts")
    draft.rule(f"signed with {file.stem}", list(charts) or ["file:*.tgz"], signed([named]))
    if not charts:
        draft.note("a keyring says nothing of charts: the rule is for local files; give --charts oci://HOST/PATH/* for those in registries")
