"""What Helm asks a getter for, read from the URL: the only thing of the user's that Helm hands on (`--version` is not).

    url     = "verified+oci://" HOST "/" PATH "/" what
    what    = chart                        install, upgrade, template, pull, show
            / chart "/" file [".prov"]     the same with `--verify`, which needs a file name; what our index lists
            / file [".prov"]               the same, where no digest is given
            / "index.yaml"                 `repository: verified+oci://HOST/PATH` in a Chart.yaml, `helm repo add`
    chart   = NAME ":" VERSION ["@" DIGEST] / NAME "@" DIGEST
    file    = NAME "-" VERSION ".tgz"

In `file` alone the version begins at the first "-" after which a whole semantic version follows. Nothing here is percent-decoded.
Source: helm/helm pkg/getter/plugingetter.go, internal/plugin (the arguments of a getter); what six Helms do was measured.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.version import parse_version
from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.model.reference import SCHEME as OCI
from verifier.model.reference import Reference, canonical_host, is_repository, masked, parse_oci

SCHEME = "verified+oci://"
INDEX = "index.yaml"
_ARCHIVE = ".tgz"
_PROVENANCE = ".prov"
_WHOLE = 3  # parts of a version: 1.2.3


class ChartAsked(Struct, frozen=True, kw_only=True):
    """A chart's archive, or its `.prov`; `file` is the archive's name where the URL ends with one, and must be the chart's own."""

    reference: Reference
    file: str | None = None
    provenance: bool = False


class IndexAsked(Struct, frozen=True, kw_only=True):
    """A list of the charts below HOST/PATH, or of the chart that HOST/PATH is."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{OCI}{self.registry}/{self.path}"


def read_url(url: str) -> ChartAsked | IndexAsked:
    """Read what Helm asks for; raises MisuseError `reference-invalid` that says what to write instead."""
    if not url.startswith(SCHEME):
        raise _invalid(url, f"it must begin with {SCHEME}")
    above, _, last = url.removeprefix(SCHEME).rpartition("/")
    if not above:
        raise _invalid(url, "a repository must follow the host")
    if last == INDEX:
        return _index(above, url)
    file = last.removesuffix(_PROVENANCE)
    if not file.endswith(_ARCHIVE):
        if last.endswith(_PROVENANCE):
            raise _invalid(url, "Helm's --verify needs a URL that ends with a file name: .../NAME:VERSION/NAME-VERSION.tgz")
        return ChartAsked(reference=_pinned(f"{above}/{last}", url))
    asked = ChartAsked(reference=_named(above, file, url), file=file, provenance=last.endswith(_PROVENANCE))
    return replace(asked, reference=replace(asked.reference, written=url))


def chart_url(registry: str, repository: str, tag: str, file: str) -> str:
    """The URL under which our index lists a chart; it ends as Helm wants a file to be called."""
    return f"{SCHEME}{registry}/{repository}:{tag}/{file}"


def _named(above: str, file: str, url: str) -> Reference:
    """The chart that a URL with a file name means: said before it, or by it alone."""
    last = above.rpartition("/")[2]
    if ":" in last or "@" in last:
        if "/" in above:
            return _pinned(above, url)
        raise _invalid(url, "a repository must follow the host")
    stem = file.removesuffix(_ARCHIVE)
    for place, character in enumerate(stem):
        version = parse_version(stem[place + 1 :]) if character == "-" and place else None
        if version is not None and version.parts == _WHOLE:
            return _pinned(f"{above}/{stem[:place]}:{stem[place + 1 :]}", url)
    raise _invalid(url, f"{file[:100]!r} is not NAME-VERSION.tgz")


def _pinned(text: str, url: str) -> Reference:
    try:
        reference = parse_oci(f"{OCI}{text}")
    except MisuseError as error:
        raise _invalid(url, error.reason) from error
    if reference.tag is None and reference.digest is None:
        raise _invalid(url, "Helm does not tell a getter what --version says: write the version into the URL, as in .../NAME:1.2.3")
    return replace(reference, written=url)


def _index(above: str, url: str) -> IndexAsked:
    host, _, path = above.partition("/")
    if "@" in host:
        raise _invalid(url, "credentials do not belong into a URL; use `helm registry login`")
    if path and not is_repository(path):
        raise _invalid(url, f"{path[:150]!r} is not a path (lower-case words joined by '.', '_', '-' and '/')")
    return IndexAsked(registry=canonical_host(host, written=url), path=path)


def _invalid(url: str, why: str) -> MisuseError:
    return MisuseError(codes.REFERENCE_INVALID, why, where=repr(masked(url)))
