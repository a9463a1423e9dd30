"""Reading what a rule says of a chart's contents, `subcharts:` and `images:`, and what it selects on: scopes, repositories and `when:`."""

from __future__ import annotations

from verifier.formats.yaml import Node
from verifier.model.context import CONTEXT_KEYS, Selection
from verifier.model.errors import MisuseError
from verifier.model.reference import WEB_SCHEMES, parse_chart_repository
from verifier.policy.document import Images, ImageSource, Subcharts
from verifier.policy.fields import Fields, fail, one_of, sequence, text, texts, true
from verifier.policy.requirements import Names, read_image_requirement
from verifier.policy.scopes import Scope, parse_scope

_SUBCHARTS = ("packed", "unpacked", "partial")
_IMAGES = ("from", "pinned", "repositories", "require")


def read_subcharts(node: Node) -> Subcharts:
    """Read `subcharts:`; raises YamlError."""
    fields = Fields(node, "subcharts", _SUBCHARTS)
    judged = one_of("judged", "parent")(fields.need("packed")) == "judged"
    if fields.has("partial") and not judged:
        fail(fields.need("partial"), "partial goes with `packed: judged`: where the chart's own signature stands for all, nothing is left unjudged")
    return Subcharts(
        judged=judged,
        unpacked=fields.optional("unpacked", one_of("parent")) is not None,
        partial=fields.optional("partial", one_of("accept")) is not None,
    )


def read_images(node: Node, names: Names) -> Images:
    """Read `images:`; raises YamlError."""
    fields = Fields(node, "images", _IMAGES)
    images = Images(
        source=ImageSource(one_of(*ImageSource)(fields.need("from"))),
        pinned=fields.optional("pinned", true) is not None,
        scopes=fields.optional("repositories", lambda inner: tuple(_repository(item) for item in sequence(inner))),
        require=fields.optional("require", lambda inner: read_image_requirement(inner, names)),
    )
    if images.require is not None and images.scopes is None:
        fail(fields.need("require"), "require goes with repositories: a chart must not choose which registries are asked")
    if not images.pinned and images.scopes is None and images.require is None:
        fail(node, "images demands nothing: say pinned, repositories or require")
    return images


def scope(node: Node) -> Scope:
    """One scope; raises YamlError."""
    try:
        return parse_scope(text(node))
    except ValueError as error:
        fail(node, str(error))


def read_when(node: Node) -> Selection:
    """Read `when:`; raises YamlError."""
    fields = Fields(node, "when", CONTEXT_KEYS)
    if not fields.items():
        fail(node, "when must select on something")
    return tuple((key, frozenset(texts(inner))) for key, inner in sorted(fields.items().items()))


def repository_of(node: Node) -> str:
    """`host/path` of one repository in a registry, written as a scope without wildcards; raises YamlError."""
    return _one(node, WEB_SCHEMES, "one repository is meant: oci://HOST/PATH without wildcards")


def source_of(node: Node) -> str:
    """`host/path` in a registry below which charts lie, or the URL of a chart repository; raises YamlError."""
    written = text(node)
    if not written.startswith(WEB_SCHEMES):
        return repository_of(node)
    try:
        return parse_chart_repository(f"{written.rstrip('/')}/any").url
    except MisuseError as error:
        fail(node, error.reason)


def chart_of(node: Node) -> str:
    """`host/path` of one chart in a registry, or `https://host/path/NAME` of one in a chart repository; raises YamlError."""
    return _one(node, (), "one chart is meant: oci://HOST/PATH/NAME or https://HOST/PATH/NAME, without wildcards")


def _one(node: Node, refused: tuple[str, ...], expected: str) -> str:
    read = scope(node)
    if not read.host or read.host.startswith(refused) or read.rank[0] != 2:
        fail(node, expected)
    return f"{read.host}/{'/'.join(read.segments)}"


def _repository(node: Node) -> Scope:
    read = scope(node)
    if not read.host or read.host.startswith(WEB_SCHEMES):
        fail(node, "images lie in repositories: oci://HOST/PATH")
    return read
