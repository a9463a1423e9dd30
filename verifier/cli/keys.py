"""`verifier keys generate` and `verifier keys show`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from verifier.cli.access import key_access
from verifier.cli.options import echo
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.report.text import safe
from verifier.settings import key_password


@click.group()
def keys() -> None:
    """Make a key pair, or say what a trust file holds."""


@keys.command()
@click.option("--output", default="verifier", show_default=True, metavar="PREFIX", help="Write PREFIX.key and PREFIX.pub.")
def generate(output: str) -> None:
    """Make an ECDSA P-256 key pair in cosign's format.

    The private key is encrypted with VERIFIER_PASSWORD (or COSIGN_PASSWORD), or with what you type; an existing file is
    never overwritten.
    """
    from verifier.operations.keys import describe_keys, generate_pair

    private, public = generate_pair(Path(output), _new_password())
    echo(f"private key  {private} (keep it secret; cosign reads it too)")
    echo(f"public key   {public}")
    echo(f"key id       {describe_keys(public)[0].name}")


@keys.command("show")
@click.argument("keyref")
@click.option("--pem", is_flag=True, help="Print the public half of a key pair alone, as PEM: what a policy's `file:` holds.")
@click.option("--passphrase-file", type=click.Path(dir_okay=False), help="With --pem and a private key: its passphrase or PIN (first line).")
def show_keys(keyref: str, pem: bool, passphrase_file: str | None) -> None:
    """Say what KEYREF names: kind, fingerprint or key id, and what else is worth knowing.

    KEYREF is a trust file (public keys, OpenPGP keyrings) or a key that somebody keeps: awskms://, gcpkms://, azurekms://,
    hashivault://, pkcs11: or k8s://NAMESPACE/SECRET.
    """
    from verifier.operations.keys import describe_key, describe_keys
    from verifier.signers.keyref import is_remote, public_key
    from verifier.signers.public import public_pem

    key = public_key(keyref, key_access(keyref, passphrase_file)) if pem or is_remote(keyref) else None
    if pem and key is not None:
        echo(public_pem(key).decode().rstrip())
        return
    for line in [describe_key(key)] if key is not None else describe_keys(Path(keyref)):
        echo(f"{line.kind}  {line.name}  {safe(line.detail)}")


def _new_password() -> bytes:
    given = key_password(os.environ)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise MisuseError(codes.USAGE, "no passphrase: set VERIFIER_PASSWORD (it may be empty)")
    answer: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, default="", show_default=False, err=True)
    return answer.encode()
