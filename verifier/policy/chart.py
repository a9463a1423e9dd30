"""Reading `chart:`: conditions on the chart itself."""

from __future__ import annotations

from verifier.charts.version import Range, Version, parse_range, parse_version
from verifier.formats.yaml import Node
from verifier.model.claim import Clock
from verifier.model.decision import Action
from verifier.policy.document import ChartIs, Dependencies, Window
from verifier.policy.fields import Fields, boolean, duration, fail, one_of, positive, sequence, text, texts, true
from verifier.policy.scopes import Scope, parse_scope

_OWN = "chart"  # where a rule's own conditions stand
_FIELDS = (
    "name",
    "pinned",
    "version",
    "prerelease",
    "maxAge",
    "clock",
    "annotations",
    "type",
    "deprecated",
    "maxBytes",
    "kubeVersion",
    "dependencies",
)


def read_chart(node: Node, *, place: str = _OWN, window: Window | None = None, action: Action = Action.ENFORCE) -> ChartIs:
    """Conditions on the chart, at least one; raises YamlError. `place` is where they stand in a requirement."""
    fields = Fields(node, "chart", _FIELDS)
    if not fields.items():
        fail(node, "chart must name a condition")
    clock = fields.optional("clock", one_of("proven", "signer"))
    if clock is not None and not fields.has("maxAge"):
        fail(node, "clock goes with maxAge")
    if fields.has("maxAge") and place != _OWN:
        fail(fields.need("maxAge"), "maxAge belongs to a rule's own `chart:`, beside `require:`")
    return ChartIs(
        name=fields.optional("name", text),
        pinned=fields.optional("pinned", true),
        version=fields.optional("version", read_versions),
        prerelease=fields.optional("prerelease", boolean),
        max_age=fields.optional("maxAge", duration),
        clock=Clock.SIGNER if clock == "signer" else None,
        annotations=fields.get("annotations", texts, ()),
        type=fields.optional("type", one_of("application", "library")),
        deprecated=fields.optional("deprecated", _only_false),
        max_bytes=fields.optional("maxBytes", positive),
        kube_version=fields.optional("kubeVersion", _kube_version),
        dependencies=fields.optional("dependencies", _dependencies),
        place=place,
        window=window or Window(),
        action=action,
    )


def read_versions(node: Node) -> Range:
    """A version range."""
    try:
        return parse_range(text(node))
    except ValueError as error:
        fail(node, str(error))


def _kube_version(node: Node) -> Version:
    found = parse_version(text(node))
    if found is None:
        fail(node, "kubeVersion is the version of the cluster, such as 1.34.0")
    return found


def _dependencies(node: Node) -> Dependencies:
    fields = Fields(node, "dependencies", ("repositories", "lock"))
    if not fields.items():
        fail(node, "dependencies must name a condition: repositories or lock")
    locked = fields.optional("lock", one_of("required")) is not None
    if not fields.has("repositories"):
        return Dependencies(locked=locked)
    scopes, urls = list[Scope](), set[str]()
    for item in sequence(fields.need("repositories")):
        written = text(item)
        if written.startswith("https://"):
            urls.add(_url(item, written))
        else:
            scopes.append(_scope(item, written))
    return Dependencies(scopes=tuple(scopes), urls=frozenset(urls), locked=locked)


def _scope(node: Node, written: str) -> Scope:
    if not written.startswith("oci://"):
        fail(node, "a dependency's repository is an oci:// scope, or the whole https:// URL of a chart repository")
    try:
        return parse_scope(written)
    except ValueError as error:
        fail(node, str(error))


def _url(node: Node, written: str) -> str:
    if "*" in written:
        fail(node, "a chart repository's URL is compared exactly; write it without a wildcard")
    return written.rstrip("/")


def _only_false(node: Node) -> bool:
    if boolean(node):
        fail(node, "only `false` demands something; leave the field out otherwise")
    return False
