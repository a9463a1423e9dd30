"""What `verifier registry repair` prints: each thing that is known to be attached, and what became of it."""

from __future__ import annotations

from verifier.cli.options import Network, echo, warn_unsafe
from verifier.model import codes
from verifier.model.digest import Digest, parse_digest
from verifier.model.errors import MisuseError
from verifier.model.evidence import Kind
from verifier.model.reference import LayoutReference, Reference, parse, parse_oci
from verifier.net.deadline import Deadline
from verifier.oci.repository import Repository
from verifier.oci.source import Source
from verifier.operations.connections import Connections
from verifier.operations.repair import Entry, Known, State, repair
from verifier.report.text import safe

_SECONDS = 300.0
_WOULD = {State.ADDED: "to add", State.COMPLETED: "to complete", State.RESTORED: "to restore"}


def report_repair(target: str, referrers: tuple[str, ...], other: str | None, *, dry_run: bool, network: Network) -> int:
    """Repair, print, and say by the exit code whether all that is known is listed."""
    reference, given = parse_oci(target), tuple(_digest(text) for text in referrers)
    warn_unsafe(network.unsafe)
    with network.connected() as connections:
        deadline = Deadline.after(_SECONDS)
        place = Repository(connections.session, reference.registry, reference.repository, deadline)
        subject = _subject(place, reference)
        known = Known(journal=connections.session.journal, given=given, other=_source(other, connections, deadline))
        done = repair(place, subject, known, dry_run=dry_run)
    echo(f"oci://{place.where}@{subject}")
    echo(f"  list      {'by the registry itself (referrers API)' if done.kind is Kind.REFERRER else 'under the tag sha256-HEX'}")
    if done.replaced is not None:
        echo(f"  {'unread' if dry_run else 'replaced'}  {done.replaced}: it could not be read as a list")
    for entry in done.entries:
        _print(entry, dry_run)
    if not done.entries:
        echo("  nothing is known to be attached")
    return 0 if done.complete else 3


def _print(entry: Entry, dry_run: bool) -> None:
    word = _WOULD.get(entry.state, entry.state.value) if dry_run else entry.state.value
    kind = f" {safe(entry.descriptor.artifact_type)}" if entry.descriptor is not None and entry.descriptor.artifact_type else ""
    why = f": {safe(entry.reason)}" if entry.reason else ""
    echo(f"  {word:<9} {entry.digest}{kind} (by {safe(entry.source)}){why}")


def _subject(place: Repository, reference: Reference) -> Digest:
    if reference.digest is not None:
        return reference.digest
    if reference.tag is None:
        raise MisuseError(codes.REFERENCE_INVALID, "name the chart by its version or digest", where=reference.written)
    return place.resolve(reference.tag).digest


def _source(other: str | None, connections: Connections, deadline: Deadline) -> Source | None:
    if other is None:
        return None
    reference = parse(other)
    if not isinstance(reference, Reference | LayoutReference):
        raise MisuseError(codes.REFERENCE_INVALID, "expected oci://HOST/PATH/NAME or oci-layout://DIR", where=other)
    return connections.source(reference, deadline)


def _digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except ValueError as error:
        raise MisuseError(codes.REFERENCE_INVALID, str(error), where=text[:200]) from error
