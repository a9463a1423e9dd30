"""The tree of scopes finds what going through them one by one finds, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from verifier.policy.index import ScopeIndex
from verifier.policy.scopes import Scope

SEGMENT = st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "**"])
SCOPE = st.builds(
    lambda host, segments: Scope(host, tuple(segments), f"{host}/{'/'.join(segments)}"),
    st.sampled_from(["x", "y", ""]),
    st.lists(SEGMENT, min_size=1, max_size=4),
)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "abb", "c"]), min_size=1, max_size=5).map("/".join)
RULES = st.lists(st.lists(SCOPE, min_size=1, max_size=3), max_size=8)


def indexed(rules: list[list[Scope]]) -> ScopeIndex:
    index = ScopeIndex()
    for number, scopes in enumerate(rules):
        for scope in scopes:
            index.add(scope, number)
    return index


@given(RULES, st.sampled_from(["x", "y", "", "z"]), PATH)
def test_matching(rules: list[list[Scope]], host: str, path: str) -> None:
    expected = {}
    for number, scopes in enumerate(rules):
        ranks = [scope.rank for scope in scopes if scope.matches(host, path)]
        if ranks:
            expected[number] = max(ranks)
    assert indexed(rules).matching(host, path) == expected


@given(RULES, SCOPE)
def test_tied(rules: list[list[Scope]], scope: Scope) -> None:
    found = sorted((entry.rule, entry.scope.text) for entry in indexed(rules).tied(scope))
    expected = [(number, other.text) for number, scopes in enumerate(rules) for other in scopes if other.rank == scope.rank and other.overlaps(scope)]
    assert found == sorted(expected)


def test_a_repository_as_deep_as_can_be_is_found() -> None:
    deep = "/".join(["a"] * 32)
    rules = [[Scope("x", tuple(deep.split("/")), deep)], [Scope("x", ("*",) * 32, "*")]]
    assert set(indexed(rules).matching("x", deep)) == {0, 1}
    assert indexed(rules).matching("x", f"{deep}/a") == {}
