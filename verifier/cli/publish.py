"""`verifier package` and `verifier push`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from verifier.cli.options import Network, echo, network_options
from verifier.model import codes
from verifier.model.errors import FailedError, MisuseError


@click.command()
@click.argument("chart", type=click.Path(file_okay=False))
@click.option("-d", "--destination", default=".", show_default=True, type=click.Path(file_okay=False), help="Where to write the archive.")
@click.option("--openpgp-key", metavar="KEY", help="Also write NAME-VERSION.tgz.prov, signed by this key (see `verifier sign`).")
@click.option("--passphrase-file", type=click.Path(dir_okay=False), help="The key's passphrase (first line), instead of VERIFIER_PASSWORD.")
def package(chart: str, destination: str, openpgp_key: str | None, passphrase_file: str | None) -> None:
    """Package the directory CHART into NAME-VERSION.tgz, byte for byte the same every time.

    Honours .helmignore and SOURCE_DATE_EPOCH. With --openpgp-key nothing is written unless the signature could be made.
    """
    from verifier.charts.packaging import DEFAULT_EPOCH, package_directory
    from verifier.operations.signing import write_new

    archive, data = package_directory(Path(chart), epoch=source_date_epoch(DEFAULT_EPOCH))
    path = Path(destination) / f"{archive.facts.label}.tgz"
    signed = None
    if openpgp_key is not None:
        from verifier.charts.provenance import write_provenance
        from verifier.cli.sign import openpgp_signer

        signed = openpgp_signer(openpgp_key, passphrase_file)(write_provenance(archive.facts, archive.digest))
    Path(destination).mkdir(parents=True, exist_ok=True)
    write_new(path, data)
    echo(f"packaged  {path}")
    echo(f"digest    {archive.digest}")
    if signed is not None:
        write_new(path.with_name(f"{path.name}.prov"), signed)
        echo(f"signed    {path}.prov")


@click.command()
@click.argument("archive", type=click.Path(dir_okay=False))
@click.argument("base", metavar="OCI_BASE")
@network_options
def push(archive: str, base: str, network: Network) -> None:
    """Push ARCHIVE (a .tgz, with the .prov beside it) to OCI_BASE, as `helm push` does.

    OCI_BASE is oci://HOST/PATH or oci-layout://DIR; the chart's name and version are added. A published version with other
    content is never replaced.
    """
    from verifier.operations.push import push as push_chart

    try:
        with network.connected() as connections:
            pushed = push_chart(Path(archive), base, connections)
    except FailedError as error:
        raise MisuseError(codes.CHART_INVALID, f"{error.reason} ({error.code.name})", where=error.where) from error
    echo(f"{'there already' if pushed.existed else 'pushed'}  {pushed.reference}")
    echo(f"digest  {pushed.digest}")


def source_date_epoch(default: int) -> int:
    """SOURCE_DATE_EPOCH, or the default; raises MisuseError `usage`."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or int(text) > 0o77777777777:
        raise MisuseError(codes.USAGE, f"SOURCE_DATE_EPOCH is {text[:40]!r}, expected seconds since 1970")
    return int(text)
