"""Manifests, blobs, uploads, tags and referrers. Source: opencontainers/distribution-spec spec.md 1.1, and what `switches` cites."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from tests.simulators.registry.answers import Answer, error, html, value
from tests.simulators.registry.state import INDEX, MANIFEST, Asked, SimulatedRegistry, digest_of

_ROUTE = re.compile(r"/v2/(.+)/(manifests|blobs/uploads|blobs|tags|referrers)/(.*)")
_ELSEWHERE = re.compile(r"/[a-z-]+/(.+)/(blobs/uploads)/(.*)")
_FALLBACK = "sha256-"
Query = dict[str, list[str]]
Handler = Callable[["Content", Asked, str, str, Query], Answer]


class Content:
    """Answers one registry's questions."""

    def __init__(self, registry: SimulatedRegistry) -> None:
        self.registry = registry

    def answer(self, asked: Asked) -> Answer:
        switches = self.registry.switches
        query = parse_qs(asked.query, keep_blank_values=True)
        if asked.path == "/v2/_catalog":
            return self.catalog(query)
        elsewhere = switches.upload_elsewhere and asked.path.startswith(f"/{switches.upload_elsewhere}/")
        match = (_ELSEWHERE if elsewhere else _ROUTE).fullmatch(asked.path)
        if match is None:
            return value({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})
        name, kind, rest = match.groups()
        handler = _HANDLERS.get((kind, "GET" if asked.method == "HEAD" else asked.method))
        if handler is None:
            return error(405, "UNSUPPORTED")
        missing = switches.repositories is not None and name not in switches.repositories
        if missing and asked.method in ("PUT", "POST", "PATCH"):
            return error(404, "NAME_UNKNOWN", f"The repository with name '{name}' does not exist in the registry")
        return handler(self, asked, name, rest, query)

    def catalog(self, query: Query) -> Answer:
        if not self.registry.switches.catalog:
            return error(404, "UNSUPPORTED")
        last = query.get("last", [""])[0]
        return value({"repositories": [name for name in sorted({name for name, _ in self.registry.manifests}) if name > last]})

    def manifests_get(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        registry, switches = self.registry, self.registry.switches
        digest = registry.tags.get((name, rest), rest)
        if switches.alias_tags and rest.startswith(_FALLBACK) and (name, rest) not in registry.tags:
            digest = rest.replace(_FALLBACK, "sha256:")
        found = registry.manifests.get((name, digest))
        if found is None:
            return error(404, "MANIFEST_UNKNOWN")
        if switches.accept_needed and found[1] not in asked.headers.get("Accept", ""):
            return error(404, "MANIFEST_UNKNOWN", "OCI manifest found, but accept header does not support OCI manifests")
        return Answer(200, found[0], {"Content-Type": found[1], **({"Docker-Content-Digest": digest} if switches.digest_header else {})})

    def manifests_put(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        registry, switches = self.registry, self.registry.switches
        digest, media_type = digest_of(asked.body), asked.headers.get("Content-Type", MANIFEST)
        parsed = json.loads(asked.body)
        if (refused := self.refused(name, rest, digest, parsed)) is not None:
            return refused
        registry.manifests[name, digest] = (asked.body, media_type)
        if not rest.startswith("sha256:"):
            if rest.startswith(_FALLBACK) and switches.swallow_fallback > 0:
                switches.swallow_fallback -= 1
            else:
                registry.tags[name, rest] = digest
        subject = parsed.get("subject")
        says = {"": switches.referrers, "missing": False, "lying": True}[switches.oci_subject]
        headers = {"OCI-Subject": subject["digest"]} if subject and says else {}
        return Answer(201, b"", {"Location": f"/v2/{name}/manifests/{digest}", **headers})

    def refused(self, name: str, rest: str, digest: str, parsed: dict[str, Any]) -> Answer | None:
        registry, switches = self.registry, self.registry.switches
        held = registry.tags.get((name, rest))
        fixed = switches.immutable and re.fullmatch(switches.immutable, rest) and not (switches.immutable_but and re.fullmatch(switches.immutable_but, rest))
        if held is not None and held != digest and fixed:
            message = f"The image tag '{rest}' already exists in the '{name}' repository and cannot be overwritten because the tag is immutable."
            return error(switches.immutable_status, switches.immutable_code, message)
        if switches.platform_needed and any("platform" not in item for item in parsed.get("manifests", [])):
            return error(400, "MANIFEST_INVALID", "manifest list entry without platform")
        subject = (parsed.get("subject") or {}).get("digest")
        if switches.subject_must_exist and subject and (name, subject) not in registry.manifests:
            return error(404, "MANIFEST_UNKNOWN", "subject is unknown")
        return None

    def manifests_delete(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        registry, switches = self.registry, self.registry.switches
        if not switches.delete:
            return error(405, "UNSUPPORTED", "The operation is unsupported.")
        if ":" not in rest and not switches.delete_tags:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        known = registry.tags.pop((name, rest), None) or registry.manifests.pop((name, rest), None)
        for key in [key for key, digest in registry.tags.items() if key[0] == name and digest == rest]:
            del registry.tags[key]
        return Answer(202) if known else error(404, "MANIFEST_UNKNOWN")

    def blobs_get(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        data = self.registry.blobs.get(rest)
        if data is None:
            return error(404, "BLOB_UNKNOWN")
        if (store := self.registry.switches.blob_store) and asked.method == "GET":
            return Answer(307, b"", {"Location": f"{store}/{rest}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0123"})
        return Answer(200, data, {"Content-Type": "application/octet-stream"})

    def uploads_post(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        registry, switches = self.registry, self.registry.switches
        if switches.mount and "mount" in query and query["mount"][0] in registry.blobs:
            return Answer(201, b"", {"Location": f"/v2/{name}/blobs/{query['mount'][0]}"})
        upload = f"u{len(registry.uploads)}"
        registry.uploads[upload] = b""
        return Answer(202, b"", {"Location": switches.upload_location or self.location(name, upload, "x")})

    def location(self, name: str, upload: str, state: str) -> str:
        switches = self.registry.switches
        base = self.registry.base if switches.upload_absolute else ""
        return f"{base}/{switches.upload_elsewhere or 'v2'}/{name}/blobs/uploads/{upload}?state={state}"

    def uploads_patch(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        start = int(asked.headers.get("Content-Range", "0-0").split("-")[0])
        if rest not in self.registry.uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        if start != len(self.registry.uploads[rest]):
            return error(416, "BLOB_UPLOAD_INVALID")
        self.registry.uploads[rest] += asked.body
        return Answer(202, b"", {"Location": self.location(name, rest, "y")})

    def uploads_put(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        if rest not in self.registry.uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        data = self.registry.uploads[rest] + asked.body
        self.registry.uploads[rest] = b""
        digest = digest_of(data)
        if digest != query["digest"][0]:
            return error(400, "DIGEST_INVALID")
        self.registry.blobs[digest] = data
        return Answer(201, b"", {"Location": f"/v2/{name}/blobs/{digest}"})

    def tags_get(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        switches = self.registry.switches
        tags = [tag for repository, tag in self.registry.tags if repository == name]
        if not tags and not any(repository == name for repository, _ in self.registry.manifests):
            return error(404, "NAME_UNKNOWN", "repository name not known to registry")
        tags = sorted(tags) if switches.tags_sorted else sorted(tags, key=lambda tag: digest_of(tag.encode()))
        last = query.get("last", [""])[0]
        tags = tags[tags.index(last) + 1 :] if last in tags else tags
        page = min(switches.tags_page or 1000, int(query["n"][0])) if "n" in query and not switches.tags_ignore_n else switches.tags_page
        headers = {}
        if page and len(tags) > page:
            headers["Link"] = f'<{switches.next_page or f"/v2/{name}/tags/list?last={tags[page - 1]}&n={page}"}>; rel="next"'
            tags = tags[:page]
        return value({"name": name, "tags": tags}, headers=headers)

    def referrers_get(self, asked: Asked, name: str, rest: str, query: Query) -> Answer:
        switches = self.registry.switches
        if switches.referrers_status:
            return error(switches.referrers_status, switches.referrers_code)
        if switches.referrers_login:
            return Answer(302, b"", {"Location": switches.referrers_login})
        if switches.referrers_html:
            return html()
        if not switches.referrers:
            return Answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        found = [] if switches.referrers_lose else self.referring(name, rest)
        headers = {"Content-Type": INDEX}
        if switches.filters and "artifactType" in query:
            found = [item for item in found if item["artifactType"] == query["artifactType"][0]]
            headers["OCI-Filters-Applied"] = "artifactType"
        size = switches.referrers_page
        page = int(query.get("page", ["1"])[0])
        following = f"/v2/{name}/referrers/{rest}?page={page + 1}"
        if switches.referrers_links == "harbor":
            headers["X-Total-Count"] = str(len(found))
            following += f"&page_size={size}"
        if page * size < len(found):
            base = self.registry.base if switches.referrers_links == "absolute" else ""
            headers["Link"] = f'<{switches.next_page or base + following}>; rel="next"'
        return Answer(200, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": found[(page - 1) * size : page * size]}).encode(), headers)

    def referring(self, name: str, subject: str) -> list[dict[str, Any]]:
        found = []
        for (repository, digest), (data, media_type) in self.registry.manifests.items():
            parsed = json.loads(data)
            if repository == name and (parsed.get("subject") or {}).get("digest") == subject:
                config = parsed.get("config", {}).get("mediaType", "")
                kind = config if self.registry.switches.wrong_artifact_type else parsed.get("artifactType") or config
                about = {"annotations": parsed["annotations"]} if parsed.get("annotations") else {}
                found.append({"mediaType": media_type, "digest": digest, "size": len(data), "artifactType": kind, **about})
        return found


_HANDLERS: dict[tuple[str, str], Handler] = {
    ("manifests", "GET"): Content.manifests_get,
    ("manifests", "PUT"): Content.manifests_put,
    ("manifests", "DELETE"): Content.manifests_delete,
    ("blobs", "GET"): Content.blobs_get,
    ("blobs/uploads", "POST"): Content.uploads_post,
    ("blobs/uploads", "PATCH"): Content.uploads_patch,
    ("blobs/uploads", "PUT"): Content.uploads_put,
    ("tags", "GET"): Content.tags_get,
    ("referrers", "GET"): Content.referrers_get,
}
