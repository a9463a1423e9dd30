"""Chart repositories over https: a chart by the repository's URL, its name and version (semantics 17).

1. `index.yaml` below the repository's URL says where the archive lies; that is a hint, and nothing is believed because of it.
2. The archive is downloaded, and read under its rules; its own hash is the digest. A digest that was asked for must be that one.
3. `.prov` and `.sigstore.json` beside the archive are evidence: not found is absent, any other trouble a gap.

The repository's credentials go to its own origin (scheme, host, port) and nowhere else; what lies elsewhere is asked for as nobody. From https nothing
leads to http. Raises FailedError (the chart is bad) or InconclusiveError (it could not be had).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from urllib.parse import urljoin, urlsplit

from msgspec.structs import replace

from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.charts.archive import read_archive
from verifier.charts.repository_index import Listed, find_version
from verifier.model import codes, limits
from verifier.model.artifact import RepositoryChart
from verifier.model.claim import Rejection
from verifier.model.digest import Digest, sha256
from verifier.model.errors import FailedError, InconclusiveError, MisuseError
from verifier.model.evidence import Evidence, Kind, Location
from verifier.model.reference import SCHEME, ChartRepositoryReference, PinnedReference, masked
from verifier.net.deadline import Deadline
from verifier.net.transport import Request, Response, origin_of
from verifier.oci.credentials import Basic, Credential, encode_basic
from verifier.oci.manifest import HELM_PROVENANCE
from verifier.oci.session import refusal
from verifier.operations.connections import Connections
from verifier.operations.found import Found, guarded
from verifier.operations.gather import Gathered, Wanted, sort_found

_BESIDE = ((".prov", HELM_PROVENANCE, limits.PROVENANCE_BYTES), (".sigstore.json", BUNDLE, limits.EVIDENCE_BYTES))
_ABSENT = (404, 410)


class _Nobody:
    """No credentials."""

    def candidates(self, registry: str, repository: str) -> Iterator[Credential]:
        return iter(())

    def identity(self, registry: str, repository: str) -> str:
        return "nobody"

    def refresh(self, registry: str, repository: str) -> bool:
        return False


class ChartRepository:
    """A chart repository as one reference names it, and the ways there."""

    def __init__(self, reference: ChartRepositoryReference, connections: Connections, deadline: Deadline) -> None:
        self.reference = reference
        self._connections = connections
        self._session = connections.session
        self._deadline = deadline
        self._path, _, self._chart = reference.repository.rpartition("/")
        # What `helm repo add` keeps for this very repository is shown at once, as Helm does.
        self._login = connections.repository_logins.find(reference.url)

    def find(self) -> Listed:
        """1."""
        if self.reference.version is None:
            raise MisuseError(codes.REFERENCE_INVALID, "a version is needed: https://HOST/PATH/NAME:VERSION", where=self.reference.written)
        url = f"{self.reference.url}/index.yaml"
        identity = self._session.credentials.identity(self.reference.host, self._path)
        kept = self._connections.indexes
        condition = kept.condition(url, identity)
        response = self._get(url, limits.REPOSITORY_INDEX_BYTES, condition)
        if response.status in (403, *_ABSENT) and self._login is None:
            response = self._logged_in(url, condition) or response
        response = kept.current(url, identity, response)
        if response.status != 200:
            raise refusal(response, url)
        return find_version(response.body, self._chart, self.reference.version, where=url)

    def place(self, listed: Listed) -> str:
        """Where the archive lies; raises FailedError `chart-unverifiable` or InconclusiveError `registry-nonsense`."""
        if listed.url.startswith(SCHEME):
            reason = f"its index hands this version over to a registry: ask for {listed.url[:300]} itself"
            raise FailedError(codes.CHART_UNVERIFIABLE, reason, where=self.reference.url)
        try:
            url = urljoin(f"{self.reference.url}/", listed.url)
            split = urlsplit(url)
            sound = split.scheme in ("https", "http") and bool(split.hostname) and split.username is None and split.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise InconclusiveError(codes.REGISTRY_NONSENSE, f"the index says that the archive lies at {masked(listed.url)!r}", where=self.reference.url)
        if split.scheme == "http" and self.reference.registry.startswith("https:"):
            raise InconclusiveError(codes.REGISTRY_NONSENSE, f"the index leads from https to {url[:200]}", where=self.reference.url)
        return split._replace(fragment="").geturl()

    def download(self, url: str) -> RepositoryChart:
        """2."""
        response = self._get(url, limits.ARCHIVE_BYTES)
        if response.status != 200:
            raise refusal(response, shown(url))
        archive, wanted = response.body, self.reference.digest
        if wanted is not None and not wanted.matches(archive):
            reason = f"the repository holds {sha256(archive).short}... under {self.reference.version}, {wanted.short}... was asked for"
            raise FailedError(codes.TAG_MOVED, reason, where=shown(url))
        facts = read_archive(archive, where=shown(url)).facts
        return RepositoryChart(reference=self._pinned(sha256(archive), url), facts=facts, archive=archive)

    def beside(self, url: str, wanted: Wanted) -> list[Future[list[Found]]]:
        """3, begun."""
        named = [(_beside(url, suffix), media_type, limit) for suffix, media_type, limit in _BESIDE if media_type in wanted]
        return [self._connections.start(lambda item=item: self._evidence(*item)) for item in named]  # type: ignore[misc]  # bound by its default

    def _evidence(self, url: str, media_type: str, limit: int) -> list[Found]:
        location = Location(kind=Kind.FILE, where=shown(url), media_type=media_type)

        def read() -> list[Found]:
            response = self._get(url, limit)
            if response.status in _ABSENT:
                return []
            if response.status != 200:
                raise refusal(response, shown(url))
            known = replace(location, digest=sha256(response.body))
            return [Evidence(location=known, media_type=media_type, payload=response.body)]

        return guarded(location, read)

    def _pinned(self, digest: Digest, url: str) -> PinnedReference:
        reference = self.reference
        return PinnedReference(
            registry=reference.registry,
            repository=reference.repository,
            digest=digest,
            tag=reference.version,
            was_pinned=reference.digest is not None,
            read_from=shown(url),
        )

    def _logged_in(self, url: str, condition: Mapping[str, str]) -> Response | None:
        """Some answer whoever is not logged in as if there were nothing, without asking for a login."""
        for credential in self._session.credentials.candidates(self.reference.host, self._path):
            if isinstance(credential, Basic):
                self._login = credential
                response = self._get(url, limits.REPOSITORY_INDEX_BYTES, condition)
                if response.status in (200, 304):
                    return response
        self._login = None
        return None

    def _get(self, url: str, limit: int, headers: Mapping[str, str] | None = None) -> Response:
        """GET, as ourselves at the repository's own origin and as nobody elsewhere."""
        split = urlsplit(url)
        if split.scheme == "http" and not self._session.speaks_plain(split.netloc):
            raise InconclusiveError(codes.EGRESS_DENIED, "http:// is spoken without --plain-http to this machine only", where=shown(url))
        own = origin_of(url) == origin_of(self.reference.url)
        shows = {"Authorization": encode_basic(self._login)} if own and self._login is not None else {}
        request = Request(method="GET", url=url, headers={"Accept": "*/*", **(headers or {}), **shows})
        session = self._session if own else self._session.under(_Nobody())
        return session.send(split.netloc, self._path, request, self._deadline, limit)


def examine_chart(reference: ChartRepositoryReference, connections: Connections, deadline: Deadline, wanted: Wanted) -> tuple[RepositoryChart, Gathered]:
    """1 to 3; the download and what lies beside it side by side."""
    repository = ChartRepository(reference, connections, deadline)
    listed = repository.find()
    url = repository.place(listed)
    beside = repository.beside(url, wanted)
    chart = repository.download(url)
    found = [*_hint(listed, chart, reference), *(item for future in beside for item in future.result())]
    return chart, sort_found(found)


def _hint(listed: Listed, chart: RepositoryChart, reference: ChartRepositoryReference) -> Iterator[Found]:
    """That the index says another digest is told, and nothing more: Helm does not look at it, and whoever can change one can change the other."""
    if listed.digest is not None and not listed.digest.matches(chart.archive):
        location = Location(kind=Kind.CHART, where=f"{reference.url}/index.yaml", digest=listed.digest)
        reason = f"the index says {listed.digest.short}..., the archive is {sha256(chart.archive).short}..."
        yield Rejection(scheme=None, code=codes.INDEX_DIGEST, reason=reason, location=location)


def _beside(url: str, suffix: str) -> str:
    """The file's name with `suffix`; a query stays behind it."""
    split = urlsplit(url)
    return split._replace(path=f"{split.path}{suffix}").geturl()


def shown(url: str) -> str:
    """A URL for people: its query may be a signature that lets anybody in."""
    return urlsplit(url)._replace(query="").geturl()
