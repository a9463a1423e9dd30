"""`verifier record`."""

from __future__ import annotations

from pathlib import Path

import click

from verifier.cli.options import Network, command_context, context_options, decision_options, echo, network_options, read_reference, warn_unsafe
from verifier.cli.trust import TrustFlags, trust_options
from verifier.cli.verify import exit_code
from verifier.model.context import Request
from verifier.operations.gather import EvidenceFiles
from verifier.operations.recording import write_recording
from verifier.operations.verification import examine_all, judge
from verifier.report.codec import encode
from verifier.report.text import explain


@click.command()
@click.argument("target")
@click.option("-d", "--destination", required=True, type=click.Path(file_okay=False), help="A new directory for the recording.")
@trust_options
@context_options
@click.option("--prov", multiple=True, help="Take this .prov file as evidence.")
@click.option("--bundle", multiple=True, help="Take this sigstore bundle as evidence.")
@click.option("--as", "standing_for", metavar="REFERENCE", help="Judge a local chart as if it came from REFERENCE.")
@network_options
def record(target: str, destination: str, trust: TrustFlags, network: Network, standing_for: str | None, **rest: tuple[str, ...] | str | None) -> int:
    """Decide about TARGET as `verifier verify` does, and keep everything that the decision needed in a new directory.

    The directory is an OCI image layout: the chart, all evidence, what could not be read, the policy and its keys. `verifier policy replay`
    judges it again; cases of `verifier policy test` may name it. Exit codes: as `verifier verify`.
    """
    reference = read_reference(target, standing_for)
    loaded = trust.load([reference], network)
    unsafe = network.unsafe + trust.unsafe
    warn_unsafe(unsafe)
    files = EvidenceFiles(provenance=tuple(rest.pop("prov") or ()), bundles=tuple(rest.pop("bundle") or ()))
    request = Request(reference=reference, context=command_context(**rest))  # type: ignore[arg-type]
    options = decision_options(unsafe, files)
    with network.connected() as connections:
        examined = examine_all(request, loaded, connections, options)
    decision = judge(request, examined, loaded, options)
    digest = write_recording(Path(destination), decision, encode(decision), examined, loaded)
    echo(explain(decision, quiet=True))
    echo(f"  kept    {destination} {digest}")
    return exit_code(decision)
