"""`verifier registry collect`, `backup` and `verify-storage`: the embedded registry's disk, while it serves."""

from __future__ import annotations

from pathlib import Path

import click

from verifier.cli.options import echo
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.report.text import safe

_root = click.option("--root", required=True, type=click.Path(file_okay=False, exists=True), help="The directory that holds the repositories.")


@click.command()
@_root
@click.option("--untagged", is_flag=True, help="Also manifests without a tag that nothing which has one names or is their subject.")
@click.option("--yes", is_flag=True, help="Delete. Without it only what would go is said.")
def collect(root: str, untagged: bool, yes: bool) -> None:
    """Free what nobody needs in the embedded registry's storage; it may be serving. Signatures stay as long as their chart.

    What is younger than an hour stays.
    """
    from verifier.registry.store import RegistryStore
    from verifier.registry.upkeep import collect as run

    freed = 0
    for found in run(RegistryStore(Path(root)), untagged=untagged, dry_run=not yes):
        freed += found.freed
        if found.manifests or found.blobs:
            echo(f"{safe(found.repository)}: {len(found.manifests)} manifests, {len(found.blobs)} blobs, {found.freed} bytes")
    echo(f"{'freed' if yes else 'would free'} {freed} bytes")


@click.command()
@_root
@click.argument("target", type=click.Path(dir_okay=False))
def backup(root: str, target: str) -> None:
    """Copy all repositories of the embedded registry into a tar, as they are at one moment; it may be serving.

    Unpacked into an empty directory the tar is a storage again.
    """
    from verifier.registry.store import RegistryStore
    from verifier.registry.upkeep import back_up

    if Path(target).exists():
        raise MisuseError(codes.WRITE_FAILED, "there is a file already, and it is not overwritten", where=target)
    repositories, blobs = back_up(RegistryStore(Path(root)), Path(target))
    echo(f"wrote     {target}: {repositories} repositories, {blobs} blobs")


@click.command("verify-storage")
@_root
def verify_storage(root: str) -> int:
    """Read everything that the embedded registry stores and compare it with its digests."""
    from verifier.registry.store import RegistryStore
    from verifier.registry.upkeep import check

    wrong = list(check(RegistryStore(Path(root))))
    for line in wrong:
        echo(safe(line))
    echo(f"{len(wrong)} wrong" if wrong else "all is as its digests say")
    return 1 if wrong else 0
