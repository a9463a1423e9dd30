"""Trust flags: an ad hoc policy for a terminal, under the same rules as any other (semantics 36).

Several keys are alternatives; different kinds must all be satisfied. A keyring with several primary keys needs the
fingerprint that is meant, or `--openpgp-any-key`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from verifier.cli.options import grouped
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.model.reference import AnyReference
from verifier.operations.policies import LoadedPolicy, load, with_trust
from verifier.policy.document import All, Policy, Requirement, Rule, Signed, TrustEntry, TrustKind
from verifier.policy.scopes import Scope
from verifier.settings import load_settings

_F = TypeVar("_F", bound=Callable[..., Any])


class TrustFlags(Struct, frozen=True, kw_only=True):
    """What the flags say."""

    policy: str | None
    openpgp_keyring: tuple[str, ...]
    openpgp_fingerprint: tuple[str, ...]
    openpgp_any_key: bool
    key: tuple[str, ...]

    @property
    def given(self) -> bool:
        """Whether any trust flag is there."""
        return bool(self.openpgp_keyring or self.openpgp_fingerprint or self.openpgp_any_key or self.key)

    def load(self, targets: Sequence[AnyReference]) -> LoadedPolicy:
        """The policy file, or the ad hoc policy for these targets; raises MisuseError."""
        path = self.policy or (None if self.given else load_settings(os.environ).policy)
        if path and self.given:
            raise MisuseError(codes.USAGE, "give --policy or trust flags, not both")
        if path:
            return load(Path(path), load_settings(os.environ).roots)
        if not self.given:
            raise MisuseError(codes.NO_POLICY, "nothing says what to trust")
        return with_trust(_policy(self, targets), base=Path(), stored_roots=load_settings(os.environ).roots)


def trust_options(command: _F) -> _F:
    """Add --policy and the trust flags; the command gets them as `trust`."""
    return grouped(command, "trust", TrustFlags, _OPTIONS)


_OPTIONS = (
    click.option("--policy", type=click.Path(dir_okay=False), help="The policy to hold the chart to (or VERIFIER_POLICY)."),
    click.option("--openpgp-keyring", multiple=True, help="Trust OpenPGP keys of this keyring (binary, armored or .kbx)."),
    click.option("--openpgp-fingerprint", multiple=True, help="The primary key that is meant; may be repeated."),
    click.option("--openpgp-any-key", is_flag=True, help="Any key of the keyring is meant."),
    click.option("--key", multiple=True, metavar="KEYREF", help="Trust this public key: a PEM file or env://NAME."),
)


def _policy(flags: TrustFlags, targets: Sequence[AnyReference]) -> Policy:
    entries, requirements = [], []
    if flags.openpgp_keyring:
        openpgp = [_openpgp_entry(flags, path, index) for index, path in enumerate(flags.openpgp_keyring, start=1)]
        entries += openpgp
        requirements.append(_signed(openpgp))
    elif flags.openpgp_fingerprint or flags.openpgp_any_key:
        raise MisuseError(codes.USAGE, "--openpgp-fingerprint and --openpgp-any-key go with --openpgp-keyring")
    if flags.key:
        keys = [TrustEntry(name=f"key-{index}", kind=TrustKind.KEY, path=path, place=f"--key {path}") for index, path in enumerate(flags.key, start=1)]
        entries += keys
        requirements.append(_signed(keys))
    require: Requirement = requirements[0] if len(requirements) == 1 else All(of=tuple(requirements))
    rule = Rule(name="trust flags", scopes=tuple(_scope(target) for target in targets), require=require)
    described = "\0".join([*flags.openpgp_keyring, *sorted(flags.openpgp_fingerprint), str(flags.openpgp_any_key), *flags.key])
    from verifier.model.digest import sha256

    return Policy(name="command line", digest=str(sha256(described.encode())), trust=tuple(entries), rules=(rule,))


def _openpgp_entry(flags: TrustFlags, path: str, index: int) -> TrustEntry:
    fingerprints = tuple(text.replace(" ", "").upper() for text in flags.openpgp_fingerprint)
    if flags.openpgp_any_key and fingerprints:
        raise MisuseError(codes.USAGE, "--openpgp-any-key and --openpgp-fingerprint exclude each other")
    if not fingerprints and not flags.openpgp_any_key:
        fingerprints = _only_key(path)
    return TrustEntry(
        name=f"keyring-{index}",
        kind=TrustKind.OPENPGP,
        path=path,
        fingerprints=fingerprints,
        any_key=flags.openpgp_any_key,
        place=f"--openpgp-keyring {path}",
    )


def _only_key(path: str) -> tuple[str, ...]:
    from verifier.operations.keys import read_certificates

    held = [certificate.fingerprint for certificate in read_certificates(Path(path))]
    if len(set(held)) != 1:
        raise MisuseError(
            codes.USAGE, f"{path} holds {len(held)} keys: say which with --openpgp-fingerprint, or --openpgp-any-key", where=", ".join(held)[:300]
        )
    return tuple(held)


def _signed(entries: Sequence[TrustEntry]) -> Signed:
    return Signed(by=tuple(entry.name for entry in entries))


def _scope(target: AnyReference) -> Scope:
    """The scope of exactly this target."""
    from verifier.policy.case import asked_of

    reference = asked_of(target)
    if reference is not None:
        return Scope(reference.registry, tuple(reference.repository.split("/")), str(target))
    path = os.path.abspath(getattr(target, "path", ""))
    return Scope("", tuple(path.strip("/").split("/")), str(target))
