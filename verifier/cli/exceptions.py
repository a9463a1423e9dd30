"""`verifier policy exceptions` and `verifier policy grant`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from verifier.cli.options import echo
from verifier.model import limits
from verifier.report.text import safe
from verifier.settings import load_settings


@click.command()
@click.argument("recordings", nargs=-1, type=click.Path(file_okay=False))
@click.option("--policy", "path", required=True, type=click.Path())
def exceptions(recordings: tuple[str, ...], path: str) -> int:
    """List a policy's exceptions with what is left of them, and say what breaks when they end.

    RECORDINGS are directories that `verifier record` wrote: each is judged now, and again at the end of each exception that it rests on.
    """
    from verifier.operations.expiry import report_exceptions
    from verifier.operations.policies import load
    from verifier.operations.recording import read_recording

    loaded = load(Path(path), load_settings(os.environ).roots)
    kept = {name: read_recording(Path(name)) for name in recordings}
    if not loaded.policy.exceptions:
        echo("the policy has no exceptions")
    for line in report_exceptions(loaded, kept):
        echo(safe(line))
    return 0


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--key", required=True, metavar="KEYREF", help="Sign with this key, which the policy names under `exceptions: {by}`.")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="Write the signed exception here.")
def grant(file: str, key: str, output: str) -> int:
    """Sign an exception: FILE says what is let pass for which chart, by whom, why and until when (kind: Exception)."""
    from verifier.cli.sign import signing_key
    from verifier.operations.exceptions import sign_exception
    from verifier.operations.resolve import read_local
    from verifier.operations.signing import write_new

    signed = sign_exception(read_local(Path(file), limits.POLICY_BYTES), signing_key(key, None), where=file)
    write_new(Path(output), signed)
    echo(f"granted    {output}")
    return 0
