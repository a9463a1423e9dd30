"""`verifier sign`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from verifier.cli.options import Network, echo, network_options
from verifier.model import codes
from verifier.model.errors import FailedError, MisuseError
from verifier.model.reference import FileReference, parse
from verifier.operations.resolve import read_local
from verifier.operations.signing import SignDigest, Signing, SignText
from verifier.settings import key_password

_PASSPHRASE_BYTES = 4096


@click.command()
@click.argument("target")
@click.option("--key", metavar="KEYREF", help="Sign with this private key: a PEM file, cosign's encrypted PEM, or env://NAME.")
@click.option("--openpgp-key", metavar="KEY", help="Sign with OpenPGP: a fingerprint or user id of your GnuPG home, a file, or env://NAME.")
@click.option("--chart", type=click.Path(dir_okay=False), help="With a tag: the archive that it must hold.")
@click.option("--passphrase-file", type=click.Path(dir_okay=False), help="The key's passphrase (first line), instead of VERIFIER_PASSWORD.")
@network_options
def sign(target: str, key: str | None, openpgp_key: str | None, chart: str | None, passphrase_file: str | None, network: Network) -> None:
    """Sign TARGET: a chart in a registry gets the signature attached, a .tgz gets it beside the file.

    A reference must carry a digest; a tag only together with --chart FILE, whose bytes the tag must hold.
    The passphrase comes from VERIFIER_PASSWORD (or COSIGN_PASSWORD), a file, or a prompt, never from the command line.
    """
    from verifier.operations.signing import sign_file, sign_reference

    if (key is None) == (openpgp_key is None):
        raise MisuseError(codes.USAGE, "give one key: --key KEYREF or --openpgp-key KEY")
    reference = parse(target)
    signing = Signing(sign_digest=key_signer(key, passphrase_file)) if key else Signing(sign_text=openpgp_signer(str(openpgp_key), passphrase_file))
    try:
        if isinstance(reference, FileReference):
            signed = sign_file(reference, signing)
        else:
            with network.connected(quiet=openpgp_key is not None) as connections:  # GnuPG may ask for a passphrase on this terminal
                signed = sign_reference(reference, signing, connections, chart=Path(chart) if chart else None)
    except FailedError as error:
        raise MisuseError(codes.CHART_INVALID, f"{error.reason} ({error.code.name})", where=error.where) from error
    echo(f"signed     {signed.target}")
    echo(f"digest     {signed.digest}")
    echo(f"signature  {signed.signature} ({signed.media_type})")


def key_signer(keyref: str, passphrase_file: str | None) -> SignDigest:
    """A function that signs digests with a key pair."""
    from verifier.schemes.sigstore.sign import sign_digest
    from verifier.signers.key import is_encrypted, parse_signing_key, read_keyref

    data = read_keyref(keyref)
    signing_key = parse_signing_key(data, _password(passphrase_file, keyref, ask=is_encrypted(data)), where=keyref)
    return lambda digest, name: sign_digest(digest, signing_key, name=name)


def openpgp_signer(keyref: str, passphrase_file: str | None) -> SignText:
    """A function that clear-signs text."""
    from verifier.schemes.openpgp.sign import load_openpgp_key, sign_text

    key = load_openpgp_key(keyref)
    password = _password(passphrase_file, keyref, ask=False)
    signer: Callable[[str], bytes] = lambda text: sign_text(text, key, passphrase=password.decode() if password is not None else None)  # noqa: E731
    return signer


def _password(path: str | None, what: str, *, ask: bool) -> bytes | None:
    if path is not None:
        return (read_local(Path(path), _PASSPHRASE_BYTES).splitlines() or [b""])[0]
    given = key_password(os.environ)
    if given is None and ask and sys.stdin.isatty():
        answer: str = click.prompt(f"Passphrase for {what}", hide_input=True, default="", show_default=False, err=True)
        return answer.encode()
    return given
