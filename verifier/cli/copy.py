"""`verifier copy` and `verifier bundle`: promotion between registries, and over an air gap."""

from __future__ import annotations

from pathlib import Path

import click
from msgspec.structs import replace

from verifier.cli.options import Network, command_context, context_options, decision_options, echo, network_options, read_reference, warn_unsafe
from verifier.cli.trust import TrustFlags, asking, trust_options
from verifier.cli.verify import exit_code
from verifier.model import codes
from verifier.model.artifact import OciChart
from verifier.model.context import Context, Request
from verifier.model.decision import Decision
from verifier.model.digest import Digest
from verifier.model.errors import MisuseError
from verifier.model.reference import LayoutReference, Reference
from verifier.net.deadline import Deadline
from verifier.oci.source import Source
from verifier.operations.connections import Connections
from verifier.operations.copying import Copied
from verifier.operations.copying import copy as copy_chart
from verifier.operations.policies import LoadedPolicy
from verifier.operations.verification import speaks_of, verify
from verifier.report.text import explain, safe

_SECONDS = 600.0
Place = Reference | LayoutReference


@click.command()
@click.argument("source")
@click.argument("destination")
@trust_options
@click.option("--destination-policy", type=click.Path(), help="The policy of the other side; by default --policy, where it speaks of DESTINATION.")
@context_options
@network_options
def copy(source: str, destination: str, trust: TrustFlags, network: Network, destination_policy: str | None, **context: str | None) -> int:
    """Copy the chart SOURCE with everything that is attached to it to DESTINATION, byte for byte, if the policy allows it.

    Both are oci://HOST/PATH/NAME[:TAG] or oci-layout://DIR[:TAG]; DESTINATION takes the tag of SOURCE where it has none. The copy is verified under the
    destination's policy before it gets its tag: signatures that name the origin need `origins:` in the rule. A tag is never moved.
    """
    here, there = _place(source), _place(destination)
    asked = command_context(**context)
    with asking(here, trust, network) as (loaded, connections):
        other = replace(trust, policy=destination_policy).load([there], network) if destination_policy else loaded
        decision = verify(Request(reference=here, context=asked), loaded, connections, decision_options(network.unsafe + trust.unsafe))
        if not decision.allowed or not isinstance(decision.artifact, OciChart):
            echo(explain(decision, quiet=True), err=True)
            return exit_code(decision)
        deadline = Deadline.after(_SECONDS)
        return _copy(connections.source(here, deadline), decision.artifact.reference.digest, _tagged(there, here), (other, asked, network), connections)


@click.group()
def bundle() -> None:
    """One file with a chart, its evidence, the policy and its keys: made here, verified and loaded where there is no network."""


@bundle.command()
@click.argument("reference")
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="The file to write (a tar of an OCI image layout).")
@trust_options
@context_options
@network_options
def create(reference: str, output: str, trust: TrustFlags, network: Network, **context: str | None) -> int:
    """Put the chart REFERENCE, if the policy allows it, with all that is attached to it and the policy itself, into one file."""
    from verifier.operations.bundles import create_bundle

    here = read_reference(reference)
    if not isinstance(here, Reference) or here.tag is None:
        raise MisuseError(codes.REFERENCE_INVALID, "a bundle is made of a chart in a registry, by its tag", where=reference[:200])
    with asking(here, trust, network) as (loaded, connections):
        decision = verify(Request(reference=here, context=command_context(**context)), loaded, connections, decision_options(network.unsafe + trust.unsafe))
        if not decision.allowed or not isinstance(decision.artifact, OciChart):
            echo(explain(decision, quiet=True), err=True)
            return exit_code(decision)
        source = connections.source(here, Deadline.after(_SECONDS))
        chart = source.manifest(decision.artifact.reference.digest)
        evidence, policy = create_bundle(source, chart, replace(here, digest=None), loaded, Path(output))
    echo(f"written    {output}")
    echo(f"chart      {safe(str(here))}")
    echo(f"digest     {chart.digest}")
    echo(f"evidence   {evidence} attached")
    echo(f"policy     {policy if policy is not None else 'none; trust flags are not kept'}")
    return 0


@bundle.command("verify")
@click.argument("file", type=click.Path(dir_okay=False))
@trust_options
@click.option("--own-policy", metavar="DIGEST", help="Verify under the bundle's own policy, if it has this digest.")
@context_options
@network_options
def verify_bundle(file: str, trust: TrustFlags, network: Network, own_policy: str | None, **context: str | None) -> int:
    """Decide about the chart in FILE, without any network, under a policy of this place or one whose digest is known."""
    from verifier.operations.bundles import opened

    with opened(Path(file)) as found, network.connected() as connections:
        loaded = _policy(found.policy, found.policy_digest, trust, own_policy, (found.reference, network))
        warn_unsafe(network.unsafe + trust.unsafe)
        request = Request(reference=found.reference, context=command_context(**context))
        decision = verify(request, loaded, connections, decision_options(network.unsafe + trust.unsafe))
    echo(explain(decision).replace(str(found.layout.root), file))
    return exit_code(decision)


@bundle.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.argument("destination")
@trust_options
@click.option("--own-policy", metavar="DIGEST", help="Verify under the bundle's own policy, if it has this digest.")
@click.option("--destination-policy", type=click.Path(), help="The policy of the registry here; by default --policy, where it speaks of DESTINATION.")
@context_options
@network_options
def load(
    file: str, destination: str, trust: TrustFlags, network: Network, own_policy: str | None, destination_policy: str | None, **context: str | None
) -> int:
    """Verify the chart in FILE, and copy it with all its evidence to DESTINATION (oci://HOST/PATH/NAME[:TAG])."""
    from verifier.operations.bundles import opened

    there, asked = _place(destination), command_context(**context)
    with opened(Path(file)) as found, network.connected() as connections:
        loaded = _policy(found.policy, found.policy_digest, trust, own_policy, (found.reference, network))
        warn_unsafe(network.unsafe + trust.unsafe)
        other = replace(trust, policy=destination_policy).load([there], network) if destination_policy else loaded
        request = Request(reference=found.reference, context=asked)
        decision = verify(request, loaded, connections, decision_options(network.unsafe + trust.unsafe))
        if not decision.allowed:
            echo(explain(decision, quiet=True).replace(str(found.layout.root), file), err=True)
            return exit_code(decision)
        return _copy(found.layout, found.digest, _tagged(there, found.origin), (other, asked, network), connections)


def _policy(own: LoadedPolicy | None, digest: Digest | None, trust: TrustFlags, wanted: str | None, where: tuple[LayoutReference, Network]) -> LoadedPolicy:
    """A policy of this place; the bundle's own only by its digest, since whoever wrote the bundle chose it."""
    if wanted is None:
        try:
            return trust.load([where[0]], where[1])
        except MisuseError as error:
            if error.code is codes.NO_POLICY and digest is not None:
                raise MisuseError(codes.BUNDLE_POLICY, f"the bundle brings a policy ({digest}), which vouches for itself") from error
            raise
    if trust.given or trust.policy:
        raise MisuseError(codes.USAGE, "give --own-policy, or a policy or trust flags of your own, not both")
    if own is None or str(digest) != wanted:
        raise MisuseError(codes.BUNDLE_POLICY, f"the bundle's own policy is {digest or 'not there'}, {wanted[:80]} was asked for")
    return own


def _copy(source: Source, digest: Digest, there: Place, judged: tuple[LoadedPolicy, Context, Network], connections: Connections) -> int:
    loaded, context, network = judged

    def decide(copied: Digest) -> Decision | None:
        request = Request(reference=replace(there, tag=None, digest=copied), context=context)
        return verify(request, loaded, connections, decision_options(network.unsafe)) if speaks_of(loaded, request) else None

    target = connections.target(there, Deadline.after(_SECONDS))
    copied = copy_chart(source, source.manifest(digest), target, there.tag or "", decide)
    if copied.decision is not None and not copied.decision.allowed:
        echo(explain(copied.decision, quiet=True), err=True)
        echo(f"verifier: the copy lies there as {digest} and has no tag", err=True)
        return exit_code(copied.decision)
    _tell(copied, there)
    return 0


def _tell(copied: Copied, there: Place) -> None:
    echo(f"{'unchanged' if copied.existed else 'copied':<11}{safe(str(there))}")
    echo(f"digest     {copied.digest}")
    echo(f"evidence   {copied.evidence} attached, {copied.manifests} manifests pushed")
    for warning in copied.decision.warnings if copied.decision is not None else ():
        echo(f"verifier: {safe(warning)}", err=True)
    judged = f"under the policy {safe(copied.decision.policy.name)}" if copied.decision is not None else "NOT at the destination: no policy speaks of it"
    echo(f"verified   {judged}")


def _place(text: str) -> Place:
    reference = read_reference(text)
    if not isinstance(reference, Reference | LayoutReference):
        raise MisuseError(codes.REFERENCE_INVALID, "expected oci://HOST/PATH/NAME[:TAG] or oci-layout://DIR[:TAG]", where=text[:200])
    return reference


def _tagged(there: Place, here: Place) -> Place:
    """The destination under its own tag or that of the source; a digest there would be a wish."""
    if there.digest is not None:
        raise MisuseError(codes.REFERENCE_INVALID, "the destination takes a tag; the digest is that of the source", where=there.written[:200])
    if there.tag is None and here.tag is None:
        raise MisuseError(codes.REFERENCE_INVALID, "say the tag at the destination", where=there.written[:200])
    return there if there.tag is not None else replace(there, tag=here.tag)
