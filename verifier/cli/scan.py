"""`verifier scan`: what is installed in a cluster now, under a policy."""

from __future__ import annotations

import json
import os
from contextlib import closing
from typing import Any

import click

from verifier.cli.options import Network, decision_options, echo, network_options, warn_unsafe
from verifier.cli.verify import EXIT, worst
from verifier.model.context import Context, Request
from verifier.model.decision import Outcome
from verifier.operations.scanning import RESOURCES, Scanned, once, scan
from verifier.operations.verdict import Finding, Judged, World
from verifier.report.text import safe

_SECONDS = 30.0


@click.command("scan")
@click.option("--policy", type=click.Path(), help="The policy to hold what is installed to (or VERIFIER_POLICY).")
@click.option("-n", "--namespace", "namespaces", multiple=True, metavar="NAMESPACE", help="Only this namespace; may be repeated.")
@click.option("--environment", envvar="VERIFIER_ENVIRONMENT", help="The environment that rules may select on (or VERIFIER_ENVIRONMENT).")
@click.option("--cluster", envvar="VERIFIER_CLUSTER", help="The cluster that rules may select on (or VERIFIER_CLUSTER).")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@network_options
def scan_cluster(policy: str | None, namespaces: tuple[str, ...], environment: str | None, cluster: str | None, output: str, network: Network) -> int:
    """Say of everything that is installed in a cluster whether the policy would let it in: Helm's releases, and the objects of every installer.

    The cluster is that of KUBECONFIG, or the one around us; nothing in it is changed. Exit codes: 0 all of it, 1 something would be denied, 2 misuse,
    3 something could not be told.
    """
    from verifier.cli.helm import configured_policy
    from verifier.kube.cluster import connect
    from verifier.operations.records import fingerprint_for
    from verifier.operations.verification import verify

    loaded = configured_policy(network, policy)
    warn_unsafe(network.unsafe)
    with closing(connect(os.environ, _SECONDS, RESOURCES)) as there, network.connected() as connections:
        options = decision_options(network.unsafe)

        def decide(reference: Any, context: Context) -> Judged:
            decision = verify(Request(reference=reference, context=context), loaded, connections, options)
            return Judged(decision=decision, fingerprint=fingerprint_for(decision))

        own = Context(environment=environment, cluster=cluster, asserted_by="command-line")
        world = World(decide=once(decide), policy=loaded.policy, context=own, cluster=there)
        found = list(scan(there, world, frozenset(namespaces)))
    _print(found, output)
    return worst({EXIT[item.verdict.outcome] for item in found} | {0})


def _print(found: list[Scanned], output: str) -> None:
    if output == "json":
        items = [
            {"object": item.what, "outcome": item.verdict.outcome.value, "findings": [_value(finding) for finding in item.verdict.findings]} for item in found
        ]
        echo(json.dumps({"apiVersion": "verifier/v1", "kind": "ScanReport", "items": items}, indent=2, ensure_ascii=True))
        return
    for item in sorted(found, key=lambda item: (item.verdict.outcome is Outcome.ALLOWED, item.what)):
        echo(f"{item.verdict.outcome.value.upper():<13}{safe(item.what)}")
        for finding in item.verdict.findings:
            echo(f"    {safe(finding.place)}: {safe(finding.reason)}{f' [{finding.code.name}]' if finding.code is not None else ''}")
    denied = sum(item.verdict.outcome is Outcome.DENIED for item in found)
    unknown = sum(item.verdict.outcome is Outcome.INCONCLUSIVE for item in found)
    echo(f"{len(found)} name charts: {len(found) - denied - unknown} would be let in, {denied} denied, {unknown} could not be told")


def _value(finding: Finding) -> dict[str, Any]:
    decision = finding.decision
    return {
        "place": finding.place,
        "outcome": finding.outcome.value,
        "code": finding.code.name if finding.code is not None else None,
        "reason": finding.reason,
        "reference": str(decision.request.reference) if decision is not None else None,
        "digest": str(decision.artifact.digests[0]) if decision is not None and decision.artifact is not None else None,
    }
