"""What a signer has signed in given repositories: the list that one needs on the day when a key is lost.

Every tag is resolved, every chart behind one looked at, with all evidence in every place. What carries no tag any more is not found: a
registry lists tags and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from verifier.model.artifact import OciChart
from verifier.model.claim import Attestation, Claim
from verifier.model.context import Context, Request
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, InconclusiveError
from verifier.model.reference import Reference
from verifier.net.deadline import Deadline
from verifier.operations.connections import Connections
from verifier.operations.policies import LoadedPolicy
from verifier.operations.verification import Options, examine, prove
from verifier.policy.claims import attributed

_THREADS = 8
_SECONDS = 60.0
_OF_EVIDENCE = re.compile(r"sha(256|512)-[0-9a-f]{64,128}(\.(sig|att|sbom))?")  # fallback tags and cosign's


class Use(Struct, frozen=True, kw_only=True):
    """One signature or attestation by the signer; `proven` is when a log or an authority says that it was made."""

    repository: str
    tags: tuple[str, ...]
    digest: Digest
    chart: str
    what: str
    signer: str
    proven: datetime | None


class Uses(Struct, frozen=True, kw_only=True):
    """What was found, how many charts were looked at, and what could not be read, each with the reason."""

    found: tuple[Use, ...]
    looked_at: int
    unknown: tuple[str, ...]


def find_uses(repositories: Sequence[Reference], loaded: LoadedPolicy, connections: Connections) -> Uses:
    """All that the signers of a policy have signed under the tags of these repositories; never raises on what it meets."""
    results = [_in_repository(repository, loaded, connections) for repository in repositories]
    return Uses(
        found=tuple(use for result in results for use in result.found),
        looked_at=sum(result.looked_at for result in results),
        unknown=tuple(line for result in results for line in result.unknown),
    )


def _in_repository(repository: Reference, loaded: LoadedPolicy, connections: Connections) -> Uses:
    source = connections.source(repository, Deadline.after(_SECONDS))
    try:
        tags = [tag for tag in source.tags() if not _OF_EVIDENCE.fullmatch(tag)]
    except (FailedError, InconclusiveError) as error:
        return Uses(found=(), looked_at=0, unknown=(f"{repository}: {error.reason} [{error.code.name}]",))
    by_digest: dict[Digest, list[str]] = {}
    unknown: list[str] = []
    for tag in tags:
        try:
            by_digest.setdefault(connections.source(repository, Deadline.after(_SECONDS)).resolve(tag).digest, []).append(tag)
        except (FailedError, InconclusiveError) as error:
            unknown.append(f"{repository}:{tag}: {error.reason} [{error.code.name}]")
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="uses") as pool:
        results = list(pool.map(lambda item: _of_chart(repository, item[0], tuple(item[1]), loaded, connections), by_digest.items()))
    return Uses(
        found=tuple(use for result in results for use in result.found),
        looked_at=len(by_digest),
        unknown=(*unknown, *(line for result in results for line in result.unknown)),
    )


def _of_chart(repository: Reference, digest: Digest, tags: tuple[str, ...], loaded: LoadedPolicy, connections: Connections) -> Uses:
    reference = replace(repository, tag=None, digest=digest)
    examined = examine(Request(reference=reference, context=Context()), connections, Options(seconds=_SECONDS)).whole()
    claims, _ = prove(examined.gathered.evidence, examined.artifact, loaded.trust)
    named = f"{repository}@{digest.short}..."
    unknown = [f"{named}: {gap.reason} [{gap.code.name}]" for gap in examined.gathered.gaps]
    if examined.artifact is None and not unknown:
        unknown = [f"{named}: {item.reason} [{item.code.name}]" for item in examined.gathered.rejections[:1]]
    chart = examined.artifact.facts.label if isinstance(examined.artifact, OciChart) else ""
    counted = [claim for claim in claims if attributed(loaded.policy, claim).anchors]
    return Uses(found=tuple(_use(claim, repository, digest, (tags, chart)) for claim in counted), looked_at=1, unknown=tuple(unknown))


def _use(claim: Claim, repository: Reference, digest: Digest, where: tuple[tuple[str, ...], str]) -> Use:
    what = f"attestation {claim.kind.predicate_type}" if isinstance(claim.kind, Attestation) else f"{claim.kind.form.value} signature"
    proven = next((time.at for time in claim.times if time.proven), None)
    return Use(repository=repository.name, tags=where[0], digest=digest, chart=where[1], what=what, signer=str(claim.signer), proven=proven)
