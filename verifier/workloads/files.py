"""Files that name charts: what kind each document is, and what it names; a file that names none is misuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from verifier.formats.loose import get, items
from verifier.formats.yaml import YamlError, load_values
from verifier.model import codes, limits
from verifier.model.errors import MisuseError
from verifier.workloads.chart_files import is_chart, is_helmfile, is_kustomization, of_chart, of_helmfile, of_kustomization, of_list
from verifier.workloads.kinds import new_needs, reader_of, uses_of
from verifier.workloads.object import Every, Found, Need, Object, read_object
from verifier.workloads.use import ChartUse, Document, Named, Unverifiable

_DEPTH = 3  # lists of lists
_ORIGINS = ("OCIRepository", "HelmRepository", "Channel")
_REFERENCES = ("oci://", "oci-layout://", "file:")


def charts_in(files: Mapping[str, bytes], locks: Mapping[str, Mapping[str, str]]) -> tuple[ChartUse, ...]:
    """What all files name together, since one may hold what another refers to; `locks` are the locked versions by the Chart.yaml's name.

    Raises MisuseError `file-unreadable` for a file that is neither YAML nor a list, and `no-chart` for one that names no chart.
    """
    read = {name: _read(name, data) for name, data in files.items()}
    found = {name: list(_of_file(name, content, locks.get(name, {}))) for name, content in read.items()}
    everything = [document for content in read.values() if not isinstance(content, str) for document in content]
    joined = list(_of_objects(_bounded(objects_in(everything))))
    for name, content in read.items():
        if not found[name] and not any(use.place.startswith((f"{name}:", f"{name}[")) for use in joined) and not _supports(content):
            raise MisuseError(codes.NO_CHART, "it names no chart: neither dependencies, releases, helmCharts, nor objects of Argo CD or Flux", where=name)
    uses = tuple([use for found_here in found.values() for use in found_here] + joined)
    if len(uses) > limits.NAMED_CHARTS:
        raise MisuseError(codes.USAGE, f"{len(uses)} charts are named, at most {limits.NAMED_CHARTS} are verified in one run")
    return uses


def objects_in(documents: Sequence[Document], depth: int = 0) -> Iterator[Object]:
    """All objects, those in lists too. Whoever walks them counts: YAML's aliases can make few bytes many objects."""
    for document in documents:
        value = document.value
        if get(value, "kind") == "List" and depth < _DEPTH:
            inner = [Document(place=f"{document.place}: items[{index}]", value=item) for index, item in enumerate(items(get(value, "items")))]
            yield from objects_in(inner, depth + 1)
        elif (item := read_object(document.place, value)) is not None:
            yield replace(item, place=f"{document.place}: {item.kind} {item.name}".rstrip())


def _of_objects(objects: Sequence[Object]) -> Iterator[ChartUse]:
    """What objects name, joined among those that are given. What lies in git is not theirs to name; where charts come from installs nothing."""
    found: dict[Need, tuple[Object, ...]] = {}
    named: set[str] = set()
    for origins in (False, True):
        for item in objects:
            if (item.kind in _ORIGINS) is not origins:
                continue
            for use in uses_of(item, _looked_up(item, objects, found)):
                match use:
                    case Unverifiable(git=True):
                        continue
                    case Unverifiable(code=codes.ORIGIN_MISSING, problem=problem):
                        use = replace(use, problem=f"{problem}: it is in none of the files")
                    case Named(reference=said) | Unverifiable(problem=said):
                        if origins and said in named:
                            continue
                        named.add(said)
                    case _:
                        pass
                yield use


def _looked_up(item: Object, objects: Sequence[Object], found: dict[Need, tuple[Object, ...]]) -> Found:
    while needs := tuple(new_needs(item, found)):
        for need in needs:
            found[need] = tuple(other for other in objects if _meets(other, need))
    return found


def _meets(item: Object, need: Need) -> bool:
    match need:
        case Every(group=group, kind=kind, namespace=namespace):
            return (item.group, item.kind) == (group, kind) and namespace in (None, item.namespace)
        case name:
            return item.key == name


def _bounded(found: Iterator[Object]) -> list[Object]:
    kept = list(islice(found, limits.NAMED_OBJECTS + 1))
    if len(kept) > limits.NAMED_OBJECTS:
        raise MisuseError(codes.USAGE, f"more than {limits.NAMED_OBJECTS} objects; give fewer files")
    return kept


def _read(name: str, data: bytes) -> str | list[Document]:
    """A list of references as text, anything else as its YAML documents."""
    text = data.decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    if lines and all(line.startswith(_REFERENCES) or line.endswith(".tgz") for line in (line.partition(" #")[0].strip() for line in lines)):
        return text
    try:
        values = list(load_values(data))
    except YamlError as error:
        raise MisuseError(codes.FILE_UNREADABLE, f"neither a list of references nor YAML ({error}); render a template first", where=name) from error
    several = len(values) > 1
    return [Document(place=f"{name}[{index}]" if several else name, value=value) for index, value in enumerate(values)]


def _of_file(name: str, content: str | Sequence[Document], locked: Mapping[str, str]) -> Iterator[ChartUse]:
    if isinstance(content, str):
        yield from of_list(name, content)
        return
    for document in content:
        if is_chart(document.value):
            yield from of_chart(document, locked)
        elif is_helmfile(document.value):
            yield from of_helmfile(document)
        elif is_kustomization(document.value):
            yield from of_kustomization(document)


def _supports(content: str | Sequence[Document]) -> bool:
    """Whether a file holds what objects in other files refer to, and nothing that installs anything by itself."""
    return not isinstance(content, str) and any(item.kind in _ORIGINS and reader_of(item) is not None for item in objects_in(content))
