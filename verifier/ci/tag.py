"""Tag checks: the git tag that a run is for must say the chart's version, or what is released is not what was tagged.

template = text with {version} once, and {name} where one repository holds several charts
"""

from __future__ import annotations

import re

from verifier.model import codes
from verifier.model.artifact import ChartFacts
from verifier.model.errors import MisuseError

_FIELD = re.compile(r"\{([^{}]*)\}")
_KNOWN = ("name", "version")


def check_template(template: str) -> None:
    """Raises MisuseError `usage` for a template that says nothing of the version."""
    fields = _FIELD.findall(template)
    if fields.count("version") != 1 or set(fields) - set(_KNOWN) or "{" in _FIELD.sub("", template) or "}" in _FIELD.sub("", template):
        raise MisuseError(codes.USAGE, f"--require-tag is {template[:60]!r}, expected text with {{version}} once and perhaps {{name}}, such as 'v{{version}}'")


def expected_tag(template: str, facts: ChartFacts) -> str:
    """The git tag for a chart."""
    return template.replace("{version}", facts.version).replace("{name}", facts.name)


def check_tag(template: str, facts: ChartFacts, found: str | None) -> None:
    """Raises MisuseError `release-tag` where the run is for another tag, or for none."""
    expected = expected_tag(template, facts)
    if found != expected:
        raise MisuseError(codes.RELEASE_TAG, f"{facts.label} is released from the git tag {expected!r}, this run is for {found or 'no tag'!r}")
