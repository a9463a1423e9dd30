"""Selecting the rule: the most specific scope that matches, then the context (semantics 1, 15, 17)."""

from __future__ import annotations

import os.path

from msgspec import Struct

from verifier.model import codes
from verifier.model.codes import Code
from verifier.model.context import Facts
from verifier.model.reference import FileReference, LayoutReference
from verifier.policy.case import asked_reference
from verifier.policy.document import Policy, Rule


class Selection(Struct, frozen=True):
    """Why no rule could be selected."""

    code: Code
    reason: str


def select_rule(policy: Policy, facts: Facts) -> Rule | Selection:
    """The rule that speaks of this chart in this context, or why there is none."""
    host, path = subject(facts)
    asked = f"{host}/{path}" if host else f"file:{path}"
    matching = [(rank, policy.rules[number]) for number, rank in policy.index.matching(host, path).items()]
    if not matching:
        return Selection(codes.NO_RULE, f"no rule speaks of {asked}; the default is deny")
    context = facts.request.context
    for _, rule in sorted(matching, key=lambda item: (item[0], len(item[1].context)), reverse=True):
        for key, values in rule.context:
            if context.value(key) is None:
                return Selection(codes.CONTEXT_MISSING, f"rule {rule.name!r} selects on {key} ({', '.join(sorted(values))}), and the request carries none")
    fitting = [(rank, rule) for rank, rule in matching if context.fits(rule.context)]
    if not fitting:
        return Selection(codes.NO_RULE, f"rules speak of {asked}, but none for this context; the default is deny")
    return max(fitting, key=lambda item: (item[0], len(item[1].context)))[1]


def subject(facts: Facts) -> tuple[str, str]:
    """Host and path that scopes are matched with; the host is empty for files."""
    reference = asked_reference(facts)
    if reference is not None:
        return reference.registry, reference.repository
    local = facts.request.reference
    assert isinstance(local, FileReference | LayoutReference)
    return "", os.path.abspath(local.path)
