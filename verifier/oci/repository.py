"""One repository of a registry. Source: opencontainers/distribution-spec spec.md (pull, push, content discovery).

Every digest is computed from the bytes; the registry's own header is only compared. A Repository lives for one operation
and carries its deadline; connections, tokens and what was learnt live in the Session.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from msgspec import Struct

from verifier.formats.json import parse_object
from verifier.model import codes, limits
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest, parse_digest, sha256
from verifier.model.errors import FailedError, InconclusiveError
from verifier.net.deadline import Deadline
from verifier.net.transport import Request, Response, origin_of
from verifier.oci.manifest import ACCEPT, read_manifest
from verifier.oci.session import Session, refusal, registry_words
from verifier.oci.source import Fetched, Referrers

# A registry that keeps tags as they are says so in words of its own, under statuses that mean other things, too.
_KEPT_STATUSES = (400, 403, 405, 409, 412)
_KEPT = re.compile(r"immutab|overwrit|already exist", re.IGNORECASE)
_CHUNK_BYTES = 16 * limits.MIB  # blobs above this are sent in chunks


class Repository(Struct, frozen=True):
    """`registry/name`, seen through `session` until `deadline`."""

    session: Session
    registry: str
    name: str
    deadline: Deadline

    @property
    def where(self) -> str:
        """`registry/name`."""
        return f"{self.registry}/{self.name}"

    def url(self, path: str) -> str:
        """The URL of a path below this repository."""
        return f"{self.session.base(self.registry)}{self.name}/{path}"

    def send(self, request: Request, limit: int) -> Response:
        """One exchange with authorization and redirects; any status."""
        return self.session.send(self.registry, self.name, request, self.deadline, limit)

    # Reading

    def resolve(self, tag: str) -> Fetched:
        """The manifest under a tag, in one request."""
        response = self._manifest_response(tag)
        return self._fetched(response, sha256(response.body), tag)

    def digest_of(self, tag: str) -> Digest:
        """What a tag names, without reading it where the registry says so: whoever tells what a tag names is believed in that anyway."""
        request = Request(method="HEAD", url=self.url(f"manifests/{tag}"), headers={"Accept": ACCEPT})
        response = self.send(request, 0)
        if response.status == 200:
            try:
                return parse_digest(response.headers.get("docker-content-digest", ""))
            except ValueError:
                pass  # older registries do not say
        return self.resolve(tag).digest

    def manifest(self, digest: Digest) -> Fetched:
        """The manifest of this digest."""
        response = self._manifest_response(str(digest))
        if not digest.matches(response.body):
            raise FailedError(codes.DIGEST_MISMATCH, f"asked for {digest.short}, got {sha256(response.body).short}", where=self.where)
        return self._fetched(response, digest, str(digest))

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """The blob, compared with size and digest."""
        where = f"{self.where}@{descriptor.digest.short}"
        if descriptor.size > limit:
            raise InconclusiveError(codes.RESPONSE_LIMIT, f"announced with {descriptor.size} bytes, the limit here is {limit}", where=where)
        response = self.send(Request(method="GET", url=self.url(f"blobs/{descriptor.digest}")), max(descriptor.size, limits.ERROR_BYTES))
        if response.status != 200:
            raise refusal(response, f"blob {descriptor.digest.short}")
        if len(response.body) != descriptor.size or not descriptor.digest.matches(response.body):
            found = f"{len(response.body)} bytes with {sha256(response.body).short}"
            raise FailedError(codes.DIGEST_MISMATCH, f"expected {descriptor.size} bytes with {descriptor.digest.short}, got {found}", where=where)
        return response.body

    def referrers(self, digest: Digest) -> Referrers:
        """By the API, or by the fallback tag."""
        from verifier.oci.referrers import list_referrers

        return list_referrers(self, digest)

    def tags(self) -> tuple[str, ...]:
        """All tags; follows `Link` headers to the same origin only."""
        found: list[str] = []
        for page in self.pages(self.url("tags/list"), limits.TAG_PAGES, "tags"):
            tags = page.get("tags") or []
            if not isinstance(tags, list):
                raise InconclusiveError(codes.REGISTRY_NONSENSE, "tags is not a list", where=self.where)
            found += [str(tag) for tag in tags]
        return tuple(found)

    def pages(self, url: str, most: int, what: str) -> Iterator[dict[str, Any]]:
        """JSON objects page by page; raises InconclusiveError past `most` pages."""
        following: str | None = url
        for _ in range(most):
            response = self.send(Request(method="GET", url=str(following)), limits.MANIFEST_BYTES)
            if response.status != 200:
                raise refusal(response, what)
            yield read_answer(response)
            following = self.next_page(response)
            if following is None:
                return
        raise InconclusiveError(codes.RESPONSE_LIMIT, f"more than {most} pages of {what}", where=self.where)

    def next_page(self, response: Response) -> str | None:
        """The URL of a `Link: <...>; rel="next"` on the same origin (RFC 8288)."""
        for link in response.headers.get("link", "").split(","):
            target, _, parameters = link.partition(";")
            if 'rel="next"' in parameters.replace(" ", "").replace("rel=next", 'rel="next"'):
                url = urljoin(response.url, target.strip().removeprefix("<").removesuffix(">"))
                if origin_of(url) != origin_of(response.url):
                    raise InconclusiveError(codes.REGISTRY_NONSENSE, f"the next page is on {origin_of(url)}", where=self.where)
                return url
        return None

    # Writing

    def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is there."""
        return self.send(Request(method="HEAD", url=self.url(f"blobs/{digest}")), 0).status == 200

    def push_blob(self, data: bytes, *, fresh: bool = False) -> Digest:
        """Upload unless it is there; large ones in chunks."""
        digest = sha256(data)
        if not fresh and self.has_blob(digest):
            return digest
        location = self._start_upload()
        if len(data) > _CHUNK_BYTES:
            location = self._send_chunks(location, data, _CHUNK_BYTES)
            data = b""
        self._finish_upload(location, data, digest)
        return digest

    def begin_and_abandon_upload(self) -> None:
        """Show that something may be pushed, and leave nothing; raises InconclusiveError."""
        location = self._start_upload()
        self.send(Request(method="DELETE", url=location), limits.ERROR_BYTES)  # one that is not given up ends by itself

    def push_blob_in_chunks(self, data: bytes, chunk: int) -> Digest:
        """Upload in chunks of `chunk` bytes, whatever is there."""
        digest = sha256(data)
        self._finish_upload(self._send_chunks(self._start_upload(), data, chunk), b"", digest)
        return digest

    def mount_blob(self, digest: Digest, source: str) -> bool:
        """Take the blob over from another repository of the registry; False when the registry wants an upload instead."""
        query = f"mount={quote(str(digest), safe='')}&from={quote(source, safe='')}"
        response = self.send(Request(method="POST", url=self.url(f"blobs/uploads/?{query}"), headers={"Content-Length": "0"}), limits.ERROR_BYTES)
        if response.status not in (201, 202):
            raise refusal(response, "mounting a blob")
        return response.status == 201

    def push_manifest(self, data: bytes, media_type: str, tag: str | None = None) -> Digest:
        """Store exactly these bytes."""
        digest = sha256(data)
        request = Request(method="PUT", url=self.url(f"manifests/{tag or digest}"), headers={"Content-Type": media_type}, body=data)
        response = self.send(request, limits.ERROR_BYTES)
        if response.status not in (200, 201, 202):
            if tag is not None and response.status in _KEPT_STATUSES and _KEPT.search(words := registry_words(response)):
                raise InconclusiveError(codes.TAG_IMMUTABLE, f"the tag {tag} cannot be moved{words}", where=self.where)
            raise refusal(response, f"storing the manifest as {tag or digest.short}")
        return digest

    def attach(self, manifests: Sequence[bytes], subject: Descriptor) -> None:
        """Store the manifests, and see them listed."""
        from verifier.oci.referrers import attach

        attach(self, manifests, subject)

    def delete_manifest(self, reference: str) -> None:
        """Remove a manifest by digest, or a tag."""
        response = self.send(Request(method="DELETE", url=self.url(f"manifests/{reference}")), limits.ERROR_BYTES)
        if response.status not in (200, 202, 204):
            raise refusal(response, f"deleting {reference[:80]}")

    def _manifest_response(self, reference: str) -> Response:
        request = Request(method="GET", url=self.url(f"manifests/{reference}"), headers={"Accept": ACCEPT})
        response = self.send(request, limits.MANIFEST_BYTES)
        if response.status != 200:
            raise refusal(response, f"manifest {reference[:80]}")
        return response

    def _fetched(self, response: Response, digest: Digest, reference: str) -> Fetched:
        media_type = response.media_type
        if "html" in media_type:
            raise InconclusiveError(codes.REGISTRY_NONSENSE, f"a web page instead of manifest {reference[:80]}", where=origin_of(response.url))
        return Fetched(digest=digest, media_type=media_type or "application/octet-stream", data=response.body)

    def _start_upload(self) -> str:
        response = self.send(Request(method="POST", url=self.url("blobs/uploads/"), headers={"Content-Length": "0"}), limits.ERROR_BYTES)
        if response.status != 202:
            raise refusal(response, "starting an upload")
        return self._location(response)

    def _send_chunks(self, location: str, data: bytes, chunk: int) -> str:
        for start in range(0, len(data), chunk):
            part = data[start : start + chunk]
            headers = {"Content-Type": "application/octet-stream", "Content-Range": f"{start}-{start + len(part) - 1}"}
            response = self.send(Request(method="PATCH", url=location, headers=headers, body=part), limits.ERROR_BYTES)
            if response.status not in (201, 202, 204):
                raise refusal(response, "uploading a chunk")
            location = self._location(response)
        return location

    def _finish_upload(self, location: str, data: bytes, digest: Digest) -> None:
        url = f"{location}{'&' if urlsplit(location).query else '?'}digest={quote(str(digest), safe='')}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(data))}
        response = self.send(Request(method="PUT", url=url, headers=headers, body=data), limits.ERROR_BYTES)
        if response.status not in (201, 204):
            raise refusal(response, "finishing an upload")

    def _location(self, response: Response) -> str:
        """Where an upload goes on: on the registry's own origin, or nowhere; credentials never follow it elsewhere."""
        url = urljoin(response.url, response.headers.get("location", ""))
        if origin_of(url) != origin_of(response.url):
            raise InconclusiveError(codes.REGISTRY_NONSENSE, f"an upload goes on at {origin_of(url)}", where=origin_of(response.url))
        return url


def read_answer(response: Response) -> dict[str, Any]:
    """A registry's JSON answer; raises InconclusiveError `registry-nonsense`."""
    try:
        return parse_object(response.body, where=response.url)
    except FailedError as error:
        raise InconclusiveError(codes.REGISTRY_NONSENSE, error.reason, where=origin_of(response.url)) from error


def describe(manifest: bytes, media_type: str) -> Descriptor:
    """The descriptor of a manifest with its artifact type and annotations copied up, as a referrers answer lists it."""
    parsed = read_manifest(manifest, where="manifest")
    kind = getattr(parsed, "kind", None)
    annotations = getattr(parsed, "annotations", {})
    return Descriptor(media_type=media_type, digest=sha256(manifest), size=len(manifest), annotations=annotations, artifact_type=kind)
