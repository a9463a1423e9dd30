"""References: what a person writes, and what we dare to act on.

    reference  = "oci://" host "/" repository [":" tag] ["@" digest]
    host       = name or "[" IPv6 "]", [":" port]
    repository = component *("/" component)
    component  = [a-z0-9]+ *( ("." / "_" / "__" / 1*"-") [a-z0-9]+ )
    tag        = [A-Za-z0-9_][A-Za-z0-9._-]{0,127}          a "+" is written for "_" as Helm does

Forms:  A  oci://host/repo            B  oci://host/repo:tag
        C  oci://host/repo@digest     D  oci://host/repo:tag@digest (both must agree, semantics 3)
        E  PATH.tgz or file:PATH      F  oci-layout://DIR[:tag][@digest]
        G  https://host[/path]/NAME:VERSION[@digest]   a chart of the chart repository https://host[/path]; the digest is its archive's

The canonical form is what is compared, cached and matched by scopes: lower-case host, no trailing dot, default port
dropped, Docker Hub's aliases and `library/` resolved; of a URL's path, escapes of what needs none undone (RFC 3986 section 6.2.2).
Source: opencontainers/distribution-spec spec.md "Pulling manifests", distribution/reference, Helm's registry client.
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
WEB_SCHEMES = ("https://", "http://")
DOCKER_HUB = "docker.io"
_DOCKER_HUB_ALIASES = {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_EVIDENCE_TAG = re.compile(r"sha(?:256|512)-[0-9a-f]{64}(?:\.[a-z]+)?")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_USERINFO = re.compile(r"//[^/@]*@")
_PATH_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~+,=()-]|%[0-9A-Fa-f]{2})+")  # of RFC 3986 section 3.3 what URLs of repositories have
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_CHART_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,249}")
_CHART_VERSION = re.compile(r"v?[0-9][0-9A-Za-z.+-]{0,127}")
_MAX_NAME = 255  # many clients limit host + "/" + repository
_MAX_URL = 1024  # of a chart repository, with the chart's name


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


class ChartRepositoryReference(Struct, frozen=True, kw_only=True):
    """A chart in a chart repository, which is an `index.yaml` on a web server: form G in canonical parts.

    `registry` is the scheme with the host, so that nothing of an OCI registry is ever taken for it; `repository` is the path of the chart
    repository with the chart's name at its end, as a registry would have it. `version` is Helm's text; the digest is of the archive (semantics 17).
    """

    registry: str
    repository: str
    version: str | None
    digest: Digest | None
    written: str

    @property
    def name(self) -> str:
        """The chart's whole name, without version and digest: what scopes are matched with."""
        return f"{self.registry}/{self.repository}"

    @property
    def url(self) -> str:
        """The chart repository's own URL, as `helm repo add` takes it; no slash at its end."""
        return self.name.rpartition("/")[0]

    @property
    def host(self) -> str:
        """`host[:port]`."""
        return self.registry.partition("://")[2]

    @property
    def tag(self) -> str | None:
        """The version as a tag would say it."""
        return self.version.replace("+", "_") if self.version is not None else None

    def __str__(self) -> str:
        version = f":{self.version}" if self.version else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{version}{digest}"


Origin = Reference | ChartRepositoryReference


class PinnedReference(Struct, frozen=True, kw_only=True):
    """A reference with a digest that a registry or the caller gave; made by `operations.resolve` only.

    `was_pinned`: the caller named the digest. `read_from`: the place that answered, when it was not the origin. For an image
    layout that stands for nothing else, `registry` is empty and `repository` its directory. Of a chart repository, `registry` begins
    with the scheme, and the digest is the archive's.
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
        """`oci://host/repository`, the form that signatures name; the URL of what lies in a chart repository."""
        if self.registry.startswith(WEB_SCHEMES):
            return self.name
        return f"{SCHEME if self.registry else LAYOUT_SCHEME}{self.name}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.uri}{tag}@{self.digest}"


class FileReference(Struct, frozen=True, kw_only=True):
    """A local chart archive; `asserted` is what `--as` says that it stands for (semantics 17)."""

    path: str
    written: str
    asserted: Origin | None = None

    def __str__(self) -> str:
        return f"file:{self.path}"


class LayoutReference(Struct, frozen=True, kw_only=True):
    """A chart in an OCI image layout on disk."""

    path: str
    tag: str | None
    digest: Digest | None
    written: str
    asserted: Origin | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{LAYOUT_SCHEME}{self.path}{tag}{digest}"


AnyReference = Origin | FileReference | LayoutReference


def parse(text: str) -> AnyReference:
    """Read any form A to G; raises MisuseError `reference-invalid` that says which part is wrong."""
    if text.startswith((SCHEME, *WEB_SCHEMES)):
        return parse_origin(text)
    if text.startswith(LAYOUT_SCHEME):
        return _parse_layout(text)
    if text.startswith("file:"):
        return FileReference(path=text.removeprefix("file:"), written=text)
    if "://" in text:
        raise _invalid(text, f"the scheme must be {SCHEME}, or https:// for a chart repository")
    if text.endswith(".tgz"):
        return FileReference(path=text, written=text)
    raise _invalid(text, f"a reference begins with {SCHEME}, and a file ends with .tgz")


def parse_origin(text: str) -> Origin:
    """Read forms A to D and G; raises MisuseError `reference-invalid`."""
    return parse_chart_repository(text) if text.startswith(WEB_SCHEMES) else parse_oci(text)


def chart_in(repository: str, name: str, version: str) -> Origin:
    """A chart by the repository that holds it, as Chart.yaml names it: an oci:// path, or a chart repository's URL. Raises as `parse_origin`."""
    return parse_origin(f"{repository.rstrip('/')}/{name}:{version}")


def parse_chart_repository(text: str) -> ChartRepositoryReference:
    """Read form G; raises MisuseError `reference-invalid`."""
    scheme = next((scheme for scheme in WEB_SCHEMES if text.startswith(scheme)), None)
    if scheme is None:
        raise _invalid(text, "a chart repository's URL begins with https://")
    name, at, digest_text = text.removeprefix(scheme).partition("@")
    if len(name) > _MAX_URL:
        raise _invalid(text, f"a chart repository's URL has at most {_MAX_URL} characters")
    if at and "/" not in name:
        raise _invalid(text, "credentials do not belong into a reference")
    if "?" in name or "#" in name:
        raise _invalid(text, "a chart repository's URL has no query and no fragment")
    host, _, path = name.partition("/")
    above, _, last = path.rpartition("/")
    chart, colon, version = last.partition(":")
    if not _CHART_NAME.fullmatch(chart) or chart == "index.yaml" or chart.endswith(".tgz"):
        raise _invalid(text, f"{chart[:100]!r} is no chart's name: write the chart repository's URL, then /NAME:VERSION")
    if colon and not _CHART_VERSION.fullmatch(version):
        raise _invalid(text, f"{version[:100]!r} is not one version")
    segments = [canonical_segment(segment, written=text) for segment in above.split("/")] if above else []
    return ChartRepositoryReference(
        registry=f"{scheme}{canonical_web_host(host, scheme, written=text)}",
        repository="/".join((*segments, chart)),
        version=version if colon else None,
        digest=_digest(text, digest_text) if at else None,
        written=text,
    )


def canonical_segment(segment: str, *, written: str) -> str:
    """One segment of a URL's path: what needs no escape has none, and what has one has it in capitals (RFC 3986 section 6.2.2)."""
    canonical = _ESCAPE.sub(_unescaped, segment)
    if canonical in (".", "..") or not _PATH_SEGMENT.fullmatch(segment):
        raise _invalid(written, f"{segment[:100]!r} cannot stand in a path")
    return canonical


def _unescaped(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if _UNRESERVED.fullmatch(character) else match[0].upper()


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
    canonical = _canonical_host(host, 443, written)
    return DOCKER_HUB if canonical in _DOCKER_HUB_ALIASES else canonical


def canonical_web_host(host: str, scheme: str, *, written: str) -> str:
    """The same of a web server, where every name is its own."""
    return _canonical_host(host, 443 if scheme == WEB_SCHEMES[0] else 80, written)


def _canonical_host(host: str, default: int, written: str) -> str:
    lowered = host.lower()
    if lowered.startswith("["):
        address, bracket, port = lowered[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise _invalid(written, "an IPv6 host is written [ADDRESS] or [ADDRESS]:PORT")
        return _with_port(f"[{_ipv6(address, written)}]", port.removeprefix(":") if port else str(default), default, written)
    name, colon, port = lowered.partition(":")
    name = name.removesuffix(".")
    if not _HOSTNAME.fullmatch(name):
        raise _invalid(written, f"{host[:100]!r} is not a host name")
    return _with_port(name, port if colon else str(default), default, written)


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


def _with_port(host: str, port: str, default: int, written: str) -> str:
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise _invalid(written, f"{port[:20]!r} is not a port")
    return host if int(port) == default else f"{host}:{int(port)}"


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
