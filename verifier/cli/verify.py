"""`verifier verify`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from verifier.cli.main import report_error
from verifier.cli.options import Network, command_context, context_options, decision_options, echo, network_options, read_reference, use_colour, warn_unsafe
from verifier.cli.trust import TrustFlags, trust_options
from verifier.model import codes
from verifier.model.context import Request
from verifier.model.decision import Decision, Outcome
from verifier.model.errors import MisuseError, VerifierError
from verifier.model.reference import AnyReference
from verifier.operations.connections import Connections
from verifier.operations.gather import EvidenceFiles
from verifier.operations.verification import verify_all
from verifier.report.text import safe

if TYPE_CHECKING:
    from verifier.operations.signing import SignStatement

EXIT = {Outcome.ALLOWED: 0, Outcome.DENIED: 1, Outcome.INCONCLUSIVE: 3}
_WORST = (2, 1, 3, 0)


@click.command()
@click.argument("targets", nargs=-1)
@click.option("-f", "--file", "naming", multiple=True, type=click.Path(dir_okay=False), help="Verify every chart that FILE names.")
@trust_options
@context_options
@click.option("--prov", multiple=True, help="Take this .prov file as evidence.")
@click.option("--bundle", multiple=True, help="Take this sigstore bundle as evidence.")
@click.option("--as", "standing_for", metavar="REFERENCE", help="Judge a local chart as if it came from REFERENCE.")
@click.option("--attest-decision", metavar="KEYREF", help="Sign an allowed decision as a SLSA verification summary, and attach it.")
@click.option("--verifier-id", metavar="URI", help="With --attest-decision: who we are, as policies that accept the summary name us.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "sarif", "github"]), default="text", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Print the answer and its reason only.")
@click.option("--no-color", is_flag=True)
@network_options
def verify(
    targets: tuple[str, ...],
    naming: tuple[str, ...],
    trust: TrustFlags,
    network: Network,
    standing_for: str | None,
    output: str,
    quiet: bool,
    no_color: bool,
    **rest: tuple[str, ...] | str | None,
) -> int:
    """Decide whether TARGETS may be installed, and say why.

    A TARGET is oci://HOST/PATH/NAME:VERSION, ...@sha256:HEX, https://HOST/PATH/NAME:VERSION for a chart repository,
    oci-layout://DIR:TAG or a .tgz file. A FILE is a Chart.yaml with dependencies, a helmfile, a kustomization with
    helmCharts, objects of Argo CD or Flux, or a list of references.
    Exit codes: 0 allowed, 1 denied, 2 misuse, 3 inconclusive; of several, the worst.
    """
    named, failed = _named(naming)
    references = [read_reference(target, standing_for) for target in targets] + list(named)
    if not references and not failed:
        raise MisuseError(codes.USAGE, "give a TARGET, or a FILE that names charts: without one nothing would be verified")
    loaded = trust.load(references, network)
    context = command_context(*(rest[key] for key in ("environment", "cluster", "namespace")))  # type: ignore[arg-type]
    files = EvidenceFiles(provenance=tuple(rest["prov"] or ()), bundles=tuple(rest["bundle"] or ()))
    sign = _summary_signer(rest["attest_decision"], rest["verifier_id"])
    warn_unsafe(network.unsafe + trust.unsafe)
    requests = [Request(reference=reference, context=context) for reference in references]
    with network.connected(quiet=quiet) as connections:
        results = verify_all(requests, loaded, connections, decision_options(network.unsafe + trust.unsafe, files))
        decisions = [result for result in results if isinstance(result, Decision)]
        if sign is not None:
            _attach_summaries(decisions, str(rest["verifier_id"]), sign, connections)
    if named and output == "text":
        _tell_places(named)
    print_decisions(decisions, output, quiet=quiet, colour=use_colour(no_color), failed=failed)
    statuses = {EXIT[decision.outcome] for decision in decisions}
    statuses |= {report_error(result) for result in results if isinstance(result, MisuseError)}
    statuses |= {tell_error(error, output) for error in failed}
    return worst(statuses)


def _named(files: tuple[str, ...]) -> tuple[dict[AnyReference, tuple[str, ...]], list[VerifierError]]:
    """What the files name: references with their places, and what cannot be verified as it is named."""
    if not files:
        return {}, []
    from verifier.operations.named import read_uses, references_of

    return references_of(read_uses([Path(file) for file in files]))


def _tell_places(named: Mapping[AnyReference, tuple[str, ...]]) -> None:
    for reference, places in named.items():
        for place in places:
            echo(f"named   {safe(str(reference))} in {safe(place)}")


def worst(statuses: Collection[int]) -> int:
    """Of the exit codes of several things: 2 > 1 > 3 > 0 (semantics 34)."""
    return next(status for status in _WORST if status in statuses)


def tell_error(error: VerifierError, output: str) -> int:
    """As a line for a person, and for `github` as an annotation too; returns the exit code."""
    if output == "github":
        from verifier.report.ci import github_error

        echo(github_error(error))
    return report_error(error)


def _summary_signer(keyref: object, verifier_id: object) -> SignStatement | None:
    if keyref is None and verifier_id is None:
        return None
    if keyref is None or verifier_id is None or "://" not in str(verifier_id):
        raise MisuseError(codes.USAGE, "--attest-decision KEYREF and --verifier-id URI go together")
    from verifier.cli.sign import statement_signer

    return statement_signer(str(keyref))


def _attach_summaries(decisions: list[Decision], verifier_id: str, sign: SignStatement, connections: Connections) -> None:
    """On stderr, since stdout has the decisions."""
    from verifier.operations.summarize import attach_summary

    for decision in decisions:
        if decision.allowed:
            attached = attach_summary(decision, verifier_id, sign, connections)
            echo(f"verifier: summary attached to {safe(str(decision.request.reference))}: {attached}", err=True)


def print_decisions(decisions: list[Decision], output: str, *, quiet: bool, colour: bool, failed: Sequence[VerifierError] = ()) -> None:
    """In the form that was asked for; JSON prints one document and nothing else."""
    match output:
        case "json":
            from verifier.report.codec import encode

            encoded = [encode(decision) for decision in decisions]
            problems = [{"place": error.where, "code": error.code.name, "reason": error.reason} for error in failed]
            many = {"apiVersion": "verifier/v1", "kind": "DecisionList", "items": encoded, **({"problems": problems} if problems else {})}
            echo(json.dumps(encoded[0] if len(encoded) == 1 and not problems else many, indent=2, ensure_ascii=True))
        case "sarif":
            from verifier.report.ci import sarif

            echo(json.dumps(sarif(decisions, failed), indent=2))
        case "github":
            from verifier.report.ci import github_annotation

            for decision in decisions:
                echo(github_annotation(decision))
        case _:
            from verifier.report.text import explain

            for decision in decisions:
                echo(explain(decision, colour=colour, quiet=quiet))


def exit_code(decision: Decision) -> int:
    """The exit code of one decision."""
    return EXIT[decision.outcome]
