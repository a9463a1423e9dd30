"""`verifier inspect`, `verifier pull` and `verifier show`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from verifier.charts.archive import read_archive
from verifier.cli.options import Network, command_context, context_options, decision_options, echo, network_options, read_reference, use_colour
from verifier.cli.trust import TrustFlags, asking, trust_options
from verifier.cli.verify import exit_code
from verifier.model.artifact import OciImage
from verifier.model.context import Request
from verifier.model.decision import Decision
from verifier.operations.verification import Options
from verifier.report.text import describe_claim, describe_rejection, explain, safe


@click.command()
@click.argument("target")
@trust_options
@network_options
def inspect(target: str, trust: TrustFlags, network: Network) -> int:
    """Show everything that is attached to TARGET, each with its state: verified, present, absent or unknown.

    Without a policy or trust flags nothing is verified, and what is found is called present. Nothing is judged: use
    `verifier verify` for a decision.
    """
    from verifier.operations.inspect import inspect as look
    from verifier.trust.anchors import TrustMaterial

    reference = read_reference(target)
    material = trust.load([reference], network).trust if trust.given or trust.policy else TrustMaterial()
    with network.connected() as connections:
        found = look(reference, material, connections, Options())
    echo(safe(str(reference)))
    if found.artifact is not None:
        if not isinstance(found.artifact, OciImage):
            echo(f"  chart     {safe(found.artifact.facts.label)}")
        for digest in found.artifact.digests:
            echo(f"  digest    {digest}")
    for claim in found.verified:
        echo(f"  verified  {describe_claim(claim)}")
    for rejection in found.present:
        echo(f"  present   {describe_rejection(rejection)}")
    for gap in found.unknown:
        echo(f"  unknown   {safe(gap.where)}: {safe(gap.reason)} [{gap.code.name}]")
    if found.artifact is not None and not (found.verified or found.present or found.unknown):
        echo("  absent    no signature is attached")
    return 0 if found.artifact is not None else (3 if found.unknown else 1)


@click.command()
@click.argument("target")
@trust_options
@context_options
@click.option("-d", "--destination", default=".", show_default=True, type=click.Path(file_okay=False), help="Where to write the chart.")
@network_options
def pull(target: str, trust: TrustFlags, network: Network, destination: str, **context: str | None) -> int:
    """Verify TARGET under a policy, then write exactly the bytes that were verified. Denied: nothing is written."""
    from verifier.operations.pull import pull as pull_chart

    reference = read_reference(target)
    with asking(reference, trust, network) as (loaded, connections):
        request = Request(reference=reference, context=command_context(**context))
        Path(destination).mkdir(parents=True, exist_ok=True)
        pulled = pull_chart(request, loaded, connections, decision_options(network.unsafe + trust.unsafe), Path(destination))
    if pulled.path is None:
        echo(explain(pulled.decision, colour=False), err=True)
    else:
        echo(f"verified  {pulled.decision.request.reference}")
        echo(f"written   {pulled.path}")
    return exit_code(pulled.decision)


@click.command()
@click.argument("what", type=click.Choice(["chart", "values", "readme", "all"]))
@click.argument("target")
@trust_options
@context_options
@network_options
def show(what: str, target: str, trust: TrustFlags, network: Network, **context: str | None) -> int:
    """Show Chart.yaml, values.yaml, the README or all of a chart, on verified bytes only."""
    from verifier.operations.verification import verify

    reference = read_reference(target)
    with asking(reference, trust, network) as (loaded, connections):
        request = Request(reference=reference, context=command_context(**context))
        decision = verify(request, loaded, connections, decision_options(network.unsafe + trust.unsafe))
    if not decision.allowed or decision.artifact is None:
        echo(explain(decision, colour=use_colour(False)), err=True)
    else:
        sys.stdout.write(_chosen(decision, what))
    return exit_code(decision)


def _chosen(decision: Decision, what: str) -> str:
    assert decision.artifact is not None
    files = read_archive(decision.artifact.archive, where=str(decision.request.reference)).files
    readme = next((path for path in files if path.lower() in ("readme.md", "readme.txt", "readme")), "README.md")
    wanted = {"chart": ["Chart.yaml"], "values": ["values.yaml"], "readme": [readme], "all": ["Chart.yaml", "values.yaml", readme]}[what]
    parts = [files[path].decode("utf-8", "replace").rstrip("\n") for path in wanted if path in files]
    lines = "\n---\n".join(parts).split("\n")
    return "\n".join(safe(line.rstrip("\r").replace("\t", "    ")) for line in lines) + "\n"
