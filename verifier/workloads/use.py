"""A chart that something names: where, and as what; or why it cannot be verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.version import parse_version
from verifier.model import codes
from verifier.model.codes import Code
from verifier.model.digest import parse_digest
from verifier.model.errors import MisuseError
from verifier.model.reference import SCHEME, WEB_SCHEMES, is_tag, parse_oci

_VERIFIED = "verified+oci://"
_TEMPLATES = ("{{", "${")
_NO_DIGEST = "from a chart repository over https it takes no digest; keep the chart in a registry"


class Pin(Struct, frozen=True, kw_only=True):
    """Where in an object a digest is written so that its controller obeys it: the digest alone, or as part of the whole reference.

    `beside` is written there, too: the fields that must not contradict the digest any more, with their new values (None removes one).
    """

    path: tuple[str | int, ...]
    whole: bool = False
    beside: tuple[tuple[tuple[str | int, ...], str | None], ...] = ()


class Named(Struct, frozen=True, kw_only=True):
    """A chart by a reference that is still to be parsed. Without `pin`, `unpinnable` says why no digest can be written.

    `namespace` is where the object lies that installs it, if that is not the object that was given. `made_later`: another object will name
    it, and that is where a digest is demanded.
    """

    place: str
    reference: str
    pin: Pin | None = None
    unpinnable: str = ""
    namespace: str | None = None
    made_later: bool = False


class Inline(Struct, frozen=True, kw_only=True):
    """A chart whose archive is part of the object."""

    place: str
    archive: bytes


class Unverifiable(Struct, frozen=True, kw_only=True):
    """A chart that nobody can verify as it is named. `deferred`: the object makes others, which are judged themselves.

    `git`: it lies in a repository of source code, where it may be a chart or not.
    """

    place: str
    problem: str
    code: Code = codes.CHART_UNVERIFIABLE
    deferred: bool = False
    git: bool = False


ChartUse = Named | Inline | Unverifiable


class Document(Struct, frozen=True, kw_only=True):
    """One YAML document of a file; `place` names both."""

    place: str
    value: Any


ELSEWHERE = "only charts in registries and chart repositories can be verified"


def unverifiable(place: str, problem: str) -> Unverifiable:
    """A chart that nobody can verify as it is named."""
    return Unverifiable(place=place, problem=problem)


def pinnable(use: ChartUse, *path: str | int, whole: bool = False, beside: Mapping[tuple[str | int, ...], str | None] | None = None) -> ChartUse:
    """The use, with the place for its digest; what lies in a chart repository has none that anybody obeys."""
    if isinstance(use, Named) and use.reference.startswith(WEB_SCHEMES):
        return unpinnable(use, _NO_DIGEST)
    return replace(use, pin=Pin(path=path, whole=whole, beside=tuple((beside or {}).items()))) if isinstance(use, Named) else use


def unpinnable(use: ChartUse, why: str) -> ChartUse:
    """The use, with the reason why its controller obeys no digest."""
    return replace(use, unpinnable=why) if isinstance(use, Named) else use


def only(place: str, stanza: Mapping[str, Any], known: frozenset[str]) -> Iterator[Unverifiable]:
    """A finding for each field that we do not know among those that name a chart: it could name another."""
    for key in sorted(str(key) for key in stanza if key not in known):
        yield unverifiable(f"{place}.{key[:60]}", f"an unknown field {key[:60]!r}, which may say which chart is meant")


def fetched_dependencies(place: str, options: Mapping[str, Any]) -> Iterator[Unverifiable]:
    """A finding where dependencies are fetched when the chart is installed (semantics 25)."""
    if options.get("dependencyUpdate") not in (None, False):
        yield unverifiable(f"{place}.dependencyUpdate", "dependencies that are fetched when it is installed are no part of what was signed")


def is_template(text: str) -> bool:
    """Whether somebody else fills it in later."""
    return any(mark in text for mark in _TEMPLATES)


def from_repository(place: str, repository: str, name: str, version: str) -> ChartUse:
    """A chart by repository, name and version, as Helm's users write it."""
    where = repository.rstrip("/")
    if where.startswith(_VERIFIED):
        where = f"{SCHEME}{where.removeprefix(_VERIFIED)}"
    if not where:
        return unverifiable(place, f"{name or 'a chart'} names no repository")
    if where.startswith(WEB_SCHEMES) and name:
        return _in_chart_repository(place, where, name, version)
    if not where.startswith(SCHEME):
        return unverifiable(place, f"{name or 'the chart'} comes from {where[:200]!r}, which is no registry and no chart repository")
    return pinned(place, f"{where}/{name}" if name else where, version)


def _in_chart_repository(place: str, repository: str, name: str, version: str) -> ChartUse:
    """A chart of a chart repository, in one version; its digest is written nowhere that Helm or a controller would obey."""
    if (template := _template(place, repository, name, version)) is not None:
        return template
    if not version:
        return unverifiable(place, f"{name[:200]} of {repository[:200]} names no version")
    if parse_version(version) is None:
        return _several(place, name, version)
    return Named(place=place, reference=f"{repository}/{name}:{version}")


def from_helm(place: str, chart: str, repository: str, version: str) -> ChartUse:
    """A chart as it is handed to Helm: `chart` is a name in `repository`, or says by itself where it lies."""
    if chart.startswith(SCHEME):
        return pinned(place, chart, version)
    if "://" in chart:
        return unverifiable(place, f"the chart comes from {chart[:200]!r}; name its repository, and the chart in it")
    if not repository:
        return unverifiable(place, f"the chart {chart[:200]!r} is a path or an alias, of which nobody else knows what it means")
    return from_repository(place, repository, chart, version)


def pinned(place: str, repository: str, version: str, digest: str = "") -> ChartUse:
    """A chart by its own oci:// URL, with a version, a digest, or both; a range means another chart tomorrow.

    A version may be a digest, as some controllers have it.
    """
    if (template := _template(place, repository, version, digest)) is not None:
        return template
    if not digest and _is_digest(version):
        version, digest = "", version
    if digest and not _is_digest(digest):
        return unverifiable(place, f"{digest[:80]!r} is not a digest")
    if not version and not digest and not _says_which(repository):
        return unverifiable(place, f"{repository[:200]} names no version")
    if version and parse_version(version) is None and not is_tag(version.replace("+", "_")):
        return _several(place, repository, version)
    return Named(place=place, reference=_joined(repository, version, digest))


def _template(place: str, *texts: str) -> Unverifiable | None:
    """The first text that somebody else fills in later."""
    return next((unverifiable(place, f"{text[:200]!r} is a template; render the file first") for text in texts if is_template(text)), None)


def _several(place: str, chart: str, version: str) -> Unverifiable:
    return unverifiable(place, f"{chart[:200]} in version {version[:60]!r}, which is not one version: it may mean another chart tomorrow")


def _joined(repository: str, version: str, digest: str) -> str:
    """A repository that carries a digest already gets its version before it."""
    bare, at, own = repository.partition("@")
    tag = f":{version}" if version else ""
    return f"{bare}{tag}{at}{own}{f'@{digest}' if digest else ''}"


def _says_which(repository: str) -> bool:
    try:
        reference = parse_oci(repository)
    except MisuseError:
        return False
    return reference.tag is not None or reference.digest is not None


def _is_digest(text: str) -> bool:
    try:
        parse_digest(text)
    except ValueError:
        return False
    return True
