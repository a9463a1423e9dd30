"""Trust flags: an ad hoc policy for a terminal, under the same rules as any other (semantics 36).

Several keys are alternatives; different kinds must all be satisfied. A keyring with several primary keys needs the
fingerprint that is meant, or `--openpgp-any-key`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct
from msgspec.structs import replace

from verifier.cli.access import key_access
from verifier.cli.options import Network, grouped, warn_unsafe
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.model.reference import AnyReference
from verifier.operations.connections import Connections
from verifier.operations.policies import LoadedPolicy, load, with_trust
from verifier.policy.document import All, Policy, Requirement, RootEntry, Rule, Signed, TrustEntry, TrustKind
from verifier.policy.identity import repository_host
from verifier.policy.scopes import Scope
from verifier.settings import load_settings
from verifier.trust.anchors import PUBLIC_GOOD, Thresholds

_ROOT = "trusted-root"
_F = TypeVar("_F", bound=Callable[..., Any])


class TrustFlags(Struct, frozen=True, kw_only=True):
    """What the flags say."""

    policy: str | None
    openpgp_keyring: tuple[str, ...]
    openpgp_fingerprint: tuple[str, ...]
    openpgp_any_key: bool
    key: tuple[str, ...]
    require_tlog: bool
    certificate_identity: str | None
    certificate_identity_regexp: str | None
    certificate_oidc_issuer: str | None
    certificate_source_repository: str | None
    trusted_root: str | None
    insecure_ignore_tlog: bool

    @property
    def given(self) -> bool:
        """Whether any trust flag is there."""
        return any(getattr(self, name) for name in self.__struct_fields__ if name != "policy")

    @property
    def keyless(self) -> bool:
        """Whether a flag speaks of certificates."""
        return any(getattr(self, name) for name in self.__struct_fields__ if name.startswith("certificate_"))

    @property
    def unsafe(self) -> tuple[str, ...]:
        """The switches that stand in every decision that they touched."""
        return ("insecure-ignore-tlog",) if self.insecure_ignore_tlog else ()

    def load(self, targets: Sequence[AnyReference], network: Network | None = None) -> LoadedPolicy:
        """The policy, or the ad hoc policy for these targets; raises MisuseError, and for a policy in a registry any VerifierError."""
        settings = load_settings(os.environ)
        path = self.policy or (None if self.given else settings.policy)
        if path and self.given:
            raise MisuseError(codes.USAGE, "give --policy or trust flags, not both")
        if path:
            return load_written(path, network)
        if not self.given:
            raise MisuseError(codes.NO_POLICY, "nothing says what to trust")
        return with_trust(_policy(self, targets), base=Path(), stored_roots=settings.roots)


@contextmanager
def asking(reference: AnyReference, trust: TrustFlags, network: Network) -> Iterator[tuple[LoadedPolicy, Connections]]:
    """What a question about `reference` needs, closed afterwards; what is unsafe about it is told."""
    loaded = trust.load([reference], network)
    warn_unsafe(network.unsafe + trust.unsafe)
    with network.connected() as connections:
        yield loaded, connections


def load_written(path: str, network: Network | None) -> LoadedPolicy:
    """A policy by what was written for it: a file, a directory, or oci://; raises MisuseError, and for one in a registry any VerifierError."""
    if path.startswith("oci://"):
        return load_from_registry(path, network)
    return load(Path(path), load_settings(os.environ).roots)


def load_from_registry(written: str, network: Network | None) -> LoadedPolicy:
    """A policy in a registry, under the trust file that is configured."""
    from verifier.operations.remote_policy import configured, load_remote

    settings = load_settings(os.environ)
    if network is None:
        raise MisuseError(codes.USAGE, "a policy in a registry is no file; give the file itself here", where=written)
    remote = configured(written, settings.policy_trust, settings.policies, settings.roots)
    with network.connected(quiet=True) as connections:
        return load_remote(remote, connections)


def trust_options(command: _F) -> _F:
    """Add --policy and the trust flags; the command gets them as `trust`."""
    return grouped(command, "trust", TrustFlags, _OPTIONS)


_OPTIONS = (
    click.option("--policy", type=click.Path(), help="The policy to hold the chart to: a file, a directory, or oci://HOST/PATH:TAG (or VERIFIER_POLICY)."),
    click.option("--openpgp-keyring", multiple=True, help="Trust OpenPGP keys of this keyring (binary, armored or .kbx)."),
    click.option("--openpgp-fingerprint", multiple=True, help="The primary key that is meant; may be repeated."),
    click.option("--openpgp-any-key", is_flag=True, help="Any key of the keyring is meant."),
    click.option(
        "--key", multiple=True, metavar="KEYREF", help="Trust this public key: a PEM file, env://NAME, or a KEYREF that is asked for its public half."
    ),
    click.option("--require-tlog", is_flag=True, help="A key's signature must lie in a transparency log."),
    click.option("--certificate-identity", metavar="IDENTITY", help="Trust this keyless identity (a URL or an e-mail address)."),
    click.option("--certificate-identity-regexp", metavar="RE2", help="The same as a regular expression that matches the whole identity."),
    click.option("--certificate-oidc-issuer", metavar="URL", help="The issuer that vouched for the identity; compared exactly."),
    click.option("--certificate-source-repository", metavar="URL", help="Where the workflow ran; by default the identity's own repository."),
    click.option("--trusted-root", type=click.Path(dir_okay=False), help="The trusted_root.json of another sigstore instance than the public one."),
    click.option("--insecure-ignore-tlog", is_flag=True, help="UNSAFE: keyless without a transparency log; a timestamp must prove the time."),
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
        keys = [_key_entry(flags, path, index) for index, path in enumerate(flags.key, start=1)]
        entries += keys
        requirements.append(_signed(keys))
    elif flags.require_tlog:
        raise MisuseError(codes.USAGE, "--require-tlog goes with --key; keyless signatures always need a log")
    if flags.keyless:
        keyless = _keyless_entry(flags)
        entries.append(keyless)
        requirements.append(_signed([keyless]))
    elif flags.insecure_ignore_tlog or (flags.trusted_root and not flags.require_tlog):
        raise MisuseError(codes.USAGE, "--trusted-root and --insecure-ignore-tlog go with --certificate-identity and --certificate-oidc-issuer")
    require: Requirement = requirements[0] if len(requirements) == 1 else All(of=tuple(requirements))
    rule = Rule(name="trust flags", scopes=tuple(_scope(target) for target in targets), require=require)
    described = "\0".join(str(getattr(flags, name)) for name in flags.__struct_fields__)
    from verifier.model.digest import sha256

    return Policy(name="command line", digest=str(sha256(described.encode())), trust=tuple(entries), roots=_roots(flags, entries), rules=(rule,))


def _roots(flags: TrustFlags, entries: Sequence[TrustEntry]) -> tuple[RootEntry, ...]:
    """The root that the entries name: a file, or the public instance's."""
    names = {entry.root for entry in entries if entry.root is not None}
    if not names:
        return ()
    thresholds = Thresholds(tlog=0, timestamp=1) if flags.insecure_ignore_tlog else Thresholds()
    place = f"--trusted-root {flags.trusted_root}" if flags.trusted_root else "the built-in root"
    return (RootEntry(name=names.pop(), path=flags.trusted_root, thresholds=thresholds, place=place),)


def _key_entry(flags: TrustFlags, path: str, index: int) -> TrustEntry:
    """A key that somebody keeps is asked for now, before anything is verified; the decision names its digest (ADR 9)."""
    from verifier.signers.keyref import is_remote, public_key
    from verifier.signers.public import public_pem

    root = _root_name(flags) if flags.require_tlog else None
    inline = public_pem(public_key(path, key_access(path))).decode() if is_remote(path) else None
    entry = TrustEntry(name=f"key-{index}", kind=TrustKind.KEY, path=path, place=f"--key {path}", root=root, tlog_required=flags.require_tlog)
    return entry if inline is None else replace(entry, path=None, inline=inline)


def _root_name(flags: TrustFlags) -> str:
    return _ROOT if flags.trusted_root else PUBLIC_GOOD


def _keyless_entry(flags: TrustFlags) -> TrustEntry:
    """Identity and issuer come in pairs (semantics 36)."""
    from verifier.policy.identity import How, Identity, Pattern, compiles, glob_or_exact, own_repository, san_type

    written, regexp = flags.certificate_identity, flags.certificate_identity_regexp
    if (written is None) == (regexp is None) or not flags.certificate_oidc_issuer:
        raise MisuseError(
            codes.USAGE, "a keyless signer is named by --certificate-identity (or --certificate-identity-regexp) and --certificate-oidc-issuer together"
        )
    if regexp is not None and (problem := compiles(regexp)) is not None:
        raise MisuseError(codes.USAGE, problem)
    text = written or regexp or ""
    kind = san_type(text)
    if kind is None or not text.strip("*/@"):
        raise MisuseError(codes.USAGE, f"{text[:80]!r} is neither a URL nor an e-mail address; other identities need a policy file")
    pattern = Pattern(How.REGEXP, regexp) if regexp is not None else glob_or_exact(text)
    issuer = flags.certificate_oidc_issuer
    repository = flags.certificate_source_repository or own_repository(issuer, text)
    if repository is None and repository_host(issuer) is not None:
        raise MisuseError(codes.USAGE, "say --certificate-source-repository: a reusable workflow's identity is shared by all who call it")
    identity = Identity(issuer=issuer, san=pattern, san_type=kind, source_repository=repository)
    return TrustEntry(name="identity", kind=TrustKind.KEYLESS, identity=identity, root=_root_name(flags), place="--certificate-identity")


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
