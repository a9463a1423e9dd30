"""What changed from one policy to another, in words: by name where there are names, as sets where there are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import ndiff

from verifier.policy.document import Policy
from verifier.policy.words import chart_source_words, deny_words, describe_rule, end_words, exemption_words, root_words, source_words, trust_words, words
from verifier.trust.anchors import TrustMaterial


def differences(old: Policy, new: Policy, material: tuple[TrustMaterial, TrustMaterial] | None = None) -> Iterator[str]:
    """A line for each thing that was added (`+`), removed (`-`) or changed (`~`, with its lines below); none if they mean the same.

    `material` is what the two policies' files hold: the same name may stand for another key.
    """
    if old.name != new.name:
        yield f"~ name: {old.name} is now {new.name}"
    yield from _by_name("trust", *({entry.name: [trust_words(entry)] for entry in policy.trust} for policy in (old, new)))
    yield from _by_name("root", *({root.name: [root_words(root)] for root in policy.roots} for policy in (old, new)))
    if material is not None:
        both = sorted({*_names(old)} & {*_names(new)})
        before, after = ({anchor.name: anchor.digest for anchor in held.anchors} for held in material)
        yield from (f"~ {name}: what it stands for, or its limits, is not the same" for name in both if before.get(name) != after.get(name))
    yield from _as_sets("deny", *([deny_words(entry) for entry in policy.deny] for policy in (old, new)))
    yield from _as_sets("baseline", *(["\n".join(words(item)) for item in policy.baseline] for policy in (old, new)))
    yield from _as_sets("policy", *(list(end_words(policy)) for policy in (old, new)))
    yield from _as_sets("exception", *([exemption_words(item) for item in policy.exceptions] for policy in (old, new)))
    yield from _as_sets("exceptions", *(list(source_words(policy.exception_sources)) for policy in (old, new)))
    yield from _as_sets("source", *([chart_source_words(item) for item in policy.sources] for policy in (old, new)))
    yield from _by_name("rule", *({rule.name: list(describe_rule(rule)) for rule in policy.rules} for policy in (old, new)))


def _names(policy: Policy) -> Iterator[str]:
    yield from (entry.name for entry in policy.trust)
    yield from (root.name for root in policy.roots)


def _by_name(what: str, old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"- {what} {name}"
        elif name not in old:
            yield f"+ {what} {name}"
            yield from (f"    + {line}" for line in new[name])
        elif old[name] != new[name]:
            yield f"~ {what} {name}"
            yield from (f"    {line}" for line in ndiff(old[name], new[name]) if line[0] in "+-")


def _as_sets(what: str, old: Iterable[str], new: Iterable[str]) -> Iterator[str]:
    before, after = list(old), list(new)
    for sign, these, others in (("-", before, after), ("+", after, before)):
        for item in these:
            if item not in others:
                first, *rest = item.split("\n")
                yield f"{sign} {what} {first}"
                yield from (f"    {sign} {line}" for line in rest)
