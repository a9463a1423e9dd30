"""The distribution API. Source: opencontainers/distribution-spec spec.md 1.1 (pull, push, content discovery, management).

Routes are decided on the raw path; names are checked before they touch the disk. File work runs in threads. Who may do what is decided before anything is
looked up (`access`), and a disk that is full is an answer (507), not a fault.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from verifier.formats.json import dump_json
from verifier.model import codes, limits
from verifier.model.digest import Digest, parse_digest, sha256
from verifier.model.errors import FailedError, VerifierError
from verifier.model.reference import is_evidence_tag, is_repository, is_tag
from verifier.oci.layout import REF_NAME, ImageLayout, StoreRules
from verifier.oci.manifest import INDEX, Index, read_manifest, write_index
from verifier.registry.guard import RegistrySettings
from verifier.registry.http import Answer, IncomingRequest, Receive, RegistryError, Send, send_answer
from verifier.registry.store import RegistryStore, blob_size, missing_blob

_ROUTE = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs/uploads|blobs|tags|referrers)/(?P<rest>[^/]*)")
_BLOB_BYTES = 512 * limits.MIB
_PAGE = 100
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d{1,18})-(\d{1,18})")


class RegistryApp:
    """An ASGI application over a store."""

    def __init__(self, store: RegistryStore, settings: RegistrySettings | None = None) -> None:
        self._store = store
        self._settings = settings or RegistrySettings()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection event."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        request = IncomingRequest(scope, receive)
        try:
            answer = await self._answer(request)
        except RegistryError as error:
            answer = error.answer()
        except VerifierError as error:
            answer = _translated(error).answer()
        except ConnectionError:
            return
        except OSError as error:
            answer = _disk(error).answer()
        await send_answer(answer, send, head=request.method == "HEAD")

    async def _answer(self, request: IncomingRequest) -> Answer:
        guard = self._settings
        user = await guard.identify(request)
        if request.path in ("/v2", "/v2/"):
            guard.welcome(user)
            return Answer(200, {"Content-Type": "application/json"}, b"{}")
        if request.path == "/v2/_catalog":
            return await self._catalog(request, user)
        match = _ROUTE.fullmatch(request.path)
        if match is None:
            raise RegistryError(404, "UNSUPPORTED", "no such route")
        if not is_repository(match["name"]):
            raise RegistryError(400, "NAME_INVALID", "not a repository name")
        method = "GET" if request.method == "HEAD" else request.method
        guard.check(user, match["name"], method, match["kind"])
        if mount := request.query.get("from"):
            guard.check_right(user, mount, "pull")
        handler = _HANDLERS.get((match["kind"], method))
        if handler is None:
            raise RegistryError(405, "UNSUPPORTED", f"{request.method} is not offered here")
        answer: Answer = await handler(self, request, self._store.repository(match["name"]), match["rest"])
        return answer

    # Manifests

    async def get_manifest(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """By tag or digest."""
        digest = _digest_or_tag(rest)
        fetched = await asyncio.to_thread(lambda: layout.manifest(digest) if isinstance(digest, Digest) else layout.resolve(digest))
        headers = {"Content-Type": fetched.media_type, "Docker-Content-Digest": str(fetched.digest), "ETag": f'"{fetched.digest}"'}
        return Answer(200, headers, fetched.data)

    async def put_manifest(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """By tag or digest; what it names must be there, its subject need not."""
        wanted = _digest_or_tag(rest)
        data = await request.body(limits.MANIFEST_BYTES)
        try:
            parsed = read_manifest(data, where="manifest")
            await asyncio.to_thread(_check_blobs, layout, data)
        except FailedError as error:
            raise RegistryError(400, "MANIFEST_INVALID", error.reason) from error
        if isinstance(wanted, Digest) and not wanted.matches(data):
            raise RegistryError(400, "DIGEST_INVALID", "the content has another digest")
        media_type = request.header("content-type").partition(";")[0].strip() or (INDEX if isinstance(parsed, Index) else "")
        tag = None if isinstance(wanted, Digest) else wanted
        digest = wanted if isinstance(wanted, Digest) else sha256(data)
        rules = StoreRules(lambda: _check_blobs(layout, data), tag is None or self._settings.may_move(_name(request), tag))
        moved = await asyncio.to_thread(_named_before, layout, tag, digest) if tag is not None else None
        await asyncio.to_thread(layout.store_manifest, data, media_type, digest, tag, rules)
        headers = {"Location": f"{request.path.rpartition('/')[0]}/{digest}", "Docker-Content-Digest": str(digest)}
        subject = getattr(parsed, "subject", None)
        if subject is not None:
            headers["OCI-Subject"] = str(subject.digest)
        if moved is not None and not is_evidence_tag(str(tag)):
            headers["Warning"] = f'299 - "the tag {tag} was moved; it named {moved}"'
        return Answer(201, headers)

    async def delete_manifest(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """By tag or digest."""
        reference = _digest_or_tag(rest)
        for tag in await asyncio.to_thread(_tags_of, layout, reference):
            if not self._settings.may_move(_name(request), tag):
                raise RegistryError(400, "TAG_INVALID", f"the tag {tag} is immutable")
        await asyncio.to_thread(layout.delete_manifest, str(reference))
        return Answer(202)

    # Blobs

    async def get_blob(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """Whole, or one range of bytes."""
        digest = _digest(rest)
        size = await asyncio.to_thread(blob_size, layout, digest)
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": str(digest), "Accept-Ranges": "bytes"}
        start, end = 0, size - 1
        status = 200
        if wanted := request.header("range"):
            match = _RANGE.fullmatch(wanted)
            if match is None or int(match[1]) >= size:
                return Answer(416, {"Content-Range": f"bytes */{size}"})
            start, end = int(match[1]), min(int(match[2] or end), end)
            status, headers = 206, {**headers, "Content-Range": f"bytes {start}-{end}/{size}"}
        file = layout.blob_path(digest).open("rb")
        file.seek(start)
        return Answer(status, headers, stream=(file, max(end - start + 1, 0)))

    async def delete_blob(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """Remove it."""
        digest = _digest(rest)
        await asyncio.to_thread(blob_size, layout, digest)
        await asyncio.to_thread(layout.blob_path(digest).unlink)
        return Answer(202)

    # Uploads

    async def begin_upload(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """Mount, or a new upload; a body with `digest=` is taken at once."""
        name = request.path.removeprefix("/v2/").removesuffix("/blobs/uploads/")
        if mount := request.query.get("mount"):
            digest, source = _digest(mount), request.query.get("from", "")
            if is_repository(source) and await asyncio.to_thread(self._store.mount, digest, self._store.repository(source), layout):
                return _created(name, digest)
        upload = await asyncio.to_thread(self._store.begin_upload)
        if "digest" in request.query:
            await self._append(request, upload)
            return await self._finish(name, upload, layout, request.query["digest"])
        return Answer(202, {"Location": f"/v2/{name}/blobs/uploads/{upload}", "Range": "0-0", "Docker-Upload-UUID": upload})

    async def patch_upload(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """One more chunk, in order."""
        upload = self._upload(rest)
        if (written := request.header("content-range")) and ((match := _CONTENT_RANGE.fullmatch(written)) is None or int(match[1]) != upload):
            return Answer(416, {"Location": request.path, "Range": f"0-{max(upload - 1, 0)}"})
        size = await self._append(request, rest)
        return Answer(202, {"Location": request.path, "Range": f"0-{max(size - 1, 0)}", "Docker-Upload-UUID": rest})

    async def put_upload(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """The last chunk, and the digest."""
        self._upload(rest)
        await self._append(request, rest)
        name = request.path.removeprefix("/v2/").rpartition("/blobs/uploads/")[0]
        return await self._finish(name, rest, layout, request.query.get("digest", ""))

    async def get_upload(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """How far it is."""
        size = self._upload(rest)
        return Answer(204, {"Location": request.path, "Range": f"0-{max(size - 1, 0)}", "Docker-Upload-UUID": rest})

    async def delete_upload(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """Give it up."""
        self._upload(rest)
        upload = self._store.upload(rest)
        if upload is not None:
            await asyncio.to_thread(upload.path.unlink)
        return Answer(204)

    def _upload(self, name: str) -> int:
        upload = self._store.upload(name)
        if upload is None:
            raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        return upload.size

    async def _append(self, request: IncomingRequest, name: str) -> int:
        upload = self._store.upload(name)
        if upload is None:
            raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "no such upload")
        size = upload.size
        with upload.path.open("ab") as file:
            async for chunk in request.chunks():
                size += len(chunk)
                if size > _BLOB_BYTES:
                    raise RegistryError(413, "SIZE_INVALID", f"larger than {_BLOB_BYTES} bytes")
                await asyncio.to_thread(file.write, chunk)
        return size

    async def _finish(self, name: str, upload: str, layout: ImageLayout, digest_text: str) -> Answer:
        digest = _digest(digest_text)
        found = self._store.upload(upload)
        if found is None or not await asyncio.to_thread(self._store.finish_upload, found, layout, digest):
            raise RegistryError(400, "DIGEST_INVALID", "the content has another digest")
        return _created(name, digest)

    # Lists

    async def get_tags(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """Sorted, with `n`, `last` and `Link`."""
        if rest != "list":
            raise RegistryError(404, "UNSUPPORTED", "no such route")
        name = request.path.removeprefix("/v2/").removesuffix("/tags/list")
        if not layout.exists:
            raise RegistryError(404, "NAME_UNKNOWN", "no such repository")
        return _page(request, {"name": name}, "tags", await asyncio.to_thread(layout.tags))

    async def _catalog(self, request: IncomingRequest, user: str) -> Answer:
        """All repositories that this user may pull from, sorted; not in the OCI specification, and what an index for Helm can be made of."""
        if request.method not in ("GET", "HEAD"):
            raise RegistryError(405, "UNSUPPORTED", f"{request.method} is not offered here")
        names = self._settings.visible(user, await asyncio.to_thread(lambda: sorted(self._store.repositories())))
        return _page(request, {}, "repositories", names)

    async def get_referrers(self, request: IncomingRequest, layout: ImageLayout, rest: str) -> Answer:
        """What refers to a digest; an unknown digest has none. Pages of 100."""
        digest = _digest(rest)
        if not layout.exists:
            return Answer(200, {"Content-Type": INDEX}, write_index(()))
        found = sorted((await asyncio.to_thread(layout.referrers, digest)).descriptors, key=lambda item: str(item.digest))
        headers = {"Content-Type": INDEX}
        wanted = request.query.get("artifactType")
        if wanted is not None:
            found = [item for item in found if item.artifact_type == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        found = [item for item in found if str(item.digest) > request.query.get("last", "")]
        if len(found) > _PAGE:
            following = {**({"artifactType": wanted} if wanted is not None else {}), "last": str(found[_PAGE - 1].digest)}
            headers["Link"] = f'<{quote(request.path, safe="/:")}?{urlencode(following)}>; rel="next"'
        return Answer(200, headers, write_index(found[:_PAGE]))


_Handler = Callable[..., Any]
_HANDLERS: dict[tuple[str, str], _Handler] = {
    ("manifests", "GET"): RegistryApp.get_manifest,
    ("manifests", "PUT"): RegistryApp.put_manifest,
    ("manifests", "DELETE"): RegistryApp.delete_manifest,
    ("blobs", "GET"): RegistryApp.get_blob,
    ("blobs", "DELETE"): RegistryApp.delete_blob,
    ("blobs/uploads", "POST"): RegistryApp.begin_upload,
    ("blobs/uploads", "PATCH"): RegistryApp.patch_upload,
    ("blobs/uploads", "PUT"): RegistryApp.put_upload,
    ("blobs/uploads", "GET"): RegistryApp.get_upload,
    ("blobs/uploads", "DELETE"): RegistryApp.delete_upload,
    ("tags", "GET"): RegistryApp.get_tags,
    ("referrers", "GET"): RegistryApp.get_referrers,
}


def _check_blobs(layout: ImageLayout, manifest: bytes) -> None:
    """Looked at again when the manifest is listed: a collection may run meanwhile."""
    missing = missing_blob(layout, manifest)
    if missing is not None:
        raise RegistryError(404, "MANIFEST_BLOB_UNKNOWN", f"{missing.digest} is not here")


def _named_before(layout: ImageLayout, tag: str, digest: Digest) -> Digest | None:
    """What the tag named until now, if that is something else."""
    entries = layout.entries() if layout.exists else ()
    return next((item.digest for item in entries if item.annotations.get(REF_NAME) == tag and item.digest != digest), None)


def _name(request: IncomingRequest) -> str:
    return request.path.removeprefix("/v2/").rpartition("/manifests/")[0]


def _tags_of(layout: ImageLayout, reference: Digest | str) -> list[str]:
    if not isinstance(reference, Digest):
        return [reference]
    return [tag for item in (layout.entries() if layout.exists else ()) if item.digest == reference and (tag := item.annotations.get(REF_NAME))]


def _disk(error: OSError) -> RegistryError:
    """What the disk says is an answer; which file it was is not."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return RegistryError(507, "DENIED", "the registry's storage is full") if full else RegistryError(500, "UNKNOWN", f"the storage fails: {error.strerror}")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _digest(text: str) -> Digest:
    try:
        return parse_digest(text)
    except ValueError as error:
        raise RegistryError(400, "DIGEST_INVALID", str(error)) from error


def _digest_or_tag(text: str) -> Digest | str:
    if ":" in text:
        return _digest(text)
    if not is_tag(text):
        raise RegistryError(400, "MANIFEST_INVALID", "neither a tag nor a digest")
    return text


def _created(name: str, digest: Digest) -> Answer:
    return Answer(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": str(digest)})


def _page(request: IncomingRequest, head: Mapping[str, str], key: str, names: Sequence[str]) -> Answer:
    """A sorted list with `n`, `last` and `Link`."""
    rest = [name for name in names if name > request.query.get("last", "")]
    most = _page_size(request)
    headers = {"Content-Type": "application/json"}
    if most and len(rest) > most:
        headers["Link"] = f'<{request.path}?{urlencode({"n": most, "last": rest[most - 1]})}>; rel="next"'
    return Answer(200, headers, dump_json({**head, key: rest[:most]}))


def _page_size(request: IncomingRequest) -> int | None:
    text = request.query.get("n")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise RegistryError(400, "UNSUPPORTED", "n must be a number")
    return min(int(text), 10_000)


def _translated(error: VerifierError) -> RegistryError:
    if error.code is codes.NOT_FOUND:
        return RegistryError(404, "MANIFEST_UNKNOWN", error.reason)
    if error.code is codes.TAG_EXISTS:
        return RegistryError(400, "TAG_INVALID", f"{error.reason}, and is immutable")
    if isinstance(error.__cause__, OSError):
        return _disk(error.__cause__)
    return RegistryError(500, "UNKNOWN", error.reason)
