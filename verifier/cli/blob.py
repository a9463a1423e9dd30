"""`verifier verify-blob`."""

from __future__ import annotations

from pathlib import Path

import click

from verifier.cli.main import report_error
from verifier.cli.options import echo, warn_unsafe
from verifier.cli.trust import TrustFlags, trust_options
from verifier.model import codes, limits
from verifier.model.digest import parse_digest
from verifier.model.errors import FailedError, MisuseError
from verifier.report.text import safe
from verifier.schemes.sigstore.recipe import Signed


@click.command("verify-blob")
@click.argument("blob", metavar="FILE_OR_DIGEST")
@click.option("--bundle", required=True, type=click.Path(dir_okay=False), help="The sigstore bundle (.sigstore.json).")
@trust_options
def verify_blob(blob: str, bundle: str, trust: TrustFlags) -> int:
    """Verify one sigstore bundle over FILE_OR_DIGEST (a file, or sha256:HEX): the recipe and nothing else.

    No registry and no policy file: the trust flags say who is meant. Exit codes: 0 accepted, 1 not, 2 misuse.
    """
    from verifier.operations.blob import verify_blob as verify
    from verifier.operations.resolve import read_local

    if trust.policy is not None or not trust.given:
        raise MisuseError(codes.USAGE, "name the signer with --key, or with --certificate-identity and --certificate-oidc-issuer")
    warn_unsafe(trust.unsafe)
    signed = _signed(blob)
    try:
        found = verify(signed, read_local(Path(bundle), limits.EVIDENCE_BYTES), trust.load([]), bundle)
    except FailedError as error:
        report_error(error)
        return 1
    echo(f"verified   {safe(blob)}")
    echo(f"signer     {safe(str(found.claim.signer))}")
    echo(f"statement  {safe(found.predicate_type) if found.predicate_type else 'none, a plain signature'}")
    for time in found.claim.times:
        echo(f"signed at  {time.at:%Y-%m-%d %H:%M:%S}Z by the {time.clock.value}'s clock")
    return 0


def _signed(blob: str) -> Signed:
    if blob.startswith("sha256:"):
        try:
            return Signed(sha256=bytes.fromhex(parse_digest(blob).hex))
        except ValueError as error:
            raise MisuseError(codes.USAGE, str(error)) from error
    from verifier.operations.resolve import read_local

    return Signed.of(read_local(Path(blob), limits.BLOB_BYTES))
