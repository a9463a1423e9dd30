"""`verifier sign` and `verifier attest`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from msgspec import Struct

from verifier.cli.access import key_access, read_passphrase
from verifier.cli.debug import request_observer
from verifier.cli.options import Network, echo, grouped, network_options
from verifier.model import codes
from verifier.model.errors import FailedError, MisuseError
from verifier.model.reference import ChartRepositoryReference, FileReference, parse
from verifier.operations.resolve import read_local
from verifier.operations.signing import Signing, SignStatement, SignText
from verifier.settings import load_settings
from verifier.signers import KINDS

if TYPE_CHECKING:
    from verifier.operations.roots import Root
    from verifier.signers.key import SigningKey

_F = TypeVar("_F", bound=Callable[..., Any])
_TOKEN_BYTES = 64 * 1024


class SigningFlags(Struct, frozen=True, kw_only=True):
    """How statements are to be signed: with a key, or keyless, or not at all."""

    key: str | None
    tlog_upload: bool
    keyless: bool
    identity_token_file: str | None
    trust_config: str | None
    passphrase_file: str | None


def signing_options(command: _F) -> _F:
    """Add the ways to sign a statement; the command gets them as `flags`."""
    return grouped(command, "flags", SigningFlags, _SIGSTORE)


_SIGSTORE = (
    click.option("--key", metavar="KEYREF", help=f"Sign with this private key: {KINDS}."),
    click.option("--tlog-upload", is_flag=True, help="With --key: have the instance's transparency log hold the signature."),
    click.option("--keyless", is_flag=True, help="Sign with a short-lived certificate for an identity token (Fulcio)."),
    click.option(
        "--identity-token-file", type=click.Path(dir_okay=False), help="The identity token, instead of SIGSTORE_ID_TOKEN, the CI's own, or a browser."
    ),
    click.option("--trust-config", type=click.Path(dir_okay=False), help="Another sigstore instance than the public one (ClientTrustConfig)."),
    click.option("--passphrase-file", type=click.Path(dir_okay=False), help="The key's passphrase or PIN (first line), instead of VERIFIER_PASSWORD."),
)


@click.command()
@click.argument("target")
@signing_options
@click.option("--openpgp-key", metavar="KEY", help="Sign with OpenPGP: a fingerprint or user id of your GnuPG home, a file, or env://NAME.")
@click.option("--legacy-signature", is_flag=True, help="Also write cosign's old .sig tag (podman, skopeo, older verifiers).")
@click.option("--chart", type=click.Path(dir_okay=False), help="With a tag: the archive that it must hold.")
@network_options
def sign(target: str, chart: str | None, network: Network, flags: SigningFlags, openpgp_key: str | None, legacy_signature: bool) -> None:
    """Sign TARGET: a chart in a registry gets the signature attached, a .tgz gets it beside the file.

    A reference must carry a digest; a tag only together with --chart FILE, whose bytes the tag must hold.
    With --keyless nothing is attached unless certificate, log entry and timestamps were all made and verify.
    The passphrase comes from VERIFIER_PASSWORD (or COSIGN_PASSWORD), a file, or a prompt, never from the command line.
    """
    from verifier.operations.signing import sign_file, sign_reference

    reference = parse(target)
    if isinstance(reference, ChartRepositoryReference):
        raise MisuseError(codes.USAGE, "a chart repository holds files: sign the .tgz, and upload what is written beside it, too", where=target)
    signing = signing_of(flags, openpgp_key, legacy=legacy_signature)
    try:
        if isinstance(reference, FileReference):
            signed = sign_file(reference, signing)
        else:
            with network.connected(quiet=signing.sign_text is not None) as connections:  # GnuPG may ask for a passphrase on this terminal
                signed = sign_reference(reference, signing, connections, chart=Path(chart) if chart else None)
    except FailedError as error:
        raise MisuseError(codes.CHART_INVALID, f"{error.reason} ({error.code.name})", where=error.where) from error
    echo(f"signed     {signed.target}")
    echo(f"digest     {signed.digest}")
    echo(f"signature  {signed.signature} ({signed.media_type})")
    if signed.legacy_tag is not None:
        echo(f"old form   {signed.legacy_tag}")


@click.command()
@click.argument("target")
@click.option("--type", "predicate_type", required=True, metavar="TYPE", help="slsaprovenance1, spdx, cyclonedx, openvex, vuln, vsa, custom ... or a URI.")
@click.option("--predicate", required=True, type=click.Path(dir_okay=False), help="What is attested: a JSON file.")
@signing_options
@click.option("--chart", type=click.Path(dir_okay=False), help="With a tag: the archive that it must hold.")
@network_options
def attest(target: str, predicate_type: str, predicate: str, chart: str | None, network: Network, flags: SigningFlags) -> None:
    """Sign a statement about the chart TARGET (provenance, an SBOM, VEX ...), and attach it.

    A reference must carry a digest; a tag only together with --chart FILE, whose bytes the tag must hold.
    """
    from verifier.operations.signing import attest_reference, read_predicate

    reference = parse(target)
    if isinstance(reference, FileReference | ChartRepositoryReference):
        raise MisuseError(codes.USAGE, "an attestation is attached to a chart in a registry or layout", where=target)
    said = read_predicate(predicate_type, Path(predicate))
    signing = signing_of(flags)
    try:
        with network.connected() as connections:
            signed = attest_reference(reference, said, signing, connections, chart=Path(chart) if chart else None)
    except FailedError as error:
        raise MisuseError(codes.CHART_INVALID, f"{error.reason} ({error.code.name})", where=error.where) from error
    echo(f"attested   {signed.target}")
    echo(f"digest     {signed.digest}")
    echo(f"statement  {signed.signature} ({said.type})")


def signing_of(flags: SigningFlags, openpgp_key: str | None = None, *, legacy: bool = False) -> Signing:
    """How to sign; exactly one of the three ways."""
    if sum((flags.key is not None, openpgp_key is not None, flags.keyless)) != 1:
        raise MisuseError(codes.USAGE, "give one way to sign: --key KEYREF, --openpgp-key KEY or --keyless")
    check_flags(flags)
    if legacy and (openpgp_key is not None or flags.tlog_upload):
        raise MisuseError(codes.USAGE, "--legacy-signature goes with --keyless, or with --key without --tlog-upload")
    if flags.key is not None:
        return key_signing(signing_key(flags.key, flags.passphrase_file), flags, legacy=legacy)
    if openpgp_key is not None:
        return Signing(sign_text=openpgp_signer(openpgp_key, flags.passphrase_file))
    from verifier.operations.signing import keyless_signing

    root = instance(flags.trust_config)
    return keyless_signing(identity_token(flags.identity_token_file, root), root, legacy=legacy)


def check_flags(flags: SigningFlags) -> None:
    """Raise MisuseError `usage` for flags that say nothing together."""
    if flags.key is not None and flags.keyless:
        raise MisuseError(codes.USAGE, "give --key KEYREF or --keyless, not both")
    if (flags.identity_token_file and not flags.keyless) or (flags.trust_config and not (flags.keyless or flags.tlog_upload)):
        raise MisuseError(codes.USAGE, "--identity-token-file goes with --keyless, --trust-config with --keyless or --tlog-upload")
    if flags.tlog_upload and flags.key is None:
        raise MisuseError(codes.USAGE, "--tlog-upload goes with --key; a keyless signature is always logged")


def key_signing(key: SigningKey, flags: SigningFlags, *, legacy: bool = False) -> Signing:
    """Signing with an open key, in a log or without."""
    return Signing(sign_statement=_logged(key, flags.trust_config)) if flags.tlog_upload else _key_signing(key, legacy=legacy)


def _logged(key: SigningKey, trust_config: str | None) -> SignStatement:
    from verifier.net.egress import Egress
    from verifier.net.proxy import read_proxies
    from verifier.net.transport import HttpTransport, TlsSettings
    from verifier.operations.signing import logged_signer

    egress, tls = Egress(allow_private=True, proxies=read_proxies(os.environ)), TlsSettings(ca_file=load_settings(os.environ).ca_file)
    transport = HttpTransport(egress=egress, tls=tls, observe=request_observer())
    return logged_signer(key, instance(trust_config), transport)


def instance(trust_config: str | None) -> Root:
    """The sigstore instance of a trust configuration, or the public one."""
    from verifier.operations.roots import newest_root, read_trust_config

    return read_trust_config(Path(trust_config)) if trust_config else newest_root(load_settings(os.environ).roots)


def identity_token(file: str | None, root: Root) -> str:
    """From a file, SIGSTORE_ID_TOKEN, the CI system, or a browser, in this order; never from the command line, where others can see it."""
    if file is not None:
        return read_local(Path(file), _TOKEN_BYTES).decode("ascii", "replace").strip()
    if os.environ.get("SIGSTORE_ID_TOKEN"):
        return os.environ["SIGSTORE_ID_TOKEN"]
    from verifier.schemes.sigstore.keyless import ambient_token, browser_token

    if (found := ambient_token()) is not None:
        return found
    if not sys.stdin.isatty():
        raise MisuseError(codes.TOKEN_INVALID, "no identity token: SIGSTORE_ID_TOKEN is not set, and this machine offers none")
    return browser_token(root.trust_config)


def _key_signing(key: SigningKey, *, legacy: bool) -> Signing:
    from verifier.schemes.sigstore.sign import sign_message, sign_statement

    return Signing(
        sign_statement=lambda statement: sign_statement(statement, key),
        sign_message=(lambda message: sign_message(message, key)) if legacy else None,
    )


def statement_signer(keyref: str) -> SignStatement:
    """A function that signs statements with a key; the passphrase comes from the environment or a prompt."""
    signing = _key_signing(signing_key(keyref, None), legacy=False)
    assert signing.sign_statement is not None
    return signing.sign_statement


def signing_key(keyref: str, passphrase_file: str | None) -> SigningKey:
    """A private key; the passphrase comes from a file, the environment or a prompt."""
    from verifier.signers.keyref import open_key

    return open_key(keyref, key_access(keyref, passphrase_file))


def openpgp_signer(keyref: str, passphrase_file: str | None, variable: str | None = None) -> SignText:
    """A function that clear-signs text; the passphrase comes from a file, `variable`, or as for any key."""
    from verifier.schemes.openpgp.sign import load_openpgp_key, sign_text

    key = load_openpgp_key(keyref)
    given = os.environ.get(variable) if variable is not None and passphrase_file is None else None
    password = given.encode() if given is not None else read_passphrase(passphrase_file, keyref, ask=False)
    signer: Callable[[str], bytes] = lambda text: sign_text(text, key, passphrase=password.decode() if password is not None else None)  # noqa: E731
    return signer
