"""Verifying what a chart depends on, before it is packaged: each dependency under the policy, and what lies in `charts/` against it.

1. Chart.yaml says what is wanted, Chart.lock which version a range stood for; the lock must be of these dependencies.
2. Each dependency is looked up where Chart.yaml says, in its registry or chart repository, and judged by the policy, as `verify` does.
3. An archive in `charts/` must be the one that was judged, byte for byte. An unpacked one cannot be compared; one that nobody declares is nobody's.
4. Digests are recorded in Chart.verified.lock, and from then on must be the same: another chart under a version that was recorded is drift, and denied,
   also where the policy allows it. `update` records anew.

A dependency that lies nowhere else (`file://`) or where only this machine's Helm knows (`@alias`) is a failure with a reason, never left out.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.dependencies import lock_problem
from verifier.charts.metadata import read_chart_yaml, read_lock_yaml
from verifier.charts.packaging import read_directory
from verifier.formats.yaml import Node, YamlError, dump_yaml, parse_yaml
from verifier.model import codes
from verifier.model.artifact import OciChart, RepositoryChart
from verifier.model.codes import Code
from verifier.model.context import Context, Request
from verifier.model.decision import Decision
from verifier.model.digest import Digest, sha256
from verifier.model.errors import FailedError, MisuseError, VerifierError
from verifier.model.reference import Origin, chart_in
from verifier.oci.layout import replace_file
from verifier.operations.connections import Connections
from verifier.operations.policies import LoadedPolicy
from verifier.operations.resolve import read_local
from verifier.operations.verification import Options, verify_all
from verifier.policy.fields import Fields, fail, sequence, text

LOCK = "Chart.verified.lock"
_LOCK_BYTES = 1024 * 1024


class Recorded(Struct, frozen=True, kw_only=True):
    """One line of the lock: a version, its digest (the manifest's; in a chart repository the archive's), and the archive's."""

    name: str
    repository: str
    version: str
    digest: str
    archive: str


class Dependency(Struct, frozen=True, kw_only=True):
    """One dependency, or something in `charts/`; `problem` says why it does not hold although the policy may allow it."""

    name: str
    version: str
    place: str
    decision: Decision | None = None
    recorded: Recorded | None = None
    vendored: bool = False
    code: Code | None = None
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Whether it is allowed, and is what lies here and was recorded."""
        return self.code is None and self.decision is not None and self.decision.allowed


class Dependencies(Struct, frozen=True, kw_only=True):
    """All of them; `written` says whether the lock was written."""

    found: tuple[Dependency, ...]
    written: bool

    @property
    def hold(self) -> bool:
        """Whether each holds."""
        return all(item.holds for item in self.found)


class Judging(Struct, frozen=True, kw_only=True):
    """What judging takes, the same for each."""

    loaded: LoadedPolicy
    connections: Connections
    options: Options
    context: Context


class Declared(Struct, frozen=True, kw_only=True):
    """A chart's directory as it was read: its files, and its dependencies in the order of Chart.yaml, at the versions of its lock."""

    directory: Path
    files: Mapping[str, bytes]
    items: tuple[Dependency, ...]

    @property
    def references(self) -> tuple[Origin, ...]:
        """Of those that can be looked up; the others are told when they are judged."""
        found = []
        for item in self.items:
            with contextlib.suppress(VerifierError):
                found.append(_reference(item))
        return tuple(found)


def read_declared(directory: Path) -> Declared:
    """1; raises MisuseError for a chart that cannot be read, or a lock of other dependencies."""
    files = read_directory(directory)
    metadata = read_chart_yaml(files, where=str(directory)).metadata
    if (problem := lock_problem(metadata, files, where=str(directory))) is not None:
        raise MisuseError(codes.CHART_INVALID, f"{problem}; run `helm dependency update`", where=str(directory))
    name = "Chart.lock" if metadata.get("apiVersion") == "v2" else "requirements.lock"
    lock = read_lock_yaml(files[name], where=name) if metadata.get("dependencies") else {}
    resolved = lock.get("dependencies") or []  # the same as declared, one by one: a chart may be a dependency twice, under two aliases
    items = tuple(Dependency(name=item["name"], version=item.get("version") or "", place=item.get("repository") or "") for item in resolved)
    return Declared(directory=directory, files=files, items=items)


def verify_dependencies(declared: Declared, judging: Judging, *, update: bool) -> Dependencies:
    """2 to 4; raises MisuseError for a record that cannot be read or written."""
    path = declared.directory / LOCK
    known = {} if update else _read_lock(path)
    found = [_held(_compared(item, declared.files), known) for item in _judged(declared.items, judging)]
    found += _strangers(declared.files, {item.name for item in found})
    written = bool(found) and all(item.holds for item in found) and (update or not known)
    if written:
        _write_lock(path, [item.recorded for item in found if item.recorded is not None])
    return Dependencies(found=tuple(found), written=written)


def _judged(declared: Sequence[Dependency], judging: Judging) -> list[Dependency]:
    """2."""
    found, requests = [], []
    for item in declared:
        try:
            requests.append(Request(reference=_reference(item), context=judging.context))
            found.append(item)
        except VerifierError as problem:
            found.append(replace(item, code=codes.CHART_UNVERIFIABLE, problem=problem.reason))
    results = iter(verify_all(requests, judging.loaded, judging.connections, judging.options) if requests else [])
    return [item if item.code is not None else _with(item, next(results)) for item in found]


def _reference(item: Dependency) -> Origin:
    if not item.place or item.place.startswith("file:"):
        raise FailedError(codes.CHART_UNVERIFIABLE, "it lies beside the chart, or in charts/; only the chart's own signature covers it")
    if item.place.startswith(("@", "alias:")):
        raise FailedError(
            codes.CHART_UNVERIFIABLE, f"it comes from {item.place[:200]!r}, a name that only one machine's Helm knows; write the repository's URL"
        )
    return chart_in(item.place, item.name, item.version)


def _with(item: Dependency, result: Decision | MisuseError) -> Dependency:
    if isinstance(result, MisuseError):
        return replace(item, code=result.code, problem=result.reason)
    if not result.allowed or not isinstance(result.artifact, OciChart | RepositoryChart):
        return replace(item, decision=result, code=result.check.code, problem=result.check.reason)
    pinned, archive = result.artifact.reference.digest, result.artifact.archive_digest
    recorded = Recorded(name=item.name, repository=item.place, version=item.version, digest=str(pinned), archive=str(archive))
    return replace(item, decision=result, recorded=recorded)


def _compared(item: Dependency, files: Mapping[str, bytes]) -> Dependency:
    """3."""
    if item.recorded is None:
        return item
    path = f"charts/{item.name}-{item.version}.tgz"
    if path in files:
        if str(_digest(files[path], item.recorded.archive)) == item.recorded.archive:
            return replace(item, vendored=True)
        reason = f"{path} is {sha256(files[path]).short}..., its repository holds another archive under that version"
        return replace(item, code=codes.SUBCHART_DIFFERS, problem=reason)
    if any(name.startswith(f"charts/{item.name}/") for name in files):
        return replace(item, code=codes.SUBCHART_UNPACKED, problem=f"charts/{item.name}/ is unpacked, and cannot be compared with its repository's archive")
    return item


def _digest(data: bytes, like: str) -> Digest:
    algorithm = like.partition(":")[0]
    return Digest(algorithm, hashlib.new(algorithm, data).hexdigest())


def _held(item: Dependency, known: Mapping[tuple[str, str], Recorded]) -> Dependency:
    """4."""
    if item.recorded is None or item.code is not None or not known:
        return item
    before = known.get((item.name, item.version))
    if before is None:
        return replace(item, code=codes.DEPENDENCY_DRIFT, problem=f"{LOCK} does not record it")
    differing = [field for field in before.__struct_fields__ if getattr(before, field) != getattr(item.recorded, field)]
    if not differing:
        return item
    reason = f"{differing[0]}: {LOCK} records {getattr(before, differing[0])}, found {getattr(item.recorded, differing[0])}"
    return replace(item, code=codes.DEPENDENCY_DRIFT, problem=reason)


def _strangers(files: Mapping[str, bytes], declared: set[str]) -> Iterator[Dependency]:
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        if folder == "charts" and name.endswith(".tgz") and not any(name.startswith(f"{known}-") for known in declared):
            reason = "Chart.yaml declares no dependency that it could be"
            yield Dependency(name=name, version="", place=path, code=codes.CHART_UNVERIFIABLE, problem=reason)


def _read_lock(path: Path) -> dict[tuple[str, str], Recorded]:
    if not path.is_file():
        return {}
    try:
        fields = Fields(parse_yaml(read_local(path, _LOCK_BYTES)), "the lock", ("apiVersion", "kind", "dependencies"))
        if (text(fields.need("apiVersion")), text(fields.need("kind"))) != ("verifier/v1", "DependencyLock"):
            fail(fields.node, "expected apiVersion verifier/v1 and kind DependencyLock")
        return {(item.name, item.version): item for item in map(_read_line, sequence(fields.need("dependencies")))}
    except YamlError as problem:
        raise MisuseError(codes.FILE_UNREADABLE, f"{problem}; write it anew with --update", where=str(path)) from problem


def _read_line(node: Node) -> Recorded:
    fields = Fields(node, "a dependency", Recorded.__struct_fields__)
    return Recorded(**{name: text(fields.need(name)) for name in Recorded.__struct_fields__})


def _write_lock(path: Path, lines: Sequence[Recorded]) -> None:
    value = {
        "apiVersion": "verifier/v1",
        "kind": "DependencyLock",
        "dependencies": [{name: getattr(line, name) for name in line.__struct_fields__} for line in lines],
    }
    try:
        replace_file(path, dump_yaml(value).encode())
    except OSError as problem:
        raise MisuseError(codes.WRITE_FAILED, problem.strerror or str(problem), where=str(path)) from problem
