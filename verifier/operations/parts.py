"""Examining what a chart is made of, where the rule for it asks (semantics 25): the origins of packed subcharts, and its images.

1. A packed subchart that its parent declares from a registry or a chart repository is resolved there, under the version that lies here; then
   the rule for that repository may ask for its subcharts in turn, to a bounded depth.
2. Images are listed from the values, or from what Helm renders, as the rule says and by nothing else. Each is resolved, and its evidence
   gathered, only if the rule requires something of it and lists its repository.

What cannot be told becomes a part without facts, with the reason; the policy says what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from verifier.charts.archive import ChartArchive, read_archive
from verifier.charts.images import TooMuchError, images_in_manifests, images_in_values
from verifier.charts.subcharts import is_packed
from verifier.formats.yaml import YamlError
from verifier.helm.render import render_chart
from verifier.model import codes, limits
from verifier.model.artifact import Chart, Image, OciChart, OciImage, RepositoryChart
from verifier.model.context import PartKind, Request
from verifier.model.errors import FailedError, InconclusiveError
from verifier.model.reference import Reference
from verifier.net.deadline import Deadline
from verifier.operations.connections import Connections
from verifier.operations.gather import EvidenceFiles, gather, gather_old
from verifier.operations.policies import LoadedPolicy
from verifier.operations.resolve import resolve_image
from verifier.operations.verification import Examined, ExaminedPart, Options, examine, rule_of, under_rule, wanted, without_chart
from verifier.policy.document import Images, ImageSource, Rule
from verifier.policy.parts import origin_of, subcharts_of

_THREADS = 8
_VALUES = "values.yaml"
_Work = Callable[[], ExaminedPart]


class Examiner(Struct, frozen=True, kw_only=True):
    """What parts are examined with; `depth` counts charts in charts."""

    loaded: LoadedPolicy
    connections: Connections
    options: Options
    depth: int = 0

    def with_parts(self, request: Request, examined: Examined, rule: Rule) -> Examined:
        """With the parts of the chart that its rule speaks of; never raises on what it meets."""
        chart = examined.artifact
        assert chart is not None
        assert not isinstance(chart, OciImage)
        sources = frozenset((str(rule.images.source),)) if rule.images is not None else frozenset[str]()
        return replace(examined, parts=self._examine(request, chart, rule), images_from=sources)

    def _examine(self, request: Request, chart: Chart, rule: Rule) -> tuple[ExaminedPart, ...]:
        work = [*self._subcharts(request, chart, rule), *self._images(request, chart, rule)]
        if len(work) > limits.PARTS:
            reason = f"it has {len(work)} subcharts and images, {limits.PARTS} are looked at"
            return (_unknown(PartKind.SUBCHART, "all", reason), _unknown(PartKind.IMAGE, "all", reason))
        if not work:
            return ()
        with ThreadPoolExecutor(min(_THREADS, len(work)), thread_name_prefix="part") as pool:
            return tuple(pool.map(lambda one: one(), work))

    def _subcharts(self, request: Request, chart: Chart, rule: Rule) -> Iterator[_Work]:  # 1
        if rule.subcharts is None or not rule.subcharts.judged:
            return
        for path, item in subcharts_of(chart.facts):
            reference = origin_of(item)
            if reference is not None:
                yield partial(self._subchart, path, replace(request, reference=reference))

    def _subchart(self, path: str, request: Request) -> ExaminedPart:
        rule = rule_of(self.loaded, request)
        if rule is None:  # nobody can judge it, so no packet goes to its host; the policy says the same again
            return ExaminedPart(kind=PartKind.SUBCHART, path=path, request=request, examined=Examined())
        if self.depth >= limits.PART_DEPTH:
            return _unknown(PartKind.SUBCHART, path, f"charts nested deeper than {limits.PART_DEPTH}")
        examined = self._at_origin(request)
        chart = examined.artifact
        if isinstance(chart, OciChart | RepositoryChart):
            # The archive that lies in the parent is compared with the origin's by its hash: nothing about it can move.
            pinned = replace(chart, reference=replace(chart.reference, was_pinned=True))
            examined = replace(self, depth=self.depth + 1).with_parts(request, replace(examined, artifact=pinned), rule)
        return ExaminedPart(kind=PartKind.SUBCHART, path=path, request=request, examined=examined)

    def _at_origin(self, request: Request) -> Examined:
        return examine(request, under_rule(request, self.loaded, self.connections), replace(self.options, files=EvidenceFiles()), wanted(self.loaded.trust))

    def _images(self, request: Request, chart: Chart, rule: Rule) -> Iterator[_Work]:  # 2
        if rule.images is None:
            return
        try:
            found = list_images(chart, rule.images.source, self.options.helm)
        except InconclusiveError as error:
            part = ExaminedPart(kind=PartKind.IMAGE, path=str(rule.images.source), code=error.code, reason=error.reason)
            yield lambda: part
            return
        for item in found:
            yield partial(self._image, item, request, rule.images)

    def _image(self, item: Image, request: Request, images: Images) -> ExaminedPart:
        if item.reference is None:
            return ExaminedPart(kind=PartKind.IMAGE, path=item.written, code=codes.IMAGE_REFUSED, reason=f"{item.where}: {item.problem}")
        request = replace(request, reference=item.reference)
        # A chart must not choose which hosts are asked: what the rule does not list is refused without a packet to it.
        listed = any(scope.matches(item.reference.registry, item.reference.repository) for scope in images.scopes or ())
        examined = self._image_evidence(item.reference) if images.require is not None and listed else Examined()
        return ExaminedPart(kind=PartKind.IMAGE, path=item.written, request=request, examined=examined)

    def _image_evidence(self, reference: Reference) -> Examined:
        try:
            pinned = resolve_image(reference, self.connections.with_floor(False).source(reference, Deadline.after(self.options.seconds)))
        except (FailedError, InconclusiveError) as error:
            return without_chart(error, str(reference))
        gathered = gather(pinned, self.connections, pinned.source.referrers(pinned.fetched.digest), wanted(self.loaded.trust))
        artifact = OciImage(reference=pinned.reference, manifest=pinned.fetched.data)
        return Examined(artifact=artifact, gathered=gathered, later=partial(gather_old, pinned, self.connections))


def list_images(chart: Chart, source: ImageSource, helm: str) -> tuple[Image, ...]:
    """The images that a chart names; raises InconclusiveError `images-unknown`."""
    try:
        match source:
            case ImageSource.RENDERED:
                return images_in_manifests(render_chart(chart.archive, helm))
            case ImageSource.VALUES:
                found = _values_of(read_archive(chart.archive, where=chart.facts.label), "")
                return tuple({item.written: item for values in found for item in values}.values())
    except YamlError as error:
        raise InconclusiveError(codes.IMAGES_UNKNOWN, f"its {source} cannot be read: {error}") from error
    except TooMuchError as error:
        raise InconclusiveError(codes.IMAGES_UNKNOWN, f"its {source} hold more than is looked at") from error


def _values_of(archive: ChartArchive, above: str) -> Iterator[tuple[Image, ...]]:
    """Of the chart and of all that lie in it, each with its own appVersion."""
    for path, content in archive.files.items():
        folder, _, name = path.rpartition("/")
        if name == _VALUES and (not folder or _is_chart(folder)):
            version = str(archive.facts.metadata.get("appVersion") or archive.facts.version) if not folder else ""
            yield images_in_values(content, version, where=f"{above}{path}")
        elif is_packed(path):
            yield from _values_of(read_archive(content, where=path), f"{above}{path}!")


def _is_chart(folder: str) -> bool:
    """`charts/a`, `charts/a/charts/b`, ..."""
    parts = folder.split("/")
    return len(parts) % 2 == 0 and all(part == "charts" for part in parts[0::2])


def _unknown(kind: PartKind, path: str, reason: str) -> ExaminedPart:
    return ExaminedPart(kind=kind, path=path, code=codes.EVIDENCE_LIMIT, reason=reason)
