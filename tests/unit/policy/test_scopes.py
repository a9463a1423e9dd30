"""The glob grammar and the order of specificity, by example and by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.model.reference import parse_origin
from verifier.policy.scopes import Scope, parse_scope


@pytest.mark.parametrize(
    "pattern, repository, matches",
    [
        ("acme/web", "acme/web", True),
        ("acme/web", "acme/web2", False),
        ("acme/*", "acme/web", True),
        ("acme/*", "acme", False),
        ("acme/*", "acme/a/b", False),
        ("acme/**", "acme/a/b", True),
        ("acme/**", "acme", True),
        ("acme/**", "acme2/a", False),
        ("*/web", "acme/web", True),
        ("**/web", "web", True),
        ("**/web", "a/b/web", True),
        ("acme/web-*", "acme/web-1", True),
        ("acme/web-*", "acme/web", False),
        ("acme/*web*", "acme/myweb1", True),
        ("a/**/b/**/c", "a/x/b/c", True),
        ("a/**/b/**/c", "a/x/c", False),
    ],
)
def test_matching(pattern: str, repository: str, matches: bool) -> None:
    assert parse_scope(f"oci://reg.test/{pattern}").matches("reg.test", repository) is matches


def test_the_host_is_compared_in_canonical_form() -> None:
    assert parse_scope("oci://REG.test:443/a").matches("reg.test", "a")
    assert parse_scope("oci://index.docker.io/library/a").matches("docker.io", "library/a")
    assert not parse_scope("oci://reg.test/a").matches("evil.test", "a")
    assert not parse_scope("oci://reg.test/a").matches("", "a")


@pytest.mark.parametrize(
    ("pattern", "reference", "matches"),
    [
        ("https://charts.test/web", "https://charts.test/web:1", True),
        ("https://charts.test/*", "https://charts.test/web:1", True),
        ("https://charts.test/*", "https://charts.test/stable/web:1", False),
        ("https://charts.test/**", "https://charts.test/stable/web:1", True),
        ("https://charts.test/stable/web", "https://charts.test/Stable/web:1", False),
        ("https://CHARTS.test:443/Stable/*", "https://charts.test/Stable/web:1", True),
        ("https://charts.test/a%2fb/*", "https://charts.test/a%2Fb/web:1", True),
        ("https://charts.test/a%2Fb/*", "https://charts.test/a/b/web:1", False),
        ("https://charts.test/%61pi/*", "https://charts.test/api/web:1", True),
        ("https://charts.test/api/web", "https://charts.test/%61pi/web:1", True),
        ("https://charts.test/my*/.*", "https://charts.test/mychart/web:1", False),
        ("https://charts.test/*", "http://charts.test/web:1", False),
        ("http://charts.test/*", "https://charts.test/web:1", False),
        ("https://charts.test/*", "https://charts.test:8443/web:1", False),
        ("https://charts.test/*", "oci://charts.test/web:1", False),
        ("oci://charts.test/*", "https://charts.test/web:1", False),
    ],
)
def test_chart_repositories(pattern: str, reference: str, matches: bool) -> None:
    """What is spelt otherwise and means the same is the same; a registry is never taken for a chart repository, nor the reverse."""
    named = parse_origin(reference)
    assert parse_scope(pattern).matches(named.registry, named.repository) is matches


@pytest.mark.parametrize(
    "text", ["https://c.test", "https://c.test/", "https://*/a", "https://c.test/a b", "https://c.test/../a", "https://c.test/a**", "https://c.test/a?x=*"]
)
def test_scopes_of_chart_repositories_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|cannot|stands"):
        parse_scope(text)


@pytest.mark.parametrize(
    "pattern, path, matches",
    [("file:*.tgz", "/srv/web-1.tgz", True), ("file:/srv/*.tgz", "/srv/web-1.tgz", True), ("file:/srv/*.tgz", "/tmp/web-1.tgz", False)],
)
def test_files(pattern: str, path: str, matches: bool) -> None:
    assert parse_scope(pattern).matches("", path) is matches


def test_the_order_of_specificity() -> None:
    ordered = ["**", "*/*", "*/web", "acme/**", "acme/*", "acme/we*", "acme/a/*", "acme/web"]
    ranks = [parse_scope(f"oci://reg.test/{pattern}").rank for pattern in ordered]
    assert ranks[-1] == max(ranks)
    assert parse_scope("oci://reg.test/acme/*").rank > parse_scope("oci://reg.test/acme/**").rank
    assert parse_scope("oci://reg.test/acme/we*").rank > parse_scope("oci://reg.test/acme/*").rank
    assert parse_scope("oci://reg.test/acme/a/*").rank > parse_scope("oci://reg.test/acme/*").rank
    assert parse_scope("oci://reg.test/acme/*").rank > parse_scope("oci://reg.test/*/web").rank


segments = st.sampled_from(["a", "b", "ab", "*", "**", "a*", "*b"])
names = st.lists(st.sampled_from(["a", "b", "ab", "abb", "c"]), min_size=1, max_size=4)
patterns = st.lists(segments, min_size=1, max_size=4)


def scope(pattern: list[str]) -> Scope:
    return Scope("reg.test", tuple(pattern), "/".join(pattern))


@given(patterns, patterns, names)
def test_two_scopes_that_match_one_name_overlap(one: list[str], two: list[str], name: list[str]) -> None:
    path = "/".join(name)
    if scope(one).matches("reg.test", path) and scope(two).matches("reg.test", path):
        assert scope(one).overlaps(scope(two))


@given(patterns, patterns)
def test_overlap_is_symmetric(one: list[str], two: list[str]) -> None:
    assert scope(one).overlaps(scope(two)) == scope(two).overlaps(scope(one))


@given(names)
def test_an_exact_scope_matches_itself_alone(name: list[str]) -> None:
    assert scope(name).matches("reg.test", "/".join(name))
    assert not scope(name).matches("reg.test", "/".join([*name, "more"]))


@pytest.mark.parametrize(
    "text, rank",
    [
        ("oci://x/acme/web", (2, 2, 7, 0)),
        ("oci://x/acme/w*", (1, 1, 5, 0)),
        ("oci://x/acme/*", (1, 1, 4, 0)),
        ("oci://x/acme/**", (1, 1, 4, -1)),
        ("oci://x/*/web", (0, 1, 3, 0)),
        ("oci://x/**/**", (0, 0, 0, -2)),
    ],
)
def test_ranks_as_they_are_written_down(text: str, rank: tuple[int, int, int, int]) -> None:
    assert parse_scope(text).rank == rank


def test_a_pattern_has_an_end() -> None:
    assert parse_scope("oci://x/" + "/".join(["a"] * 32)).matches("x", "/".join(["a"] * 32))
    with pytest.raises(ValueError, match="more than 32 segments"):
        parse_scope("oci://x/" + "/".join(["a"] * 33))


def test_answers_are_truth_values() -> None:
    one, two, other = (parse_scope(text) for text in ("oci://x/a/*", "oci://x/*/b", "oci://x/c/d"))
    assert one.matches("x", "a/b") is True
    assert one.matches("y", "a/b") is False
    assert one.overlaps(two) is True
    assert one.overlaps(other) is False
    assert parse_scope("oci://x/**/b").overlaps(parse_scope("oci://x/a/**")) is True
    assert parse_scope("oci://x/a/**/b").matches("x", "a/b") is True
    assert parse_scope("oci://x/a/**/b").matches("x", "a") is False


@pytest.mark.parametrize(("one", "two"), [("a/b", "a/b/c"), ("*/a", "*/*/a"), ("**/a", "**/a/b"), ("a*", "b*"), ("a*c", "ab"), ("*", "*/*")])
def test_patterns_of_which_one_ends_before_the_other_do_not_overlap(one: str, two: str) -> None:
    """Else two rules would be a tie, and a policy that is right would not load."""
    first, second = parse_scope(f"oci://x/{one}"), parse_scope(f"oci://x/{two}")
    assert (first.overlaps(second), second.overlaps(first)) == (False, False)
