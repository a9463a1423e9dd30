"""Where charts may come from whose installer does not say: those of Helm's own release records, and those inside of objects (semantics 32).

    sources:
      - repositories: ["oci://ghcr.io/acme/charts"]     # the chart NAME lies below, as `helm push` puts it there; or an https:// chart repository
        when: {namespace: [shop]}
      - unsafe_allow_git: true                           # what lies in git, where it may be a chart or not, passes
        when: {cluster: [sandbox]}

A source allows nothing: the rule for the repository does, as for every chart.
"""

from __future__ import annotations

from verifier.formats.yaml import Node
from verifier.model.context import Context
from verifier.policy.cluster import Source
from verifier.policy.contents import read_when, source_of
from verifier.policy.document import Policy
from verifier.policy.fields import Fields, fail, sequence, true

_SOURCE = ("repositories", "when", "unsafe_allow_git")


def read_sources(node: Node) -> tuple[Source, ...]:
    """The list; raises YamlError."""
    return tuple(_source(item) for item in sequence(node))


def _source(node: Node) -> Source:
    fields = Fields(node, "a source", _SOURCE)
    source = Source(
        repositories=fields.get("repositories", lambda inner: tuple(source_of(item) for item in sequence(inner)), ()),
        context=fields.get("when", read_when, ()),
        git=fields.get("unsafe_allow_git", true, False),
    )
    if not source.repositories and not source.git:
        fail(node, "a source names repositories, or says unsafe_allow_git")
    return source


def repositories_for(policy: Policy, name: str, context: Context) -> tuple[str, ...]:
    """`HOST/PATH/NAME` of every repository that a chart of this name may come from, in this context; in a chart repository with `https://` before it."""
    found = (f"{base}/{name}" for source in policy.sources if context.fits(source.context) for base in source.repositories)
    return tuple(dict.fromkeys(found))


def allows_git(policy: Policy, context: Context) -> bool:
    """Whether what lies in git passes unseen, in this context."""
    return any(source.git and context.fits(source.context) for source in policy.sources)
