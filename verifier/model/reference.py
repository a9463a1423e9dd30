"""References: what a person writes, and what we dare to act on.

    reference  = "oci://" host "/" repository [":" tag] ["@" digest]
    host       = name or "[" IPv6 "]", [":" port]
    repository = component *("/" component)
    component  = [a-z0-9]+ *( ("." / "_" / "__" / 1*"-") [a-z0-9]+ )
    tag        = [A-Za-z0-9_][A-Za-z0-9._-]{0,127}          a "+" is written for "_" as Helm does

Forms:  A  oci://host/repo            B  oci://host/repo:tag
        C  oci://host/repo@digest     D  oci://host/repo:tag@digest (both must agree, semantics 3)
        E  PATH.tgz or file:PATH      F  oci-layout://DIR[:tag][@digest]

The canonical form is what is compared, cached and matched by scopes: lower-case host, no trailing dot, default port
dropped, Docker Hub's aliases and `library/` resolved. Source: opencontainers/distribution-spec spec.md "Pulling manifests",
distribution/reference, Helm's registry client.
"""

from __future__ import annotations

import ipaddress
import re

from msgspec import Struct
from msgspec.structs import replace

from verifier.model import codes
from verifier.model.digest import Digest, parse_digest
from verifier.model.errors import MisuseError

SCHEME = "oci://"
LAYOUT_SCHEME = "oci-layout://"
DOCKER_HUB = "docker.io"
_DOCKER_HUB_ALIASES = {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_EVIDENCE_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{64}(?:\.[a-z]+)?")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_USERINFO = re.compile(r"//[^/@]*@")
_MAX_NAME = 255  # many clients limit host + "/" + repository


class Reference(Struct, frozen=True, kw_only=True):
    """What was asked for, in canonical parts; `written` is the person's own text and is only ever shown."""

    registry: str
    repository: str
    tag: str | None
    digest: Digest | None
    written: str

    @property
    def name(self) -> str:
        """`host/repository`, the canonical name without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{SCHEME}{self.name}{tag}{digest}"


class PinnedReference(Struct, frozen=True, kw_only=True):
    """A reference with a digest that a registry or the caller gave; made by `operations.resolve` only.

    `was_pinned`: the caller named the digest. `read_from`: the place that answered, when it was not the origin. For an image
    layout that stands for nothing else, `registry` is empty and `repository` its directory.
    """

    registry: str
    repository: str
    digest: Digest
    tag: str | None
    was_pinned: bool
    read_from: str | None = None

    @property
    def name(self) -> str:
        """`host/repository`, the canonical name without tag and digest."""
        return f"{self.registry}/{self.repository}" if self.registry else self.repository

    @property
    def uri(self) -> str:
        """`oci://host/repository`, the form that signatures name."""
        return f"{SCHEME if self.registry else LAYOUT_SCHEME}{self.name}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.uri}{tag}@{self.digest}"


class FileReference(Struct, frozen=True, kw_only=True):
    """A local chart archive; `asserted` is what `--as` says that it stands for (semantics 17)."""

    path: str
    written: str
    asserted: Reference | None = None

    def __str__(self) -> str:
        return f"file:{self.path}"


class LayoutReference(Struct, frozen=True, kw_only=True):
    """A chart in an OCI image layout on disk."""

    path: str
    tag: str | None
    digest: Digest | None
    written: str
    asserted: Reference | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{LAYOUT_SCHEME}{self.path}{tag}{digest}"


AnyReference = Reference | FileReference | LayoutReference


def parse(text: str) -> AnyReference:
    """Read any form A to F; raises MisuseError `reference-invalid` that says which part is wrong."""
    if text.startswith(SCHEME):
        return parse_oci(text)
    if text.startswith(LAYOUT_SCHEME):
        return _parse_layout(text)
    if text.startswith("file:"):
        return FileReference(path=text.removeprefix("file:"), written=text)
    if "://" in text:
        hint = f"; did you mean {SCHEME}{text.split('://', 1)[1]}?" if text.startswith("http") else ""
        raise _invalid(text, f"the scheme must be {SCHEME}{hint}")
    if text.endswith(".tgz"):
        return FileReference(path=text, written=text)
    raise _invalid(text, f"a reference begins with {SCHEME}, and a file ends with .tgz")


def parse_oci(text: str) -> Reference:
    """Read forms A to D into canonical parts; raises MisuseError `reference-invalid`."""
    if not text.startswith(SCHEME):
        raise _invalid(text, f"it must begin with {SCHEME}")
    rest = text.removeprefix(SCHEME)
    name, at, digest_text = rest.partition("@")
    if at and "/" not in name:
        raise _invalid(text, "credentials do not belong into a reference")  # oci://user:pass@host/...
    digest = _digest(text, digest_text) if at else None
    host, slash, path = name.partition("/")
    if not slash or not path:
        raise _invalid(text, "a repository must follow the host")
    repository, colon, tag = path.partition(":")
    registry = canonical_host(host, written=text)
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    _check_repository(text, registry, repository)
    return Reference(
        registry=registry,
        repository=repository,
        tag=canonical_tag(tag, written=text) if colon else None,
        digest=digest,
        written=text,
    )


def parse_image(text: str) -> Reference:
    """A container image as pod specifications name it: Docker Hub where no host is given, `latest` where no tag is.

    Raises MisuseError `reference-invalid`. Source: distribution/reference normalize.go splitDockerDomain.
    """
    first, slash, _ = text.partition("/")
    hosted = slash and (any(mark in first for mark in ".:") or first == "localhost" or first.lower() != first)
    reference = parse_oci(f"{SCHEME}{text if hosted else f'{DOCKER_HUB}/{text}'}")
    tag = reference.tag or (None if reference.digest else "latest")
    return replace(reference, tag=tag, written=text)


def canonical_host(host: str, *, written: str) -> str:
    """Lower case, no trailing dot, no default port, Docker Hub's aliases folded; IPv6 in its shortest form."""
    lowered = host.lower()
    if lowered.startswith("["):
        address, bracket, port = lowered[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise _invalid(written, "an IPv6 host is written [ADDRESS] or [ADDRESS]:PORT")
        return _with_port(f"[{_ipv6(address, written)}]", port.removeprefix(":"), bool(port), written)
    name, colon, port = lowered.partition(":")
    name = name.removesuffix(".")
    if not _HOSTNAME.fullmatch(name):
        raise _invalid(written, f"{host[:100]!r} is not a host name")
    canonical = _with_port(name, port, bool(colon), written)
    return DOCKER_HUB if canonical in _DOCKER_HUB_ALIASES else canonical


def canonical_tag(tag: str, *, written: str) -> str:
    """A legal tag; `+`, which Helm users write and registries refuse, becomes `_`."""
    canonical = tag.replace("+", "_")
    if not _TAG.fullmatch(canonical):
        raise _invalid(written, f"{tag[:150]!r} is not a tag (letters, digits, '.', '_', '-', at most 128)")
    return canonical


def is_tag(text: str) -> bool:
    """Whether `text` is a legal tag as it stands."""
    return _TAG.fullmatch(text) is not None


def is_evidence_tag(tag: str) -> bool:
    """Whether a tag holds what is attached to a manifest, or the list of it: the fallback tag, and cosign's with their endings."""
    return _EVIDENCE_TAG.fullmatch(tag) is not None


def is_repository(text: str) -> bool:
    """Whether `text` is a legal repository name."""
    return _REPOSITORY.fullmatch(text) is not None


def _ipv6(address: str, written: str) -> str:
    try:
        return str(ipaddress.IPv6Address(address))
    except ValueError as error:
        raise _invalid(written, f"{address[:100]!r} is not an IPv6 address") from error


def _with_port(host: str, port: str, given: bool, written: str) -> str:
    if not given:
        return host
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise _invalid(written, f"{port[:20]!r} is not a port")
    return host if int(port) == 443 else f"{host}:{int(port)}"


def _digest(text: str, digest_text: str) -> Digest:
    try:
        return parse_digest(digest_text)
    except ValueError as error:
        raise _invalid(text, str(error)) from error


def _check_repository(text: str, registry: str, repository: str) -> None:
    if not _REPOSITORY.fullmatch(repository):
        raise _invalid(text, f"{repository[:150]!r} is not a repository (lower-case words joined by '.', '_', '-' and '/')")
    if len(registry) + 1 + len(repository) > _MAX_NAME:
        raise _invalid(text, f"host and repository together have more than {_MAX_NAME} characters")


def _parse_layout(text: str) -> LayoutReference:
    rest = text.removeprefix(LAYOUT_SCHEME)
    path, at, digest_text = rest.partition("@")
    digest = _digest(text, digest_text) if at else None
    head, colon, tag = path.rpartition(":")
    if colon and "/" not in tag:
        path = head
    else:
        tag = ""
    if not path:
        raise _invalid(text, "a directory must follow oci-layout://")
    return LayoutReference(path=path, tag=canonical_tag(tag, written=text) if tag else None, digest=digest, written=text)


def masked(text: str) -> str:
    """What a person wrote, to be shown: without credentials, which some write before the host."""
    return without_userinfo(text[:200])


def without_userinfo(text: str) -> str:
    """A text without the credentials that stand before the host of a URL in it."""
    return _USERINFO.sub("//***@", text)


def _invalid(text: str, why: str) -> MisuseError:
    return MisuseError(codes.REFERENCE_INVALID, why, where=repr(masked(text)))
