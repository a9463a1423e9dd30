"""`verifier keys generate`, `verifier keys show` and `verifier keys uses`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from verifier.cli.access import key_access
from verifier.cli.options import Network, echo, network_options
from verifier.cli.trust import TrustFlags, trust_options
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.model.reference import parse_oci
from verifier.report.text import safe
from verifier.settings import key_password


@click.group()
def keys() -> None:
    """Make a key pair, say what a trust file holds, or list what a key has signed."""


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


@keys.command()
@click.argument("repositories", nargs=-1, required=True)
@click.option("--deny", is_flag=True, help="Print the digests as entries for a policy's deny list.")
@trust_options
@network_options
def uses(repositories: tuple[str, ...], deny: bool, trust: TrustFlags, network: Network) -> int:
    """List what a signer has signed in REPOSITORIES (oci://HOST/PATH/NAME): for the day when a key is lost.

    The signer is named by trust flags: --key, --openpgp-keyring, or an identity. Every tag is looked at; what has no tag is not found.
    Exit codes: 0 everything was looked at, 2 misuse, 3 something could not be read.
    """
    from verifier.operations.key_uses import find_uses

    references = [parse_oci(written) for written in repositories]
    loaded = trust.load(references, network)
    with network.connected() as connections:
        found = find_uses(references, loaded, connections)
    if deny:
        echo("deny:")
        for digest in dict.fromkeys(use.digest for use in found.found):
            echo(f'  - {{digest: "{digest}", reason: signed with a key that was lost}}')
    for use in () if deny else found.found:
        when = f"{use.proven:%Y-%m-%d %H:%M}Z" if use.proven else "no proven time"
        echo(safe(f"{use.repository}@{use.digest}  {use.chart}  tags {', '.join(use.tags)}  {use.what}  {when}  {use.signer}"))
    for line in found.unknown:
        echo(f"unknown  {safe(line)}", err=deny)
    echo(f"{found.looked_at} charts looked at, {len({use.digest for use in found.found})} signed, {len(found.unknown)} unknown", err=True)
    return 3 if found.unknown else 0


def _new_password() -> bytes:
    given = key_password(os.environ)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise MisuseError(codes.USAGE, "no passphrase: set VERIFIER_PASSWORD (it may be empty)")
    answer: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, default="", show_default=False, err=True)
    return answer.encode()
