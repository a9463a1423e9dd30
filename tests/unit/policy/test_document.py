"""A policy's values: nobody can change one, nobody can mix up their fields, and walking one misses nothing."""

from __future__ import annotations

import inspect
from datetime import timedelta

import pytest
from msgspec import Struct

from verifier.policy import document
from verifier.policy.document import Images, ImageSource, Policy, Rule, Signed, Verified, requirements_of, signers_of_summaries
from verifier.policy.scopes import parse_scope

VALUES = [value for value in vars(document).values() if isinstance(value, type) and issubclass(value, Struct) and value.__module__ == document.__name__]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value.__name__)
def test_values_are_frozen_and_named(value: type[Struct]) -> None:
    assert value.__struct_config__.frozen
    assert {parameter.kind for parameter in inspect.signature(value).parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def policy() -> Policy:
    summary = Verified(by=("gate",), verifier="https://v", max_age=timedelta(1), policies=frozenset(), trusts=frozenset())
    images = Images(source=ImageSource.VALUES, scopes=(), require=Signed(by=("images",)))
    scopes = (parse_scope("oci://x/a"),)
    rules = (Rule(name="one", scopes=scopes, require=summary, images=images), Rule(name="two", scopes=scopes, require=Signed(by=("ci",))))
    return Policy(name="p", digest="d", trust=(), rules=rules, baseline=(Signed(by=("all",)),))


def test_walking_finds_what_is_said_of_images() -> None:
    found = [node.by for node in requirements_of(policy(), policy().rules) if isinstance(node, Signed)]
    assert found == [("all",), ("images",), ("ci",)]


def test_signers_of_summaries_are_told_from_the_others() -> None:
    assert signers_of_summaries(policy()) == (frozenset(("gate",)), frozenset(("all", "images", "ci")))
